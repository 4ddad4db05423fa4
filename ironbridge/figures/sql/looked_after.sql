/*
title = "Looked-after children by placement and stability"
unit = "children"
definition = """
Children who are looked after at the end of the last day, by the type of their placement (the codes of SSDA903). A
child is looked after while an episode of care has started and not ended by then; a child whose legal status on that
day is V3 or V4 (a series of short breaks) is not counted. `three_placements` counts children with three or more
placements in the 12 months up to the last day: placements that had started and had not ended before these 12 months;
temporary ones (T0 to T4) do not count. `two_years` counts children whose placement began two years ago or earlier.
The first day of the range plays no part."""
source = """
The Department for Education's SSDA903 return (placement and legal status codes) and Ofsted's Annex A, list 8, `Number
of Placements in 12 months`; duties under section 22 of the Children Act 1989."""
lacks = """
The rate per 10,000 children needs the council's population. The national measure of long-term stability asks also for
the age under 16 and for two and a half years of care: it is not shown."""
chart = "children"
by = ["system", "placement_type"]

[columns]
episode = "looked-after-episode.key"
child = "looked-after-episode.person"
system = "looked-after-episode.key"
placement_type = "placement.placement_type"
start_date = "looked-after-episode.start_date"
placed_since = "placement.start_date"
days_in_placement = "placement.start_date"
placements = "placement.start_date"
three_placements = "placement.start_date"
two_years = "placement.start_date"
*/
CREATE OR REPLACE MACRO looked_after_rows(first_day, last_day) AS TABLE
WITH cared AS (
    SELECT key, person, placement, start_date
    FROM looked_after_episode
    WHERE start_date <= last_day AND (end_date IS NULL OR end_date > last_day)
    QUALIFY row_number() OVER (PARTITION BY person ORDER BY start_date DESC, key DESC) = 1
),
breaks AS (
    SELECT DISTINCT person
    FROM legal_status
    WHERE legal_status IN ('V3', 'V4') AND start_date <= last_day AND (end_date IS NULL OR end_date > last_day)
),
moves AS (
    SELECT person, count(*) AS placements
    FROM placement
    WHERE start_date <= last_day
      AND (end_date IS NULL OR end_date >= last_day - INTERVAL 12 MONTH)
      AND coalesce(placement_type NOT IN ('T0', 'T1', 'T2', 'T3', 'T4'), true)
      AND person IN (SELECT person FROM cared)
    GROUP BY person
)
SELECT
    c.key AS episode,
    c.person AS child,
    split_part(c.key, ':', 1) AS system,
    coalesce(p.placement_type, 'not known') AS placement_type,
    c.start_date,
    p.start_date AS placed_since,
    last_day - p.start_date AS days_in_placement,
    coalesce(m.placements, 0) AS placements,
    coalesce(m.placements >= 3, false) AS three_placements,
    coalesce(p.start_date <= last_day - INTERVAL 2 YEAR, false) AS two_years
FROM cared c
LEFT JOIN placement p ON p.key = c.placement
LEFT JOIN moves m ON m.person = c.person
WHERE c.person NOT IN (SELECT person FROM breaks);

CREATE OR REPLACE MACRO looked_after(first_day, last_day) AS TABLE
SELECT
    system,
    placement_type,
    count(*) AS children,
    count_if(three_placements) AS three_placements,
    count_if(two_years) AS two_years,
    median(days_in_placement) AS median_days_in_placement,
    round(100.0 * count_if(three_placements) / count(*), 1) AS three_placements_percent
FROM looked_after_rows(first_day, last_day)
GROUP BY system, placement_type
ORDER BY system, placement_type;
