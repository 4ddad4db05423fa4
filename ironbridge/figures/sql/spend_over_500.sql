/*
title = "Spend over £500"
unit = "documents"
definition = """
Invoices and credit notes of more than 500 (lines before tax, in the currency of the document) that were paid in the
range, by the month of the payment. A credit note counts below zero. The date is that of the document's payment, else
the latest payment that settles it. The rows behind the numbers are the file to publish: date, department,
beneficiary, purpose and amount. A beneficiary is named only if it is known to be an organisation: the ledger has its
company, charity or VAT number, it is not an employee or a sundry payee, the ledger does not withhold it, and the
document is paid to nobody else. All others stand there as `REDACTED`."""
source = """
Local Government Transparency Code 2015: every item of expenditure over £500, at least quarterly, with date,
department, beneficiary, purpose, amount, VAT that cannot be recovered and merchant category; names of individuals are
withheld."""
lacks = """
Canonical documents do not say which VAT cannot be recovered, and have no merchant category; purchase cards, grants
and payroll are there only if they are booked as invoices. The department is shown as the ledger's own analysis of the
lines, the purpose as the ledger's accounts: descriptions of lines may name a person and are left out."""
chart = "amount"
by = ["ledger", "month", "currency"]

[columns]
date = "invoice.payment_date"
department = "invoice.lines[].dimensions[].value"
beneficiary = "supplier.name"
purpose = "invoice.lines[].account"
amount = "invoice.lines[].net"
currency = "invoice.currency"
redacted = "supplier.redacted"
document = "invoice.key"
ledger = "invoice.key"
month = "invoice.payment_date"
*/
CREATE OR REPLACE MACRO spend_over_500_rows(first_day, last_day) AS TABLE
WITH settled AS (
    SELECT * FROM (
        SELECT s.document AS key, max(payment_date) AS payment_date
        FROM (SELECT payment_date, unnest(settles) AS s FROM payment)
        GROUP BY s.document
    )
    WHERE payment_date BETWEEN first_day AND last_day
),
documents AS (
    SELECT key, supplier, payee, currency, payment_date, lines, 1 AS sign FROM invoice
    UNION ALL
    SELECT key, supplier, payee, currency, payment_date, lines, -1 FROM credit_note
),
added AS (
    SELECT
        key, supplier, payee, currency, payment_date,
        sign * list_sum([line.net for line in lines]) AS amount,
        array_to_string(list_sort(list_distinct(flatten(
            [[d.dimension || ' ' || d.value for d in line.dimensions] for line in lines if line.dimensions IS NOT NULL]
        ))), '; ') AS department,
        array_to_string(list_sort(list_distinct([line.account for line in lines if line.account IS NOT NULL])), '; ')
            AS purpose
    FROM documents
    WHERE payment_date IS NULL OR payment_date BETWEEN first_day AND last_day
),
paid AS (
    SELECT a.* EXCLUDE (payment_date), coalesce(a.payment_date, p.payment_date) AS paid_on
    FROM added a
    LEFT JOIN settled p ON p.key = a.key
    WHERE abs(a.amount) > 500 AND (a.payment_date IS NOT NULL OR p.payment_date IS NOT NULL)
),
judged AS (
    SELECT
        p.*,
        s.name,
        s.key IS NULL
            OR s.redacted
            OR s.kind IS NOT NULL
            OR p.payee IS NOT NULL
            OR coalesce(s.company_number, s.charity_number, s.vat_number) IS NULL AS redacted
    FROM paid p
    LEFT JOIN supplier s ON s.key = p.supplier
)
SELECT
    paid_on AS date,
    department,
    CASE WHEN redacted THEN 'REDACTED' ELSE name END AS beneficiary,
    purpose,
    amount,
    currency,
    redacted,
    key AS document,
    split_part(key, ':', 1) AS ledger,
    strftime(paid_on, '%Y-%m') AS month
FROM judged;

CREATE OR REPLACE MACRO spend_over_500(first_day, last_day) AS TABLE
SELECT ledger, month, currency, count(*) AS documents, count_if(redacted) AS redacted, sum(amount) AS amount
FROM spend_over_500_rows(first_day, last_day)
GROUP BY ledger, month, currency
ORDER BY ledger, month, currency;
