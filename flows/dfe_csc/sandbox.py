"""
A small real stand-in for the DfE Children's Social Care data API 1.0.1: `python -m flows.dfe_csc.sandbox --port 8801`.

It judges records by the published contract (OpenAPI file 1.0.1) and by the code lists and rules of the payload
guidance, keeps one document a child, and answers as the pilot does: a batch is taken whole or refused whole.
"""

import argparse
import asyncio
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Required

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, with_config
from pydantic.annotated_handlers import GetCoreSchemaHandler
from pydantic.types import GetPydanticSchema
from pydantic_core import core_schema, from_json, to_json
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

from flows.kit.sandbox import Effect, Sandbox, SandboxSettings, digest_of, run

MOST_RECORDS = 100
WIRE = ConfigDict(extra="forbid", strict=True)


def _iso_date(_type: Any, _handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
    # pydantic alone would take a number in quotes for a timestamp.
    text = core_schema.str_schema(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", strict=True)
    return core_schema.chain_schema([text, core_schema.date_schema(strict=False)])


def _distinct(codes: list[str]) -> list[str]:
    if len(set(codes)) < len(codes):
        raise ValueError("must be distinct")
    return codes


def _ascending(codes: list[str]) -> list[str]:
    if codes != sorted(set(codes)):
        raise ValueError("must be distinct and sorted")
    return codes


Date = Annotated[date, GetPydanticSchema(_iso_date)]
Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]*$", max_length=36)]
ChildId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]+$", max_length=20)]
WorkerId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]*$", max_length=12)]
Upn = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]{13}$", min_length=13, max_length=13)]
Disability = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]+$", max_length=4)]
Code1 = Annotated[str, StringConstraints(max_length=1)]
Code2 = Annotated[str, StringConstraints(max_length=2)]
Code3 = Annotated[str, StringConstraints(max_length=3)]
Code4 = Annotated[str, StringConstraints(max_length=4)]
Code6 = Annotated[str, StringConstraints(max_length=6)]
Postcode = Annotated[str, StringConstraints(max_length=8)]
UnknownUpn = Literal["UN1", "UN2", "UN3", "UN4", "UN5", "UN6", "UN7", "UN8", "UN9", "UN10"]
Activity = Literal["F1", "P1", "F2", "P2", "F4", "P4", "F5", "P5", "G4", "G5", "G6"]
Accommodation = Literal["B", "C", "D", "E", "G", "H", "K", "R", "S", "T", "U", "V"]


@with_config(WIRE)
class ChildDetails(TypedDict, total=False):
    unique_pupil_number: Upn
    former_unique_pupil_number: Upn
    unique_pupil_number_unknown_reason: UnknownUpn
    first_name: str
    surname: str
    date_of_birth: Date
    expected_date_of_birth: Date
    sex: Literal["F", "M", "U"]
    ethnicity: Code4
    disabilities: Annotated[list[Disability], Field(max_length=12), AfterValidator(_ascending)]
    postcode: Postcode
    uasc_flag: bool
    uasc_end_date: Date
    purge: bool


@with_config(WIRE)
class SdqAssessment(TypedDict, total=False):
    date: Date
    score: int


@with_config(WIRE)
class HealthAndWellbeing(TypedDict, total=False):
    sdq_assessments: list[SdqAssessment]
    purge: bool


@with_config(WIRE)
class CareWorker(TypedDict, total=False):
    worker_id: WorkerId
    start_date: Date
    end_date: Date


@with_config(WIRE)
class ChildAndFamilyAssessment(TypedDict, total=False):
    child_and_family_assessment_id: Required[Id]
    start_date: Date
    authorisation_date: Date
    factors: Annotated[list[Code3], Field(max_length=41), AfterValidator(_distinct)]
    purge: bool


@with_config(WIRE)
class ChildInNeedPlan(TypedDict, total=False):
    child_in_need_plan_id: Required[Id]
    start_date: Date
    end_date: Date
    purge: bool


@with_config(WIRE)
class Section47Assessment(TypedDict, total=False):
    section_47_assessment_id: Required[Id]
    start_date: Date
    icpc_required_flag: bool
    icpc_date: Date
    end_date: Date
    purge: bool


@with_config(WIRE)
class ChildProtectionPlan(TypedDict, total=False):
    child_protection_plan_id: Required[Id]
    start_date: Date
    end_date: Date
    purge: bool


@with_config(WIRE)
class PlacementBody(TypedDict, total=False):
    child_looked_after_placement_id: Required[Id]
    start_date: Date
    start_reason: Code1
    placement_type: Code3  # the guidance says 2 characters; where the two differ, the contract decides
    postcode: Postcode
    end_date: Date
    end_reason: Code3
    change_reason: Code6
    purge: bool


