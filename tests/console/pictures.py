"""
The pictures of docs/console.md, taken anew of a small council's console: `python -m tests.console.pictures URL [FOLDER]`.

`python -m tests.console.world FOLDER` says the URL, and goes on until its standard input ends. A record of that council is
given up here, and a flow is paused and goes on. Where Pillow is installed the files are made small.
"""

import importlib
import importlib.util
import re
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).parents[2] / "docs" / "images"
LONGEST = 1150  # pixels of a page that a picture shows


def take(page: Page, folder: Path, name: str, longest: int = LONGEST) -> None:
    page.evaluate("document.activeElement.blur()")
    width = page.viewport_size["width"] if page.viewport_size else 1280
    height = min(int(page.evaluate("document.documentElement.scrollHeight")), longest)
    file = folder / f"console-{name}.png"
    page.screenshot(path=file, full_page=True, clip={"x": 0, "y": 0, "width": width, "height": height})
    if importlib.util.find_spec("PIL"):
        image = importlib.import_module("PIL.Image")
        with image.open(file) as taken:
            few = taken.convert("RGB").quantize(256, image.Quantize.MAXCOVERAGE, dither=image.Dither.NONE)
        few.save(file, optimize=True)


def largest(page: Page) -> str:
    """The address of the group that has most records."""
    page.goto("/stuck")
    links = page.locator(".app-card h2 a").all()
    return str(max(links, key=lambda link: int(re.sub(r"\D.*", "", link.inner_text()))).get_attribute("href"))


def pictures(page: Page, folder: Path) -> None:
    page.goto("/stuck")
    page.get_by_role("link", name=re.compile("parked in dfe_csc")).first.click()
    page.get_by_text("Give up", exact=False).first.click()
    page.get_by_role("textbox").first.fill("moved to another council")
    page.get_by_role("button", name=re.compile("^Give it up")).click()
    group = largest(page)
    take(page, folder, "stuck")
    page.goto(group)
    page.locator("tbody tr").nth(1).get_by_text("Give up").click()
    take(page, folder, "group")
    page.goto("/agreement/business_central")
    page.get_by_role("button", name="Compare now").click()
    done = page.get_by_role("link", name="see the certificate")
    done.wait_for(timeout=90_000)
    take(page, folder, "agreement")
    done.click()
    page.get_by_text("What was compared").wait_for()
    take(page, folder, "certificate")
    page.goto("/part/business_central")
    page.get_by_role("textbox", name="Why it is paused").fill("month end: the ledger is closed until Monday")
    page.get_by_role("button", name="Pause business_central").click()
    page.goto("/late")
    page.wait_for_timeout(1000)
    take(page, folder, "late")
    page.goto("/part/business_central")
    page.get_by_role("button", name="Resume business_central").click()
    page.get_by_role("radio", name="All", exact=True).check()
    page.get_by_role("textbox", name="Why they are looked at again").fill("the discount codes were put right")
    page.get_by_role("button", name="Replay business_central").click()
    page.get_by_text(re.compile("to look at again")).wait_for()
    take(page, folder, "part", 1700)
    page.goto("/plan/dfe_csc")
    page.get_by_role("button", name=re.compile("^Make ")).click()
    page.get_by_text("Nothing was written.").wait_for(timeout=60_000)
    take(page, folder, "plan")
    page.goto("/records")
    page.get_by_label("Any number of it").fill("1010")
    page.get_by_role("button", name="Find").click()
    page.get_by_role("main").get_by_role("listitem").first.wait_for()
    take(page, folder, "find")
    page.goto("/audit")
    take(page, folder, "audit")
    page.goto("/")
    page.wait_for_timeout(2500)
    drawn = page.locator(".app-map").bounding_box()
    take(page, folder, "map", int(drawn["y"] + drawn["height"] + 10) if drawn else LONGEST)
    page.set_viewport_size({"width": 375, "height": 812})
    page.goto("/")
    take(page, folder, "map-phone")
    page.goto(group)
    page.locator("tbody tr").first.get_by_text("Give up").click()
    take(page, folder, "group-phone")


def main(url: str, folder: Path) -> None:
    with sync_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        pictures(browser.new_page(base_url=url, viewport={"width": 1280, "height": 900}), folder)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else IMAGES)
