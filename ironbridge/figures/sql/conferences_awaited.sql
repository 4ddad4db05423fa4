/*
title = "Child protection conferences still to be held"
unit = "enquiries"
definition = """
Enquiries under section 47 for which a conference is required and was not held by the end of the last day, by the
working days since the enquiry started. More than 15 working days is overdue. The first day of the range plays no
part."""
source = """
Working Together to Safeguard Children (statutory guidance): within 15 working days of the strategy discussion."""
lacks = """
An enquiry that does not say whether a conference is required is not counted, nor is one that says that none is (the
conference was cancelled or never needed)."""
chart = "enquiries"
by = ["system", "wait"]

[columns]
enquiry = "section-47-enquiry.key"
child = "section-47-enquiry.person"
system = "section-47-enquiry.key"
wait = "section-47-enquiry.start_date"
start_date = "section-47-enquiry.start_date"
working_days = "section-47-enquiry.start_date"
overdue = "section-47-enquiry.start_date"
*/
CREATE OR REPLACE MACRO conferences_awaited_rows(first_day, last_day) AS TABLE
WITH awaited AS (
    SELECT s.key, s.person, s.start_date, today.nth - began.nth AS working_days
    FROM section_47_enquiry s
    JOIN working_day began ON began.day = s.start_date
    JOIN working_day today ON today.day = last_day
    WHERE s.start_date <= last_day
      AND s.conference_required
      AND (s.conference_date IS NULL OR s.conference_date > last_day)
)
SELECT
    key AS enquiry,
    person AS child,
    split_part(key, ':', 1) AS system,
    CASE
        WHEN working_days <= 15 THEN '0 to 15 days'
        WHEN working_days <= 30 THEN '16 to 30 days'
        ELSE 'more than 30 days'
    END AS wait,
    start_date,
    working_days,
    working_days > 15 AS overdue
FROM awaited;

CREATE OR REPLACE MACRO conferences_awaited(first_day, last_day) AS TABLE
SELECT system, wait, count(*) AS enquiries, count_if(overdue) AS overdue
FROM conferences_awaited_rows(first_day, last_day)
GROUP BY system, wait
ORDER BY system, min(working_days);
