/*
title = "Children on plans by need and duration"
unit = "plans"
definition = """
Child in need plans (CIN) and child protection plans (CP) that are open at the end of the last day, by how long they
have been open. A plan is open if it started on the last day or before and did not end by then. The need of a CP plan
is its latest category of abuse, or the initial one; that of a CIN plan is the primary need of its episode. `again`
counts CP plans of a child who had a CP plan that started earlier. The first day of the range plays no part."""
source = """
The Department for Education's children in need census (child protection plans, plan dates, categories of abuse) and
Ofsted's Annex A, lists 6 and 7; child protection plans of two years or more are a key indicator of the census."""
lacks = """
An earlier plan counts only if a system still holds it. The rate per 10,000 children needs the council's population."""
chart = "plans"
by = ["system", "kind", "need"]

[columns]
plan = "care-plan.key"
child = "care-plan.person"
system = "care-plan.key"
kind = "care-plan.kind"
need = "care-plan.latest_category"
start_date = "care-plan.start_date"
days = "care-plan.start_date"
under_3_months = "care-plan.start_date"
under_1_year = "care-plan.start_date"
under_2_years = "care-plan.start_date"
over_2_years = "care-plan.start_date"
again = "care-plan.start_date"
*/
CREATE OR REPLACE MACRO plans_rows(first_day, last_day) AS TABLE
WITH unended AS (
    SELECT key, person, kind, episode, start_date, latest_category, initial_category
    FROM care_plan
    WHERE start_date <= last_day AND (end_date IS NULL OR end_date > last_day)
),
earliest AS (
    SELECT person, min(start_date) AS start_date
    FROM care_plan
    WHERE kind = 'CP' AND person IN (SELECT person FROM unended WHERE kind = 'CP')
    GROUP BY person
)
SELECT
    p.key AS plan,
    p.person AS child,
    split_part(p.key, ':', 1) AS system,
    p.kind,
    coalesce(CASE WHEN p.kind = 'CP' THEN coalesce(p.latest_category, p.initial_category) ELSE r.primary_need END, 'not known')
        AS need,
    p.start_date,
    last_day - p.start_date AS days,
    p.start_date > last_day - INTERVAL 3 MONTH AS under_3_months,
    p.start_date <= last_day - INTERVAL 3 MONTH AND p.start_date > last_day - INTERVAL 1 YEAR AS under_1_year,
    p.start_date <= last_day - INTERVAL 1 YEAR AND p.start_date > last_day - INTERVAL 2 YEAR AS under_2_years,
    p.start_date <= last_day - INTERVAL 2 YEAR AS over_2_years,
    coalesce(p.kind = 'CP' AND e.start_date < p.start_date, false) AS again
FROM unended p
LEFT JOIN earliest e ON e.person = p.person
LEFT JOIN care_episode r ON r.key = p.episode;

CREATE OR REPLACE MACRO plans(first_day, last_day) AS TABLE
SELECT
    system,
    kind,
    need,
    count(*) AS plans,
    count_if(under_3_months) AS under_3_months,
    count_if(under_1_year) AS under_1_year,
    count_if(under_2_years) AS under_2_years,
    count_if(over_2_years) AS over_2_years,
    count_if(again) AS again,
    median(days) AS median_days
FROM plans_rows(first_day, last_day)
GROUP BY system, kind, need
ORDER BY system, kind, need;
