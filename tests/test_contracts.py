"""The released contracts: up to date, true of what is published, and only ever growing."""

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

import canonical
from canonical import ENTITIES, Entity, Invoice, Person
from canonical.entity import classified
from canonical.errors import MisconfiguredError
from canonical.event import Event
from ironbridge.operate import contracts
from tests.test_entities import whole
from tests.test_event import EVENTS

Schema = dict[str, Any]
ALL = pytest.mark.parametrize("entity", ENTITIES.values(), ids=list(ENTITIES))


@cache
def validator_of(entity: type[Entity]) -> Draft202012Validator:
    return Draft202012Validator(contracts.contract(entity), format_checker=FormatChecker())


def test_the_released_contracts_are_what_the_code_says() -> None:
    assert contracts.check() == []


def test_there_is_a_file_for_every_entity_and_no_other_one() -> None:
    names = {f"{name}.v{entity.version}.json" for name, entity in ENTITIES.items()}
    assert names == {file.name for file in (Path(canonical.__file__).parent / "contracts").iterdir()}


def test_a_folder_gets_every_contract_and_one_document_for_them_all(tmp_path: Path) -> None:
    names = {f"{name}.v{entity.version}.json" for name, entity in ENTITIES.items()}
    assert {file.name for file in contracts.export(tmp_path)} == names | {"asyncapi.json"}


def test_an_export_writes_the_same_bytes_every_time(tmp_path: Path) -> None:
    once = {file.name: file.read_bytes() for file in contracts.export(tmp_path / "once")}
    again = {file.name: file.read_bytes() for file in contracts.export(tmp_path / "again")}
    assert once == again
    assert contracts.export(tmp_path / "once")  # over what is there, too
    assert contracts.check(tmp_path / "once") == []


@ALL
def test_each_contract_is_a_json_schema_of_2020_12(entity: type[Entity]) -> None:
    schema = contracts.contract(entity)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:ironbridge:schema:{entity.type_name}:v{entity.version}"
    assert schema["x-standard"] == entity.standard


@ALL
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_what_is_published_keeps_its_contract(entity: type[Entity], data: st.DataObject) -> None:
    validator_of(entity).validate(json.loads(data.draw(whole(entity)).to_bytes()))


@ALL
def test_each_field_says_how_sensitive_it_is_just_as_the_model_does(entity: type[Entity]) -> None:
    schema = contracts.contract(entity)
    assert dict(leaves(schema, schema, "")) == {path: str(kind) for path, kind in classified(entity)}


def leaves(schema: Schema, root: Schema, path: str) -> Iterator[tuple[str, str | None]]:
    for name, field in schema["properties"].items():
        here = f"{path}.{name}" if path else name
        inner, many = (field["items"], "[]") if "items" in field else (field, "")
        target = root["$defs"][inner["$ref"].rsplit("/", 1)[1]] if "$ref" in inner else inner
        if "properties" in target:
            yield from leaves(target, root, here + many)
        else:
            yield here, field.get("x-sensitivity")


def test_a_contract_is_open_to_fields_that_are_new_and_knows_no_null() -> None:
    told = json.dumps([contracts.contract(entity) for entity in ENTITIES.values()])
    assert '"additionalProperties"' not in told
    assert '"null"' not in told


def test_a_contract_tells_what_the_model_s_notes_tell() -> None:
    schema = contracts.contract(Person)
    assert schema["description"].startswith("Somebody whom the council knows.")
    assert schema["properties"]["restricted"]["description"].startswith("Most staff must not see this record")
    assert "UBL `InvoiceLine`" in contracts.contract(Invoice)["$defs"]["DocumentLine"]["description"]


# -- AsyncAPI ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def asyncapi() -> Schema:
    return contracts.asyncapi()


def test_asyncapi_has_a_channel_and_a_message_for_every_topic(asyncapi: Schema) -> None:
    assert asyncapi["asyncapi"] == "3.0.0"
    addresses = {name: channel["address"] for name, channel in asyncapi["channels"].items()}
    assert addresses == {name: f"canonical.{name}" for name in ENTITIES}
    for name, entity in ENTITIES.items():
        operation = asyncapi["operations"][name]
        assert (operation["action"], operation["channel"]) == ("send", {"$ref": f"#/channels/{name}"})
        message = found(asyncapi, found(asyncapi, operation["messages"][0]))
        assert message["name"] == entity.event_type()
        assert message["payload"] == {"$ref": f"#/components/schemas/{entity.__name__}"}


