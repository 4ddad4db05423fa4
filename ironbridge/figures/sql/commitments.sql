/*
title = "Commitments"
unit = "orders"
definition = """
Purchase orders of the range (by the date of the order) of which something is still to be invoiced, by the status that
the ledger gives them. The commitment of a line is its amount before tax less what was invoiced for it; a line that
was invoiced for more leaves none, and one that does not say what was invoiced leaves its whole amount."""
source = """
No statute: commitments are what budget holders are told of. Order lines less invoiced, as finance systems show it
(Unit4: amount less arrived amount)."""
lacks = """
No status of an order is canonical: whether an order is closed or cancelled has to be read from the ledger's own
status. `not_told` counts orders with a line that does not say what was invoiced."""
chart = "committed"
by = ["ledger", "status", "currency"]

[columns]
purchase_order = "purchase-order.key"
supplier = "purchase-order.supplier"
ledger = "purchase-order.key"
status = "purchase-order.status"
currency = "purchase-order.currency"
order_date = "purchase-order.order_date"
ordered = "purchase-order.lines[].net"
invoiced = "purchase-order.lines[].invoiced"
committed = "purchase-order.lines[].net"
not_told = "purchase-order.lines[].invoiced"
*/
CREATE OR REPLACE MACRO commitments_rows(first_day, last_day) AS TABLE
WITH added AS (
    SELECT
        key, supplier, status, currency, order_date,
        list_sum([line.net for line in lines]) AS ordered,
        coalesce(list_sum([line.invoiced for line in lines]), 0) AS invoiced,
        list_sum([greatest(line.net - coalesce(line.invoiced, 0), 0) for line in lines]) AS committed,
        list_bool_or([line.invoiced IS NULL for line in lines]) AS not_told
    FROM purchase_order
    WHERE order_date BETWEEN first_day AND last_day
)
SELECT
    key AS purchase_order,
    supplier,
    split_part(key, ':', 1) AS ledger,
    coalesce(status, 'not known') AS status,
    currency,
    order_date,
    ordered,
    invoiced,
    committed,
    not_told
FROM added
WHERE committed > 0;

CREATE OR REPLACE MACRO commitments(first_day, last_day) AS TABLE
SELECT
    ledger,
    status,
    currency,
    count(*) AS orders,
    sum(ordered) AS ordered,
    sum(invoiced) AS invoiced,
    sum(committed) AS committed,
    count_if(not_told) AS not_told
FROM commitments_rows(first_day, last_day)
GROUP BY ledger, status, currency
ORDER BY ledger, status, currency;
