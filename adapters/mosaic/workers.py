"""This stream says who works with a child: DM_PROF_RELATIONSHIPS, and the worker's team."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import and_, func, or_, select

from adapters.kit.sql import Choice, Joined, Tables, row_of
from adapters.kit.sql_conditions import on_one_day, plain
from adapters.mosaic.mart import Day, PersonsReferral, open_episode
from adapters.mosaic.settings import MosaicSettings
from canonical.children import Involvement
from canonical.key import key_of


@row_of("DM_WORKER_ROLES", also={"organisation_id": int})
class DmWorkerRoles(NamedTuple):
    worker_id: int


@row_of("DM_ORGANISATIONS", key="organisation_id")
class DmOrganisations(NamedTuple):
    organisation_id: int
    name: str | None


@row_of("DM_PROF_RELATIONSHIPS", key="prof_relationship_id")
class DmProfRelationships(NamedTuple):
    prof_relationship_id: int
    person_id: int
    worker_id: int | None
    prof_rel_type_code: str | None
    start_date: Day
    end_date: Day
    end_date_reason: str | None
    team: Joined[str | None]
    referrals: tuple[PersonsReferral, ...]


def involvements(mart: Tables, settings: MosaicSettings) -> Choice:
    them, roles, organisations = mart[DmProfRelationships], mart[DmWorkerRoles], mart[DmOrganisations]
    begun, ended, kind = them.c.START_DATE, them.c.END_DATE, plain(them.c.PROF_REL_TYPE_CODE)
    # Somebody with several roles is shown in one team, always the same.
    team = select(func.max(organisations.c.NAME)).select_from(
        roles.join(organisations, organisations.c.ORGANISATION_ID == roles.c.ORGANISATION_ID)
    ).where(roles.c.WORKER_ID == them.c.WORKER_ID).correlate(them)  # fmt: skip
    # Begun and ended on one day: keyed in by mistake.
    conditions = [or_(begun.is_(None), ended.is_(None), ~on_one_day(begun, ended))]
    if settings.worker_types:
        conditions.append(kind.in_([each.upper() for each in settings.worker_types]))
    return Choice(and_(*conditions), joined={"team": team.scalar_subquery()})


def involvement(source: str, i: DmProfRelationships) -> Involvement:
    return Involvement(
        key=key_of(source, "involvement", i.prof_relationship_id),
        person=key_of(source, "person", i.person_id),
        episode=open_episode(source, i.person_id, i.referrals, i.start_date),
        worker=None if i.worker_id is None else str(i.worker_id),
        role=i.prof_rel_type_code,
        team=i.team,
        start_date=i.start_date,
        end_date=i.end_date,
        change_reason=i.end_date_reason,
    )
