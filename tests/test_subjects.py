"""An entity's owner and an event's subject: each is said in one place."""

from datetime import UTC, datetime

from canonical import ENTITIES, Event
from flows.port import Fact, Grouping

EVENT = Event("care-plan", "lcs", "lcs:care-plan:7", "lcs:person:1", 1, datetime(2026, 11, 26, tzinfo=UTC), b"{}")
FACT = Fact("care-plan", "lcs:care-plan:7", "lcs:person:1", 1, b"{}")


def test_a_flow_by_owner_has_the_owner_as_subject_and_a_flow_by_key_the_record_itself() -> None:
    for named in (EVENT, FACT):
        assert Grouping.OWNER.subject_of(named) == "lcs:person:1"
        assert Grouping.KEY.subject_of(named) == "lcs:care-plan:7"
        assert Grouping.subjects_of(named) == {"lcs:person:1", "lcs:care-plan:7"}


def test_every_entity_is_owned_by_a_field_that_it_has_and_must_have() -> None:
    for entity in ENTITIES.values():
        field = entity.model_fields[entity.owned_by]
        assert field.is_required(), entity.type_name
