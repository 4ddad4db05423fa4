"""A certificate's own page, as it is kept."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page

from ironbridge.operate.reconcile.certificate import Certificate, Compared, Disagreement, Kind, Where

BROKEN = """() => [...document.querySelectorAll("th, td:not(.key)")].flatMap(cell => {
  const found = [], walk = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
  for (let node; node = walk.nextNode();)
    for (const word of node.data.matchAll(/[A-Za-z_]+/g)) {
      const range = document.createRange();
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map(r => r.top)).size > 1) found.push(word[0]);
    }
  return found;
})"""


@pytest.mark.parametrize("width", [1000, 375])
def test_a_certificate_breaks_no_word_but_a_long_key(page: Page, width: int) -> None:
    moment = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
    key = "payables:invoice:BACS00014:n-91674e86dc3f064c:2025-05-12"
    why = "the target holds another amount than was confirmed. To do: `ironbridge replay business_central --rewrite`"
    whole = Certificate(
        "business_central", moment, moment, "0.1.0", "otto",
        [Compared(Where.CLOUD, "business_central", "every document is read back and compared", 1200, 1100, 1, 2, ["a note"])],
        [Disagreement(Where.CLOUD, Kind.DIFFERENT, key, "purchaseInvoice", ("vendorInvoiceNumber", "invoiceDate"), why)] * 3,
    )  # fmt: skip
    page.set_viewport_size({"width": width, "height": 900})
    page.set_content(whole.as_html())
    assert page.evaluate(BROKEN) == []
    assert page.locator("td.key").first.bounding_box()["width"] > 150  # type: ignore[index]
