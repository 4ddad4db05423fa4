/*
title = "Assessments in 45 working days"
unit = "assessments"
definition = """
Child and family assessments that were authorised, by the month of the authorisation. One is in time if at most 45
working days lie between its start and its authorisation: the day of the start is day 0, and an authorisation on day
45 is in time. Working days are Monday to Friday without the bank holidays of England. An assessment that is still
open is in the figure `assessments-open`. `from_referral` counts those authorised at most 45 working days after the
referral that they belong to."""
source = """
Working Together to Safeguard Children (statutory guidance): no longer than 45 working days from the point of
referral. The Department for Education's children in need census measures from the start of the assessment to its
authorisation."""
lacks = """
`undated` counts assessments without a start, or with one after the authorisation; they are neither in time nor late."""
chart = "in_time_percent"
by = ["system", "month"]

[columns]
assessment = "assessment.key"
child = "assessment.person"
system = "assessment.key"
month = "assessment.authorised_date"
referral_date = "care-episode.referral_date"
start_date = "assessment.start_date"
authorised_date = "assessment.authorised_date"
working_days = "assessment.authorised_date"
in_time = "assessment.authorised_date"
late = "assessment.authorised_date"
undated = "assessment.start_date"
from_referral = "care-episode.referral_date"
*/
CREATE OR REPLACE MACRO assessments_in_time_rows(first_day, last_day) AS TABLE
WITH counted AS (
    SELECT
        a.key,
        a.person,
        a.authorised_date,
        a.start_date,
        r.referral_date,
        CASE WHEN a.start_date <= a.authorised_date THEN ended.nth - began.nth END AS working_days,
        CASE WHEN r.referral_date <= a.authorised_date THEN ended.nth - asked.nth END AS days_from_referral
    FROM assessment a
    LEFT JOIN care_episode r ON r.key = a.episode
    LEFT JOIN working_day ended ON ended.day = a.authorised_date
    LEFT JOIN working_day began ON began.day = a.start_date
    LEFT JOIN working_day asked ON asked.day = r.referral_date
    WHERE a.authorised_date BETWEEN first_day AND last_day
)
SELECT
    key AS assessment,
    person AS child,
    split_part(key, ':', 1) AS system,
    strftime(authorised_date, '%Y-%m') AS month,
    referral_date,
    start_date,
    authorised_date,
    working_days,
    coalesce(working_days <= 45, false) AS in_time,
    coalesce(working_days > 45, false) AS late,
    working_days IS NULL AS undated,
    coalesce(days_from_referral <= 45, false) AS from_referral
FROM counted;

CREATE OR REPLACE MACRO assessments_in_time(first_day, last_day) AS TABLE
SELECT
    system,
    month,
    count(*) AS assessments,
    count_if(in_time) AS in_time,
    count_if(late) AS late,
    count_if(undated) AS undated,
    round(100.0 * count_if(in_time) / nullif(count_if(NOT undated), 0), 1) AS in_time_percent,
    count_if(from_referral) AS from_referral
FROM assessments_in_time_rows(first_day, last_day)
GROUP BY system, month
ORDER BY system, month;