@with_config(WIRE)
class Adoption(TypedDict, total=False):
    initial_decision_date: Date
    matched_date: Date
    placed_date: Date
    purge: bool


@with_config(WIRE)
class CareLeavers(TypedDict, total=False):
    contact_date: Date
    activity: Activity
    accommodation: Accommodation
    purge: bool


@with_config(WIRE)
class SocialCareEpisode(TypedDict, total=False):
    social_care_episode_id: Required[Id]
    referral_date: Date
    referral_source: Code2
    referral_no_further_action_flag: bool
    closure_date: Date
    closure_reason: Code3
    care_worker_details: list[CareWorker]
    child_and_family_assessments: list[ChildAndFamilyAssessment]
    child_in_need_plans: list[ChildInNeedPlan]
    section_47_assessments: list[Section47Assessment]
    child_protection_plans: list[ChildProtectionPlan]
    child_looked_after_placements: list[PlacementBody]
    adoption: Adoption
    care_leavers: CareLeavers
    purge: bool


@with_config(WIRE)
class Child(TypedDict, total=False):
    la_child_id: Required[ChildId]
    mis_child_id: Id
    purge: bool
    child_details: ChildDetails
    health_and_wellbeing: HealthAndWellbeing
    social_care_episodes: list[SocialCareEpisode]


CHILDREN: TypeAdapter[list[Child]] = TypeAdapter(Annotated[list[Child], Field(max_length=MOST_RECORDS)])

KEYED = {
    "social_care_episodes": "social_care_episode_id",
    "child_and_family_assessments": "child_and_family_assessment_id",
    "child_in_need_plans": "child_in_need_plan_id",
    "section_47_assessments": "section_47_assessment_id",
    "child_protection_plans": "child_protection_plan_id",
    "child_looked_after_placements": "child_looked_after_placement_id",
}
BLOCKS = {"purge", "care_worker_details", "adoption", "care_leavers", "child_details", "health_and_wellbeing", *KEYED}
CHILD_FIELDS = tuple(name for name in Child.__annotations__ if name != "purge")
EPISODE_FIELDS = tuple(name for name in SocialCareEpisode.__annotations__ if name != "purge")

Json = dict[str, Any]


class LeftOut(StrEnum):
    """
    This choice says what the sandbox does with a field that a block sent again leaves out. The guidance only says that
    absent values are left out.

    CLEARED: a block is sent whole, so the field has no value any more (a reopened episode loses its closure date).
    An episode's own fields are one block: sent with its id and other blocks only, it keeps them. KEPT: no change.
    """

    CLEARED = "cleared"
    KEPT = "kept"


def merged(held: Json, sent: Json, fields: tuple[str, ...], left_out: LeftOut) -> Json:
    """
    A child or an episode (`fields`: its own, in order) after a partial update; `sent` is used up.

    Lists with ids are merged by id and kept in id order; blocks and lists without ids are replaced as sent; a block
    with `purge: true` goes. Whether the whole goes is for the caller to see.
    """
    own, after, gone = 0, {}, set()
    for name, value in sent.items():
        if name not in BLOCKS:
            own += 1
        elif name in KEYED:
            value = _by_id(held.get(name, ()), value, KEYED[name], left_out)
        elif isinstance(value, dict) and value.pop("purge", False):
            value = None
        if value is None or value in ([], {}):
            gone.add(name)
        else:
            after[name] = value
    cleared = left_out is LeftOut.CLEARED and (own > 1 or own == len(sent))
    kept = [n for n in held if n not in after and n not in gone and (n in BLOCKS or not cleared)]
    if not kept:
        return after
    return {name: after[name] if name in after else held[name] for name in fields if name in after or name in kept}


def _by_id(held: Iterable[Json], sent: list[Json], key: str, left_out: LeftOut) -> list[Json]:
    after = {item[key]: item for item in held}
    for item in sent:
        if item.pop("purge", False):
            after.pop(item[key], None)
        elif key == "social_care_episode_id":
            after[item[key]] = merged(after.get(item[key], {}), item, EPISODE_FIELDS, left_out)
        else:
            after[item[key]] = item if left_out is LeftOut.CLEARED else after.get(item[key], {}) | item
    return [after[name] for name in sorted(after)] if len(after) > 1 else list(after.values())


@dataclass(frozen=True, kw_only=True)
class DfeCscSandboxSettings(SandboxSettings):
    """`la_codes` None lets any council in; `max_bytes` is the largest body taken before 413."""

    supplier_key: str = "sandbox-supplier"
    la_codes: frozenset[str] | None = None
    max_bytes: int = 5_000_000
    left_out: LeftOut = LeftOut.CLEARED


