/*
title = "Data quality by system, field and rule"
unit = "records"
definition = """
Records of legacy systems that broke a rule, by the system, the stream, the field and the rule. A quarantined record
could not be mapped and is left out; an incomplete one is published without the field. A record counts if it is still
at fault and went wrong first in the range. Both kinds go away by themselves once the source or the mapping is mended."""
source = "What the state of Ironbridge knows of the rows that were read. No statute."
lacks = "A record that has been mended since is not remembered."
chart = "records"
by = ["system", "stream", "field", "rule"]

[columns]
record = "problem.key"
system = "problem.system"
stream = "problem.stream"
field = "problem.field"
rule = "problem.rule"
since = "problem.since"
quarantined = "problem.incomplete"
incomplete = "problem.incomplete"
*/
CREATE OR REPLACE MACRO data_quality_rows(first_day, last_day) AS TABLE
SELECT
    key AS record,
    system,
    stream,
    field,
    rule,
    since,
    NOT incomplete AS quarantined,
    incomplete
FROM problem
WHERE since BETWEEN first_day AND last_day;

CREATE OR REPLACE MACRO data_quality(first_day, last_day) AS TABLE
SELECT
    system,
    stream,
    field,
    rule,
    count(*) AS records,
    count_if(quarantined) AS quarantined,
    count_if(incomplete) AS incomplete,
    min(since) AS oldest
FROM data_quality_rows(first_day, last_day)
GROUP BY system, stream, field, rule
ORDER BY records DESC, system, stream, field, rule;
