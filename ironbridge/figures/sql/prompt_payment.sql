/*
title = "Invoices paid in 30 days"
unit = "invoices"
definition = """
Invoices that were paid in the range, by the month in which they were paid. One is in time if it was paid on the 30th
day after its date or earlier. An invoice is paid on its payment date, else on the day of the latest payment that
settles it, if nothing is outstanding; one that is not paid, or only in part, is not counted."""
source = """
Section 68 of the Procurement Act 2023 (30 days) and its payments compliance notice every six months; before it,
regulation 113 of the Public Contracts Regulations 2015 (the yearly percentage of valid and undisputed invoices paid
in 30 days)."""
lacks = """
The law counts from the day on which a valid invoice was received. That day is not held: the invoice's own date stands
for it, so that the true figure is as good or better. Whether an invoice is disputed, and interest that is paid or
owed, are not held."""
chart = "in_time_percent"
by = ["ledger", "month"]

[columns]
invoice = "invoice.key"
supplier = "invoice.supplier"
ledger = "invoice.key"
month = "invoice.payment_date"
document_date = "invoice.document_date"
due_date = "invoice.due_date"
paid_on = "invoice.payment_date"
days = "invoice.payment_date"
in_time = "invoice.payment_date"
late = "invoice.payment_date"
undated = "invoice.document_date"
*/
CREATE OR REPLACE MACRO prompt_payment_rows(first_day, last_day) AS TABLE
WITH settled AS (
    SELECT s.document AS key, max(payment_date) AS payment_date
    FROM (SELECT payment_date, unnest(settles) AS s FROM payment)
    GROUP BY s.document
),
paid AS (
    SELECT i.key, i.supplier, i.document_date, i.due_date, coalesce(i.payment_date, s.payment_date) AS paid_on
    FROM invoice i
    LEFT JOIN settled s ON s.key = i.key
    WHERE coalesce(i.outstanding, 0) = 0
)
SELECT
    key AS invoice,
    supplier,
    split_part(key, ':', 1) AS ledger,
    strftime(paid_on, '%Y-%m') AS month,
    document_date,
    due_date,
    paid_on,
    paid_on - document_date AS days,
    coalesce(paid_on - document_date <= 30, false) AS in_time,
    coalesce(paid_on - document_date > 30, false) AS late,
    document_date IS NULL AS undated
FROM paid
WHERE paid_on BETWEEN first_day AND last_day;

CREATE OR REPLACE MACRO prompt_payment(first_day, last_day) AS TABLE
SELECT
    ledger,
    month,
    count(*) AS invoices,
    count_if(in_time) AS in_time,
    count_if(late) AS late,
    count_if(undated) AS undated,
    round(100.0 * count_if(in_time) / nullif(count_if(NOT undated), 0), 1) AS in_time_percent,
    round(avg(days), 1) AS average_days
FROM prompt_payment_rows(first_day, last_day)
GROUP BY ledger, month
ORDER BY ledger, month;
