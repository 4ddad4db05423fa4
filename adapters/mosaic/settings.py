"""The section of a Mosaic adapter in ironbridge.toml has these settings."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from adapters.kit.refresh import RefreshHours
from adapters.kit.sql_session import SqlSettings


class MosaicPeople(StrEnum):
    """This choice says which persons are read: those whom CONTEXT_FLAG does not call adults, with care leavers, or everybody."""

    CHILDREN = "children"
    EVERYBODY = "everybody"


class StepTypes(BaseModel):
    """
    The council's own types of workflow steps (WORKFLOW_STEP_TYPE_ID) for each purpose. Where `section_47` is empty, the mart's
    flag IS_SECTION_47_ENQUIRY tells; where another one is empty, nothing is read for it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    assessment: tuple[int, ...] = ()
    cin_plan: tuple[int, ...] = ()
    section_47: tuple[int, ...] = ()


class Questions(BaseModel):
    """
    The council's own codes of the questions in its forms (QUESTION_USER_CODE). What has none is not read. Immigration: the
    status, and the days on which it begins and ends. Adoption: the days of the decision and of the match.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    conference_required: tuple[str, ...] = ()
    immigration_status: tuple[str, ...] = ()
    immigration_start: tuple[str, ...] = ()
    immigration_end: tuple[str, ...] = ()
    adoption_decision: tuple[str, ...] = ()
    adoption_match: tuple[str, ...] = ()


class MosaicSettings(SqlSettings):
    """
    One children's mart of Mosaic: whom and what to read of it, besides what every SQL database may say.

    `worker_types` are the relationships (PROF_REL_TYPE_CODE) that are read, all if there are none. `uasc_answers` are the
    answers that mean an unaccompanied asylum-seeking child. The initial conference of a section 47 enquiry is looked for up to
    `conference_days` after it began. Nothing is read within the `refresh_window`, in the mart's time zone.
    """

    schema_name: str | None = Field(default="dbo", alias="schema")
    people: MosaicPeople = MosaicPeople.CHILDREN
    steps: StepTypes = StepTypes()
    questions: Questions = Questions()
    worker_types: tuple[str, ...] = ()
    uasc_answers: tuple[str, ...] = ("UASC", "Unaccompanied asylum seeking child")
    conference_days: int = Field(default=60, ge=1, le=366)
    refresh_window: RefreshHours = None