def test_every_reference_in_asyncapi_leads_somewhere(asyncapi: Schema) -> None:
    references = list(referred(asyncapi))
    assert len(references) > len(ENTITIES) * 4
    assert all(found(asyncapi, reference) for reference in references)


@ALL
def test_asyncapi_and_the_json_schema_say_the_same(asyncapi: Schema, entity: type[Entity]) -> None:
    schema = contracts.contract(entity)
    parts = {entity.__name__: {k: v for k, v in schema.items() if k not in ("$schema", "$id", "$defs")}}
    for name, part in (parts | schema.get("$defs", {})).items():
        there = json.dumps(asyncapi["components"]["schemas"][name], sort_keys=True)
        assert there.replace("#/components/schemas/", "#/$defs/") == json.dumps(part, sort_keys=True)


@settings(deadline=None)
@given(one=EVENTS)
def test_the_headers_of_every_event_keep_to_asyncapi(asyncapi: Schema, one: Event) -> None:
    schema = asyncapi["components"]["schemas"]["Headers"]
    headers = {name: value.decode() for name, value in one.headers()}
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(headers)
    assert headers.keys() <= schema["properties"].keys()


def test_asyncapi_names_no_machine(asyncapi: Schema) -> None:
    assert "servers" not in asyncapi
    assert "localhost" not in json.dumps(asyncapi)


def referred(node: Any) -> Iterator[Schema]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node
        for each in node.values():
            yield from referred(each)
    elif isinstance(node, list):
        for each in node:
            yield from referred(each)


def found(document: Schema, reference: Schema) -> Any:
    node: Any = document
    for step in reference["$ref"].removeprefix("#/").split("/"):
        node = node[step]
    return node


# -- what may change -----------------------------------------------------------------------------------------------

Change = Callable[[Schema], None]
WAY_OUT = "or raise `version` of Person to 2"


def changed(change: Change, entity: type[Entity] = Person) -> list[str]:
    old = contracts.contract(entity)
    new = copy.deepcopy(old)
    change(new)
    return contracts.incompatibilities(old, new)


def field(name: str, **keywords: Any) -> Change:
    return lambda schema: schema["properties"][name].update(keywords)


def part(definition: str, name: str, **keywords: Any) -> Change:
    return lambda schema: schema["$defs"][definition]["properties"][name].update(keywords)


def drop(*path: str) -> Change:
    def change(schema: Schema) -> None:
        for step in path[:-1]:
            schema = schema[step]
        del schema[path[-1]]

    return change


def require(name: str) -> Change:
    return lambda schema: schema["required"].append(name)


def add(name: str, *, required: bool) -> Change:
    def change(schema: Schema) -> None:
        schema["properties"][name] = {"type": "string", "x-sensitivity": "plain"}
        schema["required"] += [name] if required else []

    return change


@ALL
def test_a_contract_may_stay_as_it_is(entity: type[Entity]) -> None:
    assert changed(lambda schema: None, entity) == []


