/*
title = "Child protection conferences in 15 working days"
unit = "conferences"
definition = """
Initial child protection conferences that were held, by the month of the conference. One is in time if at most 15
working days lie between the start of the enquiry under section 47 and the conference: the day of the start is day 0,
and a conference on day 15 is in time. Working days are Monday to Friday without the bank holidays of England. An
enquiry that needed no conference, and has none, is not counted."""
source = """
Working Together to Safeguard Children (statutory guidance): within 15 working days of the strategy discussion at
which the enquiry was initiated; `InitialCPCtarget` of the Department for Education's children in need census."""
lacks = """
The date of the strategy discussion is not held apart from the start of the enquiry. Conferences of children who move
in with a plan have no enquiry here. `undated` counts enquiries without a start, or with one after the conference."""
chart = "in_time_percent"
by = ["system", "month"]

[columns]
enquiry = "section-47-enquiry.key"
child = "section-47-enquiry.person"
system = "section-47-enquiry.key"
month = "section-47-enquiry.conference_date"
start_date = "section-47-enquiry.start_date"
conference_date = "section-47-enquiry.conference_date"
working_days = "section-47-enquiry.conference_date"
in_time = "section-47-enquiry.conference_date"
late = "section-47-enquiry.conference_date"
undated = "section-47-enquiry.start_date"
*/
CREATE OR REPLACE MACRO conferences_in_time_rows(first_day, last_day) AS TABLE
WITH held AS (
    SELECT
        s.key,
        s.person,
        s.start_date,
        s.conference_date,
        CASE WHEN s.start_date <= s.conference_date THEN met.nth - began.nth END AS working_days
    FROM section_47_enquiry s
    LEFT JOIN working_day met ON met.day = s.conference_date
    LEFT JOIN working_day began ON began.day = s.start_date
    WHERE s.conference_date BETWEEN first_day AND last_day
)
SELECT
    key AS enquiry,
    person AS child,
    split_part(key, ':', 1) AS system,
    strftime(conference_date, '%Y-%m') AS month,
    start_date,
    conference_date,
    working_days,
    coalesce(working_days <= 15, false) AS in_time,
    coalesce(working_days > 15, false) AS late,
    working_days IS NULL AS undated
FROM held;

CREATE OR REPLACE MACRO conferences_in_time(first_day, last_day) AS TABLE
SELECT
    system,
    month,
    count(*) AS conferences,
    count_if(in_time) AS in_time,
    count_if(late) AS late,
    count_if(undated) AS undated,
    round(100.0 * count_if(in_time) / nullif(count_if(NOT undated), 0), 1) AS in_time_percent
FROM conferences_in_time_rows(first_day, last_day)
GROUP BY system, month
ORDER BY system, month;
