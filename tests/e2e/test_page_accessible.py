"""Every tab of the page in every language, judged by axe-core, which is not part of the project.

``npm install`` in ``tests/page`` brings it; without it these tests are left out, and say so.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from page_kit import browser_api, write_run

playwright = browser_api()
AXE = Path(__file__).parents[1] / "page/node_modules/axe-core/axe.min.js"
if not AXE.is_file():
    pytest.skip("axe-core is not there: npm install in tests/page", allow_module_level=True)

LANGUAGES = ("en", "es", "zh", "ca")
GRAVE = {"serious", "critical"}
SETTLE_MS = 2500
WIDTH = 1600
"""Of a window that has room for the names of all tabs."""


@pytest.fixture(scope="module")
def folder(nano_base, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    (folder / "checkpoints").symlink_to(nano_base)
    write_run(folder / "training/catalan")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_no_tab_keeps_anybody_out(browser, address, language):
    page = browser.new_page(viewport={"width": WIDTH, "height": 900})
    names = tabs_of(page, f"{address}/{language}/")
    faults = [fault for name in names for fault in faults_of(page, name)]
    page.close()

    assert len(names) > 1
    assert "\n".join(faults) == ""


def tabs_of(page: playwright.Page, address: str) -> list[str]:
    page.goto(address)
    tabs = page.locator("[role=tablist]").first.locator("[role=tab]:visible")
    tabs.first.wait_for()
    return [tab.inner_text() for tab in tabs.all()]


def faults_of(page: playwright.Page, name: str) -> list[str]:
    """Open the tab of that name on a new page; return each grave finding on it as a line."""
    page.reload()
    page.get_by_role("tab", name=name, exact=True).first.click()
    page.wait_for_timeout(SETTLE_MS)
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{name}: {rule['id']} ({rule['impact']}): {json.dumps(node['html'])[:160]}"
        for rule in found["violations"]
        for node in rule["nodes"]
        if rule["impact"] in GRAVE
    ]
