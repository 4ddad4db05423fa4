/*
title = "Children in need by need and duration"
unit = "children"
definition = """
Children with an open episode of need at the end of the last day, by their primary need and by how long the episode
has been open. An episode is open if its referral is dated on the last day or before and it was not closed by then; a
referral that ended in no further action opens none. A child with several open episodes counts once, with the one that
opened first. The first day of the range plays no part."""
source = """
The Department for Education's children in need census (primary need codes N0 to N9) and Ofsted's Annex A, list 6.
Section 17 of the Children Act 1989 says who is in need."""
lacks = "Whether an assessment found the child to be in need is not held: a child counts from the referral on."
chart = "children"
by = ["system", "need"]

[columns]
episode = "care-episode.key"
child = "care-episode.person"
system = "care-episode.key"
need = "care-episode.primary_need"
referral_date = "care-episode.referral_date"
days = "care-episode.referral_date"
under_3_months = "care-episode.referral_date"
under_6_months = "care-episode.referral_date"
under_1_year = "care-episode.referral_date"
under_2_years = "care-episode.referral_date"
over_2_years = "care-episode.referral_date"
*/
CREATE OR REPLACE MACRO children_in_need_rows(first_day, last_day) AS TABLE
WITH unclosed AS (
    SELECT key, person, primary_need, referral_date
    FROM care_episode
    WHERE referral_date <= last_day
      AND (close_date IS NULL OR close_date > last_day)
      AND no_further_action IS NOT TRUE
    QUALIFY row_number() OVER (PARTITION BY person ORDER BY referral_date, key) = 1
)
SELECT
    key AS episode,
    person AS child,
    split_part(key, ':', 1) AS system,
    coalesce(primary_need, 'not known') AS need,
    referral_date,
    last_day - referral_date AS days,
    referral_date > last_day - INTERVAL 3 MONTH AS under_3_months,
    referral_date <= last_day - INTERVAL 3 MONTH AND referral_date > last_day - INTERVAL 6 MONTH AS under_6_months,
    referral_date <= last_day - INTERVAL 6 MONTH AND referral_date > last_day - INTERVAL 1 YEAR AS under_1_year,
    referral_date <= last_day - INTERVAL 1 YEAR AND referral_date > last_day - INTERVAL 2 YEAR AS under_2_years,
    referral_date <= last_day - INTERVAL 2 YEAR AS over_2_years
FROM unclosed;

CREATE OR REPLACE MACRO children_in_need(first_day, last_day) AS TABLE
SELECT
    system,
    need,
    count(*) AS children,
    count_if(under_3_months) AS under_3_months,
    count_if(under_6_months) AS under_6_months,
    count_if(under_1_year) AS under_1_year,
    count_if(under_2_years) AS under_2_years,
    count_if(over_2_years) AS over_2_years,
    median(days) AS median_days
FROM children_in_need_rows(first_day, last_day)
GROUP BY system, need
ORDER BY system, need;
