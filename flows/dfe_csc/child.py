"""
One child's record, put together from the entities that make it up.

Whatever names its care episode stands under that one. What names none, or one that is not known, stands under the
episode that was open when it began; failing that, one that it overlaps; failing that, the one referred last (of several
always the one referred last). Without any episode there is no place for it in the API's record, and it is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Any

from canonical import (
    Assessment,
    CareEpisode,
    CareLeaver,
    CarePlan,
    HealthScreening,
    Involvement,
    LookedAfterEpisode,
    Permanence,
    Person,
    Placement,
    PlanKind,
    Section47Enquiry,
)
from flows.dfe_csc.contract import KEYED, WORKERS
from flows.dfe_csc.ids import Ids
from flows.port import Body, Facts

Blocks = dict[str, list[Body]]


def record(person: Person, facts: Facts, ids: Ids) -> Body:
    """Return what the DfE should hold for a child: names and order of the contract, absent values left out."""
    number = ids.child(person.key)
    legacy = next((i.value for i in person.identifiers if i.system == "legacy"), number)
    return _present(
        la_child_id=number,
        mis_child_id=legacy,
        child_details=_details(person),
        health_and_wellbeing=_health(facts.all(HealthScreening)),
        social_care_episodes=_episodes(facts, ids),
    )


def _present(**fields: Any) -> Body:
    return {name: _plain(value) for name, value in fields.items() if value is not None and value != []}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def _details(person: Person) -> Body:
    name = person.names[0] if person.names else None
    uasc = [status for status in person.immigration if "UASC" in status.status.upper()]
    latest = max(uasc, key=lambda status: status.start_date or date.min, default=None)
    return _present(
        unique_pupil_number=person.upn,
        former_unique_pupil_number=person.former_upn,
        unique_pupil_number_unknown_reason=None if person.upn else person.upn_unknown_reason,
        first_name=name and name.given,
        surname=name and name.family,
        date_of_birth=person.birth_date,
        expected_date_of_birth=person.expected_birth_date,
        sex=person.sex.value,
        ethnicity=person.ethnicity,
        disabilities=sorted({code.upper() for code in person.disabilities}) or ["NONE"],
        postcode=_postcode(person),
        uasc_flag=bool(uasc),
        uasc_end_date=latest and latest.end_date,
    )


def _postcode(person: Person) -> str | None:
    latest = max(person.addresses, key=lambda address: address.start_date or date.min, default=None)
    return latest.postcode if latest else None


def _health(screenings: Iterable[HealthScreening]) -> Body | None:
    scored = [s for s in screenings if s.instrument == "SDQ" and s.completed_date and s.score is not None]
    assessments = [_present(date=s.completed_date, score=s.score) for s in scored]
    return {"sdq_assessments": sorted(assessments, key=_values)} if assessments else None


def _values(block: Body) -> list[str]:
    return [str(value) for value in block.values()]


class _Home:
    """Finds the care episode that something belongs under."""

    def __init__(self, episodes: Sequence[CareEpisode]) -> None:
        self._episodes = {episode.key: episode for episode in episodes}

    def of(self, named: str | None, start: date | None, end: date | None = None) -> str | None:
        if named in self._episodes or not self._episodes:
            return named if self._episodes else None
        return max(self._episodes.values(), key=lambda episode: _nearness(episode, start, end)).key


def _nearness(episode: CareEpisode, start: date | None, end: date | None) -> tuple[bool, bool, date, str]:
    referred, closed = episode.referral_date or date.min, episode.close_date or date.max
    began = start is not None and referred <= start <= closed
    overlaps = start is not None and referred <= (end or date.max) and closed >= start
    return began, overlaps, referred, episode.key


def _episodes(facts: Facts, ids: Ids) -> list[Body]:
    episodes = facts.all(CareEpisode)
    under: defaultdict[str, Blocks] = defaultdict(lambda: defaultdict(list))
    home = _Home(episodes)
    for part in (_workers, _assessments, _plans, _enquiries, _placements, _adoption, _leaver):
        for place, name, block in part(facts, home, ids):
            if place is not None:
                under[place][name].append(block)
    records = [_episode(ids.record(episode.key), episode, under[episode.key]) for episode in episodes]
    return sorted(records, key=lambda e: (e.get("referral_date", ""), e["social_care_episode_id"]))


def _episode(number: str, episode: CareEpisode, blocks: Blocks) -> Body:
    def listed(name: str) -> list[Body]:
        return sorted(blocks[name], key=lambda item: (item.get("start_date", ""), item[KEYED[name]]))

    def single(name: str) -> Body | None:
        return blocks[name][-1] if blocks[name] else None

    return _present(
        social_care_episode_id=number,
        referral_date=episode.referral_date,
        referral_source=episode.referral_source,
        referral_no_further_action_flag=episode.no_further_action,
        closure_date=episode.close_date,
        closure_reason=episode.close_reason,
        care_worker_details=sorted(blocks[WORKERS], key=lambda w: (w.get("start_date", ""), *_values(w))),
        child_and_family_assessments=listed("child_and_family_assessments"),
        child_in_need_plans=listed("child_in_need_plans"),
        section_47_assessments=listed("section_47_assessments"),
        child_protection_plans=listed("child_protection_plans"),
        child_looked_after_placements=listed("child_looked_after_placements"),
        adoption=single("adoption"),
        care_leavers=single("care_leavers"),
    )


Placed = Iterable[tuple[str | None, str, Body]]
"""The key of the care episode, the name of the block in it, the block."""


def _workers(facts: Facts, home: _Home, _: Ids) -> Placed:
    for i in facts.all(Involvement):
        if i.worker is not None:
            block = _present(worker_id=i.worker, start_date=i.start_date, end_date=i.end_date)
            yield home.of(i.episode, i.start_date, i.end_date), WORKERS, block


def _assessments(facts: Facts, home: _Home, ids: Ids) -> Placed:
    for a in facts.all(Assessment):
        yield home.of(a.episode, a.start_date, a.authorised_date), "child_and_family_assessments", _present(
            child_and_family_assessment_id=ids.record(a.key),
            start_date=a.start_date,
            authorisation_date=a.authorised_date,
            factors=sorted(set(a.factors)),
        )  # fmt: skip


def _plans(facts: Facts, home: _Home, ids: Ids) -> Placed:
    names = {
        PlanKind.CHILD_IN_NEED: "child_in_need_plans",
        PlanKind.CHILD_PROTECTION: "child_protection_plans",
    }
    for plan in facts.all(CarePlan):
        name = names[plan.kind]
        block = {KEYED[name]: ids.record(plan.key)} | _present(start_date=plan.start_date, end_date=plan.end_date)
        yield home.of(plan.episode, plan.start_date, plan.end_date), name, block


def _enquiries(facts: Facts, home: _Home, ids: Ids) -> Placed:
    for enquiry in facts.all(Section47Enquiry):
        yield home.of(enquiry.episode, enquiry.start_date, enquiry.end_date), "section_47_assessments", _present(
            section_47_assessment_id=ids.record(enquiry.key),
            start_date=enquiry.start_date,
            icpc_required_flag=enquiry.conference_required,
            icpc_date=enquiry.conference_date,
            end_date=enquiry.end_date,
        )  # fmt: skip


def _placements(facts: Facts, home: _Home, ids: Ids) -> Placed:
    """
    The API's "placement" is an episode in the sense of the SSDA903: one for each looked-after episode, with the
    particulars of the placement. A placement without any such episode is told by itself, its id marked with `P-`.
    """
    placements, name = facts.all(Placement), "child_looked_after_placements"
    told: set[str] = set()
    for care in facts.all(LookedAfterEpisode):
        placement = _placement_of(care, placements)
        told |= {placement.key} if placement else set()
        yield home.of(care.episode, care.start_date, care.end_date), name, _present(
            child_looked_after_placement_id=ids.record(care.key),
            start_date=care.start_date,
            start_reason=care.start_reason,
            placement_type=placement and placement.placement_type,
            postcode=placement and placement.postcode,
            end_date=care.end_date,
            end_reason=care.end_reason,
            change_reason=placement and placement.change_reason,
        )  # fmt: skip
    named = _by_period(facts)
    for alone in (placement for placement in placements if placement.key not in told):
        yield home.of(named(alone.period), alone.start_date, alone.end_date), name, _present(
            child_looked_after_placement_id=ids.record(alone.key, "P-"),
            start_date=alone.start_date,
            placement_type=alone.placement_type,
            postcode=alone.postcode,
            end_date=alone.end_date,
            change_reason=alone.change_reason,
        )  # fmt: skip


def _placement_of(care: LookedAfterEpisode, placements: Sequence[Placement]) -> Placement | None:
    """The one that the episode names; else the last of its period of care that had begun and not ended by its start."""
    for placement in placements:
        if placement.key == care.placement:
            return placement
    begun = [
        placement
        for placement in placements
        if care.placement is None and care.period is not None and placement.period == care.period
        and care.start_date and placement.start_date and placement.start_date <= care.start_date
        and (placement.end_date is None or placement.end_date >= care.start_date)
    ]  # fmt: skip
    return max(begun, key=lambda placement: (placement.start_date or date.min, placement.key), default=None)


def _by_period(facts: Facts) -> Callable[[str | None], str | None]:
    """The care episode of a period of care, as its last looked-after episode names it."""
    ordered = sorted(facts.all(LookedAfterEpisode), key=lambda care: (care.start_date or date.min, care.key))
    named: dict[str | None, str] = {care.period: care.episode for care in ordered if care.period and care.episode}
    return lambda period: named.get(period)


def _adoption(facts: Facts, home: _Home, _: Ids) -> Placed:
    """Of several under one care episode the last stays: that with the latest date of all it has come to."""
    named = _by_period(facts)
    for p in sorted(facts.all(Permanence), key=lambda p: (_reached(p) or date.min, p.key)):
        block = _present(initial_decision_date=p.decision_date, matched_date=p.matched_date, placed_date=p.placed_date)
        if block:
            yield home.of(named(p.period), _reached(p)), "adoption", block


def _reached(permanence: Permanence) -> date | None:
    return permanence.placed_date or permanence.matched_date or permanence.decision_date


def _leaver(facts: Facts, home: _Home, _: Ids) -> Placed:
    latest = max(facts.all(CareLeaver), key=lambda c: (c.contact_date or date.min, c.key), default=None)
    if latest is not None:
        block = _present(contact_date=latest.contact_date, activity=latest.activity, accommodation=latest.accommodation)
        if block:
            yield home.of(None, latest.contact_date), "care_leavers", block
