/*
title = "Open assessments by age"
unit = "assessments"
definition = """
Child and family assessments that are open at the end of the last day, by the working days since they started. One is
open if it started on the last day or before and was not authorised by then, and its referral was not closed by then.
More than 45 working days is overdue. The first day of the range plays no part."""
source = "Working Together to Safeguard Children (statutory guidance): no longer than 45 working days."
lacks = """
An assessment has no sign that it was cancelled: one whose referral was closed without an authorisation counts as
given up, and one without a start date is not counted."""
chart = "assessments"
by = ["system", "age"]

[columns]
assessment = "assessment.key"
child = "assessment.person"
system = "assessment.key"
age = "assessment.start_date"
start_date = "assessment.start_date"
working_days = "assessment.start_date"
overdue = "assessment.start_date"
*/
CREATE OR REPLACE MACRO assessments_open_rows(first_day, last_day) AS TABLE
WITH unfinished AS (
    SELECT a.key, a.person, a.start_date, today.nth - began.nth AS working_days
    FROM assessment a
    LEFT JOIN care_episode r ON r.key = a.episode
    JOIN working_day began ON began.day = a.start_date
    JOIN working_day today ON today.day = last_day
    WHERE a.start_date <= last_day
      AND (a.authorised_date IS NULL OR a.authorised_date > last_day)
      AND (r.close_date IS NULL OR r.close_date > last_day)
)
SELECT
    key AS assessment,
    person AS child,
    split_part(key, ':', 1) AS system,
    CASE
        WHEN working_days <= 10 THEN '0 to 10 days'
        WHEN working_days <= 25 THEN '11 to 25 days'
        WHEN working_days <= 35 THEN '26 to 35 days'
        WHEN working_days <= 45 THEN '36 to 45 days'
        ELSE 'more than 45 days'
    END AS age,
    start_date,
    working_days,
    working_days > 45 AS overdue
FROM unfinished;

CREATE OR REPLACE MACRO assessments_open(first_day, last_day) AS TABLE
SELECT system, age, count(*) AS assessments, count_if(overdue) AS overdue
FROM assessments_open_rows(first_day, last_day)
GROUP BY system, age
ORDER BY system, min(working_days);