@pytest.mark.parametrize(
    "change",
    [
        add("pronouns", required=False),
        field("upn", description="another word for it"),
        field("ethnicity", maxLength=80),
        drop("properties", "ethnicity", "maxLength"),
        field("upn_unknown_reason", **{"x-sensitivity": "identifying"}),
        field("birth_date", **{"x-sensitivity": "special"}),
        part("Address", "town", maxLength=9000),
    ],
)
def test_what_no_subscriber_trips_over_is_allowed(change: Change) -> None:
    assert changed(change) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (drop("properties", "upn"), "`upn` may not be removed: keep it"),
        (drop("$defs", "Name", "properties", "given"), "`names[].given` may not be removed: keep it"),
        (require("upn"), "`upn` may not become required, older events lack it: give it a default"),
        (
            add("pronouns", required=True),
            "`pronouns` is new and may not be required, older events lack it: give it a default",
        ),
        (
            lambda schema: schema["required"].remove("key"),
            "`key` may not become optional, subscribers count on it: keep it required",
        ),
        (field("upn", type="integer"), '`upn` may not change its type: leave it at "string"'),
        (field("birth_date", format="date-time"), '`birth_date` may not change its format: leave it at "date"'),
        (field("nhs_number", pattern="^9"), '`nhs_number` may not change its pattern: leave it at "^[0-9]{10}$"'),
        (field("ethnicity", pattern="^[A-Z]{4}$"), "`ethnicity` may not change its pattern: leave it at none"),
        (field("ethnicity", maxLength=4), "`ethnicity` may not be narrowed by maxLength 4: leave it at 60"),
        (field("ethnicity", minLength=4), "`ethnicity` may not be narrowed by minLength 4: leave it at 1"),
        (field("addresses", maxItems=1), "`addresses` may not be narrowed by maxItems 1: leave it out"),
        (
            part("Address", "town", maxLength=35),
            "`addresses[].town` may not be narrowed by maxLength 35: leave it at 4000",
        ),
        (
            lambda schema: schema["$defs"]["Sex"]["enum"].remove("U"),
            '`sex` may not lose the value "U": keep it',
        ),
        (
            lambda schema: schema["$defs"]["Sex"]["enum"].append("X"),
            '`sex` may not take the value "X", which subscribers do not know: leave it out',
        ),
        (
            field("ethnicity", enum=["WBRI"]),
            "`ethnicity` may not begin to be one of a list of values: leave it as it was",
        ),
        (
            field("ethnicity", **{"x-sensitivity": "plain"}),
            "`ethnicity` may not be less sensitive than special: subscribers' masks rest on it, leave it",
        ),
        (
            field("birth_date", **{"x-sensitivity": "financial"}),
            "`birth_date` may not be less sensitive than identifying: subscribers' masks rest on it, leave it",
        ),
        (
            drop("$defs", "Name", "properties", "family", "x-sensitivity"),
            "`names[].family` may not be less sensitive than identifying: subscribers' masks rest on it, leave it",
        ),
    ],
)
def test_what_breaks_a_subscriber_is_refused_by_the_field_s_name_and_with_the_way_out(
    change: Change, told: str
) -> None:
    assert changed(change) == [f"person v1: {told}, {WAY_OUT}"]


def test_a_list_of_values_may_not_cease_to_be_one() -> None:
    def open_up(schema: Schema) -> None:
        del schema["$defs"]["Sex"]["enum"]

    assert changed(open_up) == [
        f"person v1: `sex` may not cease to be one of a list of values: leave it as it was, {WAY_OUT}"
    ]


def test_every_breach_is_told_at_once() -> None:
    def twice(schema: Schema) -> None:
        del schema["properties"]["upn"]
        del schema["properties"]["nino"]

    assert len(changed(twice)) == 2


def released(folder: Path, change: Change) -> Path:
    """A folder whose person.v1.json was released with something else in it."""
    contracts.export(folder)
    file = folder / "person.v1.json"
    schema = json.loads(file.read_text("utf-8"))
    change(schema)
    file.write_text(json.dumps(schema), "utf-8")
    return file


def test_an_export_never_overwrites_a_released_contract_with_one_that_breaks_it(tmp_path: Path) -> None:
    file = released(tmp_path, add("pronouns", required=False))
    before = file.read_bytes()
    with pytest.raises(MisconfiguredError) as raised:
        contracts.export(tmp_path)
    assert str(raised.value) == f"contracts: person v1: `pronouns` may not be removed: keep it, {WAY_OUT}"
    assert file.read_bytes() == before


def test_a_check_says_what_is_broken_missing_and_out_of_date(tmp_path: Path) -> None:
    released(tmp_path, add("pronouns", required=False))
    (tmp_path / "supplier.v1.json").unlink()
    shutil.copy(tmp_path / "invoice.v1.json", tmp_path / "invoice.v7.json")
    shutil.copy(tmp_path / "invoice.v1.json", tmp_path / "receipt.v1.json")
    run = f"run `ironbridge contracts export {tmp_path}` and commit it"
    assert contracts.check(tmp_path) == [
        f"person v1: `pronouns` may not be removed: keep it, {WAY_OUT}",
        f"person.v1.json is out of date: {run}",
        f"supplier.v1.json is missing: {run}",
        "invoice.v7.json was released and is gone from the code: bring it back",
        "receipt.v1.json was released and is gone from the code: bring it back",
    ]


def test_a_contract_that_grew_is_out_of_date_until_it_is_exported(tmp_path: Path) -> None:
    file = released(tmp_path, drop("properties", "nino"))
    run = f"run `ironbridge contracts export {tmp_path}` and commit it"
    assert contracts.check(tmp_path) == [f"person.v1.json is out of date: {run}"]
    contracts.export(tmp_path)
    assert contracts.check(tmp_path) == []
    assert "nino" in json.loads(file.read_text("utf-8"))["properties"]
