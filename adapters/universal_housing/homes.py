"""Properties with their hierarchy, and the tenancies that let them: the tables property and tenagree."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from sqlalchemy import CHAR, Numeric

from adapters.kit.sql import Choice, Joined, Soft, Tables, row_of
from adapters.universal_housing.columns import (
    Bit,
    HouseRef,
    Moment,
    Postcode,
    PropRef,
    TagRef,
    Text3,
    own_column,
    reference,
)
from adapters.universal_housing.settings import UniversalHousingSettings
from canonical.housing import Property, Tenancy
from canonical.key import key_of


@row_of("property", key="prop_ref", also={"u_llpg_ref": Annotated[str | None, CHAR(16)]}, version="tstamp")
class PropertyRow(NamedTuple):
    prop_ref: Annotated[str, CHAR(12)]
    short_address: Annotated[str | None, CHAR(200)]
    address1: Annotated[str | None, CHAR(255)]
    post_code: Soft[Postcode]
    level_code: Annotated[str | None, CHAR(1)]
    major_ref: PropRef
    cat_type: Text3
    subtyp_code: Text3
    ownership: Annotated[str | None, CHAR(10)]
    num_bedrooms: Annotated[int | None, Numeric(3, 0)]
    uprn: Soft[Joined[str | None]]


@row_of("tenagree", key="tag_ref", version="tstamp")
class Tenagree(NamedTuple):
    tag_ref: TagRef
    house_ref: HouseRef
    prop_ref: PropRef
    cot: Moment
    eot: Moment
    tenure: Text3
    agr_type: Annotated[str | None, CHAR(1)]
    present: Bit
    terminated: Bit


def properties(tables: Tables, settings: UniversalHousingSettings) -> Choice:
    return Choice(joined={"uprn": own_column(tables, PropertyRow, settings.uprn_column)})


def property_(source: str, p: PropertyRow) -> Property:
    # The top of a hierarchy has a blank major_ref, or names itself.
    parent = None if p.major_ref == p.prop_ref else p.major_ref
    address = p.short_address or p.address1
    return Property(
        key=key_of(source, "property", p.prop_ref),
        number=p.prop_ref,
        parent=reference(source, "property", parent),
        level=p.level_code,
        address_lines=(address,) if address else (),
        postcode=p.post_code,
        uprn=p.uprn,
        category=p.cat_type,
        subtype=p.subtyp_code,
        ownership=p.ownership,
        bedrooms=p.num_bedrooms,
    )


def tenancy(source: str, t: Tenagree) -> Tenancy:
    return Tenancy(
        key=key_of(source, "tenancy", t.tag_ref),
        number=t.tag_ref,
        property=reference(source, "property", t.prop_ref),
        household=reference(source, "household", t.house_ref),
        tenure=t.tenure,
        agreement_type=t.agr_type,
        start_date=t.cot,
        end_date=t.eot,
        current=None if t.present is None else t.present and not t.terminated,
    )
