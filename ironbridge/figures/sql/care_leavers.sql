/*
title = "Care leavers in touch"
unit = "care leavers"
definition = """
Care leavers of 17 to 21 years by their age on the last day, and whether the council is in touch with them (the codes
of SSDA903: YES, NO, REFU refused, NREQ needs no service, RHOM returned home; who has died is not counted), whether
they live in suitable accommodation, and whether they are in education, employment or training (activity codes that
begin with F or P). One record a person: the one with the latest contact on the last day or before, else one without a
contact date. The first day of the range plays no part."""
source = """
The Department for Education's SSDA903 return, file OC3 (IN_TOUCH, ACTIV, ACCOM), and Ofsted's Annex A, list 9.
Sections 23A to 23E of the Children Act 1989 say who is a care leaver and oblige the council to keep in touch."""
lacks = """
The national return asks within some weeks around each birthday; this figure asks for the last day. A person without a
date of birth is not counted. Systems that do not write the codes of SSDA903 (Annex A has letters of its own) are
`not_known`."""
chart = "in_touch"
by = ["system", "age"]

[columns]
care_leaver = "care-leaver.key"
person = "care-leaver.person"
system = "care-leaver.key"
age = "person.birth_date"
contact_date = "care-leaver.contact_date"
contact = "care-leaver.in_touch"
activity = "care-leaver.activity"
in_touch = "care-leaver.in_touch"
not_in_touch = "care-leaver.in_touch"
refused = "care-leaver.in_touch"
needs_nothing = "care-leaver.in_touch"
returned_home = "care-leaver.in_touch"
not_known = "care-leaver.in_touch"
suitable = "care-leaver.accommodation_suitable"
active = "care-leaver.activity"
*/
CREATE OR REPLACE MACRO care_leavers_rows(first_day, last_day) AS TABLE
WITH aged AS (
    SELECT key, date_sub('year', birth_date, last_day) AS age
    FROM person
    WHERE birth_date BETWEEN last_day - INTERVAL 22 YEAR AND last_day - INTERVAL 17 YEAR
),
latest AS (
    SELECT
        l.key, l.person, p.age, l.contact_date, upper(l.in_touch) AS contact, upper(l.activity) AS activity,
        l.accommodation_suitable
    FROM care_leaver l
    JOIN aged p ON p.key = l.person
    WHERE l.contact_date IS NULL OR l.contact_date <= last_day
    QUALIFY row_number() OVER (PARTITION BY l.person ORDER BY l.contact_date DESC NULLS LAST, l.key DESC) = 1
)
SELECT
    key AS care_leaver,
    person,
    split_part(key, ':', 1) AS system,
    age,
    contact_date,
    contact,
    activity,
    contact IS NOT DISTINCT FROM 'YES' AS in_touch,
    contact IS NOT DISTINCT FROM 'NO' AS not_in_touch,
    contact IS NOT DISTINCT FROM 'REFU' AS refused,
    contact IS NOT DISTINCT FROM 'NREQ' AS needs_nothing,
    contact IS NOT DISTINCT FROM 'RHOM' AS returned_home,
    contact IS NULL OR contact NOT IN ('YES', 'NO', 'REFU', 'NREQ', 'RHOM') AS not_known,
    accommodation_suitable IS NOT DISTINCT FROM '1' AS suitable,
    coalesce(regexp_full_match(activity, '[FP][0-9]'), false) AS active
FROM latest
WHERE age BETWEEN 17 AND 21 AND contact IS DISTINCT FROM 'DIED';

CREATE OR REPLACE MACRO care_leavers(first_day, last_day) AS TABLE
SELECT
    system,
    age,
    count(*) AS care_leavers,
    count_if(in_touch) AS in_touch,
    count_if(not_in_touch) AS not_in_touch,
    count_if(refused) AS refused,
    count_if(needs_nothing) AS needs_nothing,
    count_if(returned_home) AS returned_home,
    count_if(not_known) AS not_known,
    count_if(suitable) AS suitable,
    count_if(active) AS active,
    round(100.0 * count_if(in_touch) / count(*), 1) AS in_touch_percent
FROM care_leavers_rows(first_day, last_day)
GROUP BY system, age
ORDER BY system, age;
