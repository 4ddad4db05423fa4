"""
The tables of HDM, Liquidlogic's warehouse, as far as we read them (schema `Child_Social`).

Names are never quoted: SQL Server and MariaDB take them as they stand, PostgreSQL folds both sides to lower case.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, TableClause, column, func, or_, select, table
from sqlalchemy.sql.elements import quoted_name
from sqlalchemy.sql.expression import Subquery

COLUMNS = {
    "DIM_CLA_ELIGIBILITY": "DIM_CLA_ELIGIBILITY_ID DIM_PERSON_ID DIM_LOOKUP_ELIGIBILITY_STATUS_DESC",
    "DIM_LOOKUP_DFE_ETHNIC": "MAIN_CODE NAT_ID",
    "DIM_LOOKUP_DISAB": "MAIN_CODE NAT_ID",
    "DIM_PERSON": "DIM_PERSON_ID LEGACY_ID FORENAME SURNAME BIRTH_DTTM DOB_ESTIMATED DEATH_DTTM GENDER_MAIN_CODE "
    "ETHNICITY_MAIN_CODE NATNL_CODE UPN FORMER_UPN DUPLICATED_DTTM IS_CLIENT",
    "DIM_PERSON_ADDRESS": "DIM_PERSON_ADDRESS_ID DIM_PERSON_ID ADDSS_TYPE_CODE ROOM_NO FLOOR_NO FLAT_NO BUILDING "
    "HOUSE_NO STREET TOWN POSTCODE UPRN START_DTTM END_DTTM",
    "DIM_WORKER": "DIM_WORKER_ID WORKER_ID_CODE DEPARTMENT_NAME",
    "FACT_903_DATA": "DIM_PERSON_ID NO_UPN_CODE",
    "FACT_ADOPTION": "FACT_ADOPTION_ID DIM_PERSON_ID START_DTTM DECISION_DTTM PLACEMENT_ORDER_DTTM MATCHING_DTTM "
    "NO_LONGER_PLACED_DTTM DIM_LOOKUP_ADOP_REASON_CEASED_CODE ADOPTED_BY_CARER_FLAG",
    "FACT_CARE_EPISODES": "FACT_CARE_EPISODES_ID DIM_PERSON_ID FACT_CLA_ID FACT_CLA_PLACEMENT_ID CARE_START_DATE "
    "CARE_REASON_DESC CARE_END_DATE CARE_REASON_END_CODE CARE_REASON_END_DESC CIN_903_CODE OFSTED_URN",
    "FACT_CARE_PLANS": "FACT_CARE_PLAN_ID FACT_CARE_PLAN_SUMMARY_ID DIM_LOOKUP_PLAN_TYPE_ID_CODE",
    "FACT_CARE_PLAN_SUMMARY": "FACT_CARE_PLAN_SUMMARY_ID DIM_PERSON_ID FACT_REFERRAL_ID START_DTTM END_DTTM "
    "DIM_LOOKUP_PLAN_STATUS_ID_CODE",
    "FACT_CLA": "FACT_CLA_ID FACT_REFERRAL_ID",
    "FACT_CLA_CARE_LEAVERS": "FACT_CLA_CARE_LEAVERS_ID DIM_PERSON_ID IN_TOUCH_DTTM DIM_LOOKUP_IN_TOUCH_CODE_CODE "
    "DIM_LOOKUP_MAIN_ACTIVITY_DESC DIM_LOOKUP_ACCOMMODATION_CODE_DESC DIM_LOOKUP_ACCOMMODATION_SUITABLE_DESC",
    "FACT_CLA_PLACEMENT": "FACT_CLA_PLACEMENT_ID DIM_PERSON_ID FACT_CLA_ID START_DTTM END_DTTM "
    "DIM_LOOKUP_PLACEMENT_TYPE_CODE DIM_LOOKUP_PLACEMENT_PROVIDER_CODE POSTCODE DISTANCE_FROM_HOME "
    "DIM_LOOKUP_PLAC_CHNG_REAS_CODE",
    "FACT_CP_CONFERENCE": "FACT_CP_CONFERENCE_ID FACT_S47_ID FACT_MEETING_ID",
    "FACT_CP_PLAN": "FACT_CP_PLAN_ID DIM_PERSON_ID FACT_REFERRAL_ID START_DTTM END_DTTM INIT_CATEGORY_DESC "
    "CP_CATEGORY_DESC",
    "FACT_DISABILITY": "FACT_DISABILITY_ID DIM_PERSON_ID DIM_LOOKUP_DISAB_CODE END_DTTM",
    "FACT_FORMS": "FACT_FORM_ID DIM_PERSON_ID",
    "FACT_FORM_ANSWERS": "FACT_FORM_ANSWER_ID FACT_FORM_ID ANSWER_NO ANSWER ANSWERED_DTTM "
    "DIM_ASSESSMENT_TEMPLATE_ID_DESC",
    "FACT_IMMIGRATION_STATUS": "FACT_IMMIGRATION_STATUS_ID DIM_PERSON_ID DIM_LOOKUP_IMMGR_STATUS_DESC START_DTTM "
    "END_DTTM",
    "FACT_INVOLVEMENTS": "FACT_INVOLVEMENTS_ID DIM_PERSON_ID FACT_REFERRAL_ID DIM_WORKER_ID "
    "DIM_LOOKUP_INVOLVEMENT_TYPE_CODE START_DTTM END_DTTM DIM_LOOKUP_CWREASON_CODE",
    "FACT_MEETINGS": "FACT_MEETING_ID ACTUAL_DTTM DIM_LOOKUP_MTG_TYPE_ID_CODE",
    "FACT_REFERRALS": "FACT_REFERRAL_ID DIM_PERSON_ID REFRL_START_DTTM DIM_LOOKUP_CONT_SORC_ID "
    "DIM_LOOKUP_CONT_SORC_ID_DESC OUTCOME_NFA_FLAG DIM_LOOKUP_CATEGORY_OF_NEED_CODE REFRL_END_DTTM "
    "DIM_LOOKUP_REFRL_ENDRSN_ID_CODE",
    "FACT_S47": "FACT_S47_ID DIM_PERSON_ID FACT_REFERRAL_ID START_DTTM END_DTTM OUTCOME_CP_CONFERENCE_FLAG",
    "FACT_SINGLE_ASSESSMENT": "FACT_SINGLE_ASSESSMENT_ID DIM_PERSON_ID FACT_REFERRAL_ID FACT_FORM_ID START_DTTM "
    "DIM_LOOKUP_STEP_SUBSTATUS_CODE",
}


class Hdm:
    """
    The tables in one schema: `hdm["DIM_PERSON"].c.UPN`, the same object each time.

    `more` gives tables a column that only this council reads, e.g. one that shows changes.
    """

    def __init__(self, schema: str | None = None, more: Mapping[str, str] | None = None) -> None:
        name = None if schema is None else quoted_name(schema, quote=False)
        extra = more or {}
        self._tables = {
            each: table(
                quoted_name(each, quote=False),
                *[
                    column(quoted_name(c, quote=False))
                    for c in dict.fromkeys([*names.split(), *extra.get(each, "").split()])
                ],
                schema=name,
            )
            for each, names in COLUMNS.items()
        }

    def __getitem__(self, name: str) -> TableClause:
        return self._tables[name]

    def translation(self, name: str) -> Subquery:
        """A lookup table as `code` (local) and `nat` (national), one row a code even where the council has two."""
        lookup = self[name]
        code = matchable(lookup.c.MAIN_CODE)
        return select(code.label("code"), func.max(lookup.c.NAT_ID).label("nat")).group_by(code).subquery(name.lower())


def matchable(code: ColumnElement[Any]) -> ColumnElement[Any]:
    """A code without the blanks and the case in which tables differ."""
    return func.upper(func.rtrim(code))


def real(person: ColumnElement[Any]) -> ColumnElement[bool]:
    """Not the row of the person -1, which stands for nobody."""
    return person != -1


def is_none_of(code: ColumnElement[Any], values: tuple[str, ...]) -> ColumnElement[bool]:
    return or_(code.is_(None), matchable(code).not_in(values))


def columns_of(source: TableClause, fields: type[NamedTuple]) -> tuple[ColumnElement[Any], ...]:
    """The columns that a named tuple's fields are called after, in its order, up to the first that the table lacks."""
    names: tuple[str, ...] = fields._fields
    found = []
    for name in names:
        if name.upper() not in source.c:
            break
        found.append(source.c[name.upper()])
    return tuple(found)
