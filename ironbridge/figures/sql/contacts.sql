/*
title = "Contacts, and referrals that follow"
unit = "contacts"
definition = """
Contacts about children, by the month and the source of the contact. A contact is followed by a referral if a referral
of the same child is dated on the day of the contact or in the 30 days after it."""
source = """
Ofsted's Annex A, list 1, asks for contacts by date and source. No return says how soon a referral has to follow: 30
days is our rule, the same length that the referrals figure gives an assessment."""
lacks = "A contact holds no link to the referral that it led to: the figure goes by the child and the dates."
chart = "contacts"
by = ["system", "month", "contact_source"]

[columns]
contact = "contact.key"
child = "contact.person"
system = "contact.key"
month = "contact.contact_date"
contact_source = "contact.source"
contact_date = "contact.contact_date"
referral_date = "care-episode.referral_date"
referred = "care-episode.referral_date"
*/
CREATE OR REPLACE MACRO contacts_rows(first_day, last_day) AS TABLE
SELECT
    c.key AS contact,
    c.person AS child,
    split_part(c.key, ':', 1) AS system,
    strftime(c.contact_date, '%Y-%m') AS month,
    coalesce(c.source, 'not known') AS contact_source,
    c.contact_date,
    min(r.referral_date) AS referral_date,
    count(r.referral_date) > 0 AS referred
FROM contact c
LEFT JOIN care_episode r ON r.person = c.person AND r.referral_date BETWEEN c.contact_date AND c.contact_date + 30
WHERE c.contact_date BETWEEN first_day AND last_day
GROUP BY c.key, c.person, c.source, c.contact_date;

CREATE OR REPLACE MACRO contacts(first_day, last_day) AS TABLE
SELECT
    system,
    month,
    contact_source,
    count(*) AS contacts,
    count_if(referred) AS referred,
    round(100.0 * count_if(referred) / count(*), 1) AS referred_percent
FROM contacts_rows(first_day, last_day)
GROUP BY system, month, contact_source
ORDER BY system, month, contact_source;
