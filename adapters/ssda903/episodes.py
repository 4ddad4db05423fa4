"""Periods and meetings of a looked-after child: the files Episodes, Missing, Reviews and SWEpisodes."""

from __future__ import annotations

from typing import NamedTuple

from adapters.kit.rows import Soft, row_of
from adapters.kit.typed import row_key
from adapters.ssda903.child import person_key
from adapters.ssda903.codes import Begins, CinCode, Day, MaybeDay, MissingOrAbsent, Provider, TakesPart, WorkerLeft
from canonical.children import (
    Involvement,
    LegalStatus,
    LookedAfterEpisode,
    MissingEpisode,
    MissingKind,
    Placement,
    Review,
    ReviewKind,
)


@row_of("EPISODES", key=("child", "decom"))
class Episode(NamedTuple):
    child: str
    decom: Day
    rne: Begins
    ls: str | None
    cin: CinCode
    place: str | None
    place_provider: Provider
    dec: MaybeDay
    rec: str | None
    reason_place_change: str | None
    home_post: Soft[str | None]
    pl_post: Soft[str | None]
    urn: str | None


@row_of("MISSING", key=("child", "mis_start"))
class Missing(NamedTuple):
    child: str
    missing: MissingOrAbsent
    mis_start: Day
    mis_end: MaybeDay


@row_of("REVIEWS", key=("child", "review"))
class Reviewed(NamedTuple):
    child: str
    review: Day
    review_code: TakesPart


@row_of("SW_EPISODES", key=("child", "sw_id", "sw_decom"))
class WorkerEpisode(NamedTuple):
    child: str
    sw_id: str
    sw_decom: Day
    sw_dec: MaybeDay
    sw_reason: WorkerLeft


def looked_after(source: str, e: Episode) -> LookedAfterEpisode:
    return LookedAfterEpisode(
        key=row_key(source, "looked-after-episode", e),
        person=person_key(source, e.child),
        placement=row_key(source, "placement", e),
        start_date=e.decom,
        start_reason=e.rne,
        end_date=e.dec,
        end_reason=e.rec,
        primary_need=e.cin,
        home_postcode=e.home_post,
    )


def placement(source: str, e: Episode) -> Placement:
    return Placement(
        key=row_key(source, "placement", e),
        person=person_key(source, e.child),
        start_date=e.decom,
        end_date=e.dec,
        placement_type=e.place,
        provider=e.place_provider,
        ofsted_urn=e.urn,
        postcode=e.pl_post,
        change_reason=e.reason_place_change,
    )


def legal_status(source: str, e: Episode) -> LegalStatus:
    key, child = row_key(source, "legal-status", e), person_key(source, e.child)
    return LegalStatus(key=key, person=child, legal_status=e.ls, start_date=e.decom, end_date=e.dec)


def missing(source: str, m: Missing) -> MissingEpisode:
    return MissingEpisode(
        key=row_key(source, "missing-episode", m),
        person=person_key(source, m.child),
        kind=MissingKind(m.missing),
        start_date=m.mis_start,
        end_date=m.mis_end,
    )


def review(source: str, r: Reviewed) -> Review:
    return Review(
        key=row_key(source, "review", r),
        person=person_key(source, r.child),
        kind=ReviewKind.LOOKED_AFTER,
        review_date=r.review,
        participation=r.review_code,
    )


def involvement(source: str, w: WorkerEpisode) -> Involvement:
    return Involvement(
        key=row_key(source, "involvement", w),
        person=person_key(source, w.child),
        worker=w.sw_id,
        start_date=w.sw_decom,
        end_date=w.sw_dec,
        change_reason=w.sw_reason,
    )
