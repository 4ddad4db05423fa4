/*
title = "Re-referrals in 12 months"
unit = "referrals"
definition = """
Referrals by month, and how many of them are of a child who was referred before, at most 12 calendar months earlier. A
referral on the day that is exactly 12 months earlier counts; another referral of the same day does not."""
source = """
Ofsted's Annex A, list 3, `Number of Referrals in Last 12 Months`; the Department for Education's children in need
census counts referrals within 12 months of a previous referral."""
lacks = "An earlier referral counts only if a system still holds it."
chart = "again"
by = ["system", "month"]

[columns]
referral = "care-episode.key"
child = "care-episode.person"
system = "care-episode.key"
month = "care-episode.referral_date"
referral_date = "care-episode.referral_date"
referred_before = "care-episode.referral_date"
again = "care-episode.referral_date"
*/
CREATE OR REPLACE MACRO re_referrals_rows(first_day, last_day) AS TABLE
SELECT
    r.key AS referral,
    r.person AS child,
    split_part(r.key, ':', 1) AS system,
    strftime(r.referral_date, '%Y-%m') AS month,
    r.referral_date,
    max(p.referral_date) AS referred_before,
    count(p.referral_date) > 0 AS again
FROM care_episode r
LEFT JOIN care_episode p
    ON p.person = r.person
    AND p.referral_date < r.referral_date
    AND p.referral_date >= r.referral_date - INTERVAL 12 MONTH
WHERE r.referral_date BETWEEN first_day AND last_day
GROUP BY r.key, r.person, r.referral_date;

CREATE OR REPLACE MACRO re_referrals(first_day, last_day) AS TABLE
SELECT
    system,
    month,
    count(*) AS referrals,
    count_if(again) AS again,
    round(100.0 * count_if(again) / count(*), 1) AS again_percent
FROM re_referrals_rows(first_day, last_day)
GROUP BY system, month
ORDER BY system, month;
