"""No serious accessibility fault in our own parts, on any page of any role, in both languages, as axe-core sees it.

axe-core comes from npm with `make accessibility`, which also runs this; without it these tests are skipped, loudly. What
it finds in Streamlit's own widgets is listed at the end of the run (`pytest -s`).
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from appsite import PASSWORD, build

from qa.access import Role

PROJECT = Path(__file__).resolve().parent.parent
AXE = Path(os.environ.get("AXE_CORE") or PROJECT / "var/npm/node_modules/axe-core/axe.min.js")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
START_SECONDS = 120
WAIT = 120_000  # ms: a busy machine
GRAVE = ("serious", "critical")
DRAWN = "[data-testid='stApp'][data-test-script-state='notRunning'] [data-testid='stSidebar'] [data-testid='stHtml']"
FURTHER = {Role.INSPECTOR: ("/call?id=number&view=all", "/call?id=refund&view=all", "/search?q=%E6%82%A8%E5%A5%BD")}
# Ours: what stands in our components (they have shadow roots), in our own mark-up, and on pages without Streamlit.
RUN = """
async () => {
    const found = await axe.run(document, { resultTypes: ['violations'] });
    const element = (target) => [].concat(target).reduce((root, selector) => (root.shadowRoot ?? root).querySelector(selector), document);
    const ours = (e) => !e || e.getRootNode() instanceof ShadowRoot || e.closest('[data-testid="stHtml"]') || !document.querySelector('[data-testid="stApp"]');
    return found.violations.flatMap((rule) => rule.nodes.map((node) => {
        const target = node.target.length === 1 ? node.target[0] : node.target;
        return { rule: rule.id, impact: node.impact, ours: Boolean(ours(element(target))), html: node.html.slice(0, 200),
                 why: node.failureSummary.split('\\n').slice(1, 3).join(' ').trim().slice(0, 200) };
    }));
}
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    missing = "no chromium: apt install chromium" if CHROMIUM is None else "" if AXE.exists() else "no axe-core: make accessibility"
    if missing:
        warnings.warn(f"ACCESSIBILITY WAS NOT TESTED: {missing}", stacklevel=1)
        pytest.skip(missing)
    site = build(tmp_path_factory.mktemp("accessible"))
    site.store.close()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = site.folder / "app.log"
    command = [sys.executable, "-m", "qa.cli", "app", "--port", str(port)]
    environment = {**os.environ, "HUITING_SETTINGS": str(site.settings_file)}
    with log.open("w") as file, subprocess.Popen(command, env=environment, stdout=file, stderr=file, cwd=PROJECT) as server:
        try:
            until = time.monotonic() + START_SECONDS
            while True:
                assert server.poll() is None and time.monotonic() < until, log.read_text("utf-8")  # noqa: PT018
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2)
                    break
                except OSError:
                    time.sleep(0.5)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(20)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_no_grave_fault_in_our_own_parts(base: str, language: str):
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    faults: dict[str, list[dict]] = defaultdict(list)
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for role in Role:
            page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
            page.set_default_timeout(WAIT)
            page.goto(f"{base}/sign-in?lang={language}")
            if role is Role.AGENT:
                faults["/sign-in"] += _faults(page)
            page.fill("#login", role.value)
            page.fill("#password", PASSWORD)
            page.click("button")
            page.locator(DRAWN).first.wait_for()
            _speak(page, language)
            links = page.locator("[data-testid='stSidebarNavLink']").evaluate_all("found => found.map(link => link.getAttribute('href'))")
            for address in [*links, *FURTHER.get(role, ())]:
                page.goto(base + address if address.startswith("/") else address)
                page.locator(DRAWN).first.wait_for()
                page.wait_for_timeout(500)  # our components draw after Streamlit's run
                faults[f"{role.value} {address.removeprefix(base)}"] += _faults(page)
        browser.close()
    assert len(faults) >= 20
    _tell(faults)
    grave = {where: [one for one in found if one["ours"] and one["impact"] in GRAVE] for where, found in faults.items()}
    assert {where: found for where, found in grave.items() if found} == {}


def _speak(page, language: str) -> None:
    """The language switch names the other language."""
    other = page.get_by_role("button", name="English" if language == "en" else "中文")
    if other.count():
        other.click()
        page.get_by_role("button", name="中文" if language == "en" else "English").wait_for()
        page.locator(DRAWN).first.wait_for()


def _faults(page) -> list[dict]:
    page.evaluate(AXE.read_text("utf-8"))
    return page.evaluate(RUN)


def _tell(faults: dict[str, list[dict]]) -> None:
    """Every fault once: whose, how grave, on how many pages."""
    places: dict[str, set[str]] = defaultdict(set)
    for where, found in faults.items():
        for one in found:
            key = json.dumps(["ours" if one["ours"] else "streamlit", one["impact"], one["rule"], one["html"], one["why"]], ensure_ascii=False)
            places[key].add(where)
    for key, where in sorted(places.items()):
        print(f"{len(where):3d} pages, e.g. {min(where)}: {key}")