class DfeCscSandbox(Sandbox):
    """The children are held by la_child_id, under their council's code as the kind: `documents("941")`."""

    settings: DfeCscSandboxSettings

    def __init__(self, settings: DfeCscSandboxSettings | None = None) -> None:
        super().__init__(settings or DfeCscSandboxSettings())

    async def answer(self, request: Request) -> Response:
        await asyncio.sleep(self.settings.latency)
        if request.method != "POST":
            return PlainTextResponse("Method not allowed", 405)
        match request.url.path.strip("/").split("/"):
            case [*_, "token"]:
                return await self.tokens.answer(request)
            case [*_, "children_social_care_data", la_code, "children"] if la_code.isdecimal() and len(la_code) <= 3:
                return self._turned_away(request, la_code) or self._submit(request, la_code, await request.body())
            case _:
                return PlainTextResponse("Resource not found", 404)

    def _turned_away(self, request: Request, la_code: str) -> Response | None:
        if not self.tokens.valid(request.headers.get("authorization", "")):
            return PlainTextResponse("Unauthorized Access", 401, {"WWW-Authenticate": "Bearer"})
        allowed = self.settings.la_codes
        if request.headers.get("supplierkey") != self.settings.supplier_key or (allowed and la_code not in allowed):
            return PlainTextResponse("Forbidden Access", 403)
        if wait := self.throttle.wait():
            return PlainTextResponse("Too many requests", 429, {"Retry-After": str(int(wait) + 1)})
        return None

    def _submit(self, request: Request, la_code: str, body: bytes) -> Response:
        if len(body) > self.settings.max_bytes:
            return PlainTextResponse("Too many records", 413)
        try:
            # What comes back has its fields in the contract's order, so that equal documents are equal as text.
            children: list[Json] = CHILDREN.validate_json(body)  # type: ignore[assignment]
        except ValidationError as error:
            return refusal(error)
        if not children:
            return Response(status_code=204)
        refused = self.refused_keys()
        if spoilt := [n for n, child in enumerate(children) if child["la_child_id"] in refused]:
            return PlainTextResponse(f"Payload was malformed: invalid records at {spoilt}", 400)
        self._keep(request.state.id, la_code, children)
        now = f"{datetime.now(UTC):%Y-%m-%d_%H:%M:%S.%f}"
        return JSONResponse([f"{now}_{uuid.uuid4()}" for _ in children])

    def _keep(self, request: str, la_code: str, children: list[Json]) -> None:
        keys = [child["la_child_id"] for child in children]
        texts: dict[str, str | None] = dict(self.held.get(la_code, keys))
        effects = []
        for key, child in zip(keys, children, strict=True):
            effect = self._effect(la_code, child, texts.get(key))
            texts[key] = effect.document
            effects.append(effect)
        self.held.keep(request, effects)

    def _effect(self, la_code: str, child: Json, text: str | None) -> Effect:
        key = child["la_child_id"]
        if child.get("purge"):
            return Effect(la_code, key, key, "purge", None, "", int(text is not None))
        held = {} if text is None else from_json(text)
        after = to_json(merged(held, child, CHILD_FIELDS, self.settings.left_out)).decode()
        operation: Literal["create", "update"] = "create" if text is None else "update"
        return Effect(la_code, key, key, operation, after, digest_of(after), int(after != text))


def refusal(error: ValidationError) -> Response:
    """The contract's 400 or 413. Only the first line holds numbers in brackets: the records that failed."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    if any(fault["type"] == "too_long" and not fault["loc"] for fault in faults):
        return PlainTextResponse("Too many records", 413)
    if not all(fault["loc"] for fault in faults):
        return PlainTextResponse("Payload was malformed: not a JSON array of child records", 400)
    failing = sorted({int(fault["loc"][0]) for fault in faults})
    lines = [f"record {f['loc'][0]}: {'.'.join(map(str, f['loc'][1:]))}: {f['msg']}" for f in faults[:20]]
    return PlainTextResponse("\n".join([f"Payload was malformed: invalid records at {failing}", *lines]), 400)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m flows.dfe_csc.sandbox", description="A stand-in for the DfE API.")
    parser.add_argument("--port", type=int, default=8801)
    parser.add_argument("--data", type=Path, help="SQLite file that outlives the process (default: memory)")
    options = parser.parse_args()
    run(DfeCscSandbox(DfeCscSandboxSettings(port=options.port, data=options.data)))


if __name__ == "__main__":
    main()
