/*
title = "Possible duplicate payments"
unit = "pairs of invoices"
definition = """
Pairs of invoices that may ask twice for the same money, in one ledger or across ledgers, by the ledgers. Two invoices
are a pair if their numbers are the same without signs, leading zeros and case, their totals before tax and their
currencies are the same, their dates are at most 90 days apart, and their suppliers are the same record or have the
same VAT number, company number or name (without signs, case and the form of the company). The later date lies in the
range. `both_paid` counts pairs whose invoices have both been paid: the others can still be stopped. `credited` counts
pairs for which a credit note corrects that number."""
source = """
No statute: a check that finance teams and the National Fraud Initiative make. The rule is ours: same supplier, number
and amount, dates close together."""
lacks = "A pair is a possibility, to be looked at by a person. A missing date leaves an invoice out."
chart = "pairs"
by = ["ledgers", "currency"]

[columns]
first_invoice = "invoice.key"
second_invoice = "invoice.key"
first_supplier = "invoice.supplier"
second_supplier = "invoice.supplier"
ledgers = "invoice.key"
currency = "invoice.currency"
first_date = "invoice.document_date"
second_date = "invoice.document_date"
amount = "invoice.lines[].net"
both_paid = "invoice.payment_date"
credited = "credit-note.corrects"
*/
CREATE OR REPLACE MACRO duplicate_payments_rows(first_day, last_day) AS TABLE
WITH corrected AS (
    SELECT DISTINCT supplier, ltrim(regexp_replace(upper(corrects), '[^A-Z0-9]', '', 'g'), '0') AS number
    FROM credit_note
    WHERE corrects IS NOT NULL
),
dated AS (
    SELECT
        key, supplier, currency, document_date, payment_date,
        ltrim(regexp_replace(upper(number), '[^A-Z0-9]', '', 'g'), '0') AS number,
        list_sum([line.net for line in lines]) AS amount
    FROM invoice
    WHERE document_date BETWEEN first_day - 90 AND last_day
),
alike AS (
    SELECT d.*
    FROM dated d
    JOIN (
        SELECT number, amount, currency FROM dated
        WHERE number <> '' AND amount > 0
        GROUP BY number, amount, currency
        HAVING count(*) > 1
    ) often ON often.number = d.number AND often.amount = d.amount AND often.currency = d.currency
),
settled AS (
    SELECT DISTINCT s.document AS key
    FROM (SELECT unnest(settles) AS s FROM payment)
    WHERE s.document IN (SELECT key FROM alike)
),
known AS (
    SELECT
        a.*,
        s.vat_number,
        s.company_number,
        regexp_replace(
            regexp_replace(upper(s.name), '\b(LIMITED|LTD|PLC|LLP|CIC)\b', '', 'g'), '[^A-Z0-9]', '', 'g'
        ) AS name,
        a.payment_date IS NOT NULL OR p.key IS NOT NULL AS paid,
        c.number IS NOT NULL AS credited
    FROM alike a
    LEFT JOIN supplier s ON s.key = a.supplier
    LEFT JOIN settled p ON p.key = a.key
    LEFT JOIN corrected c ON c.supplier = a.supplier AND c.number = a.number
)
SELECT
    a.key AS first_invoice,
    b.key AS second_invoice,
    a.supplier AS first_supplier,
    b.supplier AS second_supplier,
    CASE
        WHEN split_part(a.key, ':', 1) = split_part(b.key, ':', 1) THEN split_part(a.key, ':', 1)
        ELSE least(split_part(a.key, ':', 1), split_part(b.key, ':', 1)) || ' and '
            || greatest(split_part(a.key, ':', 1), split_part(b.key, ':', 1))
    END AS ledgers,
    a.currency,
    a.document_date AS first_date,
    b.document_date AS second_date,
    a.amount,
    a.paid AND b.paid AS both_paid,
    a.credited OR b.credited AS credited
FROM known a
JOIN known b ON b.number = a.number AND b.amount = a.amount AND b.currency = a.currency
WHERE (a.document_date, a.key) < (b.document_date, b.key)
  AND b.document_date >= first_day
  AND b.document_date - a.document_date <= 90
  AND (
    a.supplier = b.supplier
    OR a.vat_number = b.vat_number
    OR a.company_number = b.company_number
    OR a.name = b.name AND a.name <> ''
  );

CREATE OR REPLACE MACRO duplicate_payments(first_day, last_day) AS TABLE
SELECT
    ledgers,
    currency,
    count(*) AS pairs,
    count_if(both_paid) AS both_paid,
    count_if(credited) AS credited,
    sum(amount) AS amount
FROM duplicate_payments_rows(first_day, last_day)
GROUP BY ledgers, currency
ORDER BY ledgers, currency;
