/*
title = "Referrals, and what follows"
unit = "referrals"
definition = """
Referrals to children's social care, by the month and the source of the referral. A referral is assessed, or leads to
an enquiry under section 47 of the Children Act 1989, if an assessment or an enquiry of the same child starts on the
day of the referral or in the 30 days after it; `assessed_and_enquired` counts referrals with an assessment and an
enquiry. No further action is as the system recorded it."""
source = """
Ofsted's Annex A, list 3 (date, source, no further action). Assessment and enquiry within 30 days of the referral: the
rule of the open CIN census pipeline of the London Innovation and Improvement Alliance."""
lacks = ""
chart = "referrals"
by = ["system", "month", "referral_source"]

[columns]
referral = "care-episode.key"
child = "care-episode.person"
system = "care-episode.key"
month = "care-episode.referral_date"
referral_source = "care-episode.referral_source"
referral_date = "care-episode.referral_date"
no_further_action = "care-episode.no_further_action"
assessed = "assessment.start_date"
enquired = "section-47-enquiry.start_date"
assessed_and_enquired = "section-47-enquiry.start_date"
*/
CREATE OR REPLACE MACRO referrals_rows(first_day, last_day) AS TABLE
WITH referred AS (
    SELECT key, person, referral_date, referral_source, no_further_action
    FROM care_episode
    WHERE referral_date BETWEEN first_day AND last_day
),
assessed AS (
    SELECT DISTINCT r.key
    FROM referred r
    JOIN assessment a ON a.person = r.person AND a.start_date BETWEEN r.referral_date AND r.referral_date + 30
),
enquired AS (
    SELECT DISTINCT r.key
    FROM referred r
    JOIN section_47_enquiry s ON s.person = r.person AND s.start_date BETWEEN r.referral_date AND r.referral_date + 30
)
SELECT
    r.key AS referral,
    r.person AS child,
    split_part(r.key, ':', 1) AS system,
    strftime(r.referral_date, '%Y-%m') AS month,
    coalesce(r.referral_source, 'not known') AS referral_source,
    r.referral_date,
    r.no_further_action,
    a.key IS NOT NULL AS assessed,
    s.key IS NOT NULL AS enquired,
    a.key IS NOT NULL AND s.key IS NOT NULL AS assessed_and_enquired
FROM referred r
LEFT JOIN assessed a ON a.key = r.key
LEFT JOIN enquired s ON s.key = r.key;

CREATE OR REPLACE MACRO referrals(first_day, last_day) AS TABLE
SELECT
    system,
    month,
    referral_source,
    count(*) AS referrals,
    count_if(no_further_action) AS no_further_action,
    count_if(assessed) AS assessed,
    count_if(enquired) AS enquired,
    count_if(assessed_and_enquired) AS assessed_and_enquired,
    round(100.0 * count_if(no_further_action) / count(*), 1) AS no_further_action_percent
FROM referrals_rows(first_day, last_day)
GROUP BY system, month, referral_source
ORDER BY system, month, referral_source;
