"""The app in a real browser: Debian's chromium through playwright. Skipped, loudly, where there is none."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from appsite import PASSWORD, AppSite, build, transcript
from sqlalchemy import func, select

from qa.store.accounts import Verdict

PROJECT = Path(__file__).resolve().parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
START_SECONDS = 90  # a busy machine
WAIT = 30_000  # ms


@dataclass
class Running:
    site: AppSite
    base: str
    page: object
    elsewhere: list[str] = field(default_factory=list)  # requests to other machines
    errors: list[str] = field(default_factory=list)  # of our scripts


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    if CHROMIUM is None:
        warnings.warn("THE APP WAS NOT TESTED IN A BROWSER: no chromium here (Debian: apt install chromium)", stacklevel=1)
        pytest.skip("no chromium: apt install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    site = build(tmp_path_factory.mktemp("browser"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "HUITING_SETTINGS": str(site.settings_file)}
    command = [sys.executable, "-m", "qa.cli", "app", "--port", str(port)]
    with (
        (site.folder / "app.log").open("w") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=PROJECT) as server,
    ):
        try:
            _wait(base, server, site.folder / "app.log")
            with playwright.sync_playwright() as driver:
                browser = driver.chromium.launch(
                    executable_path=CHROMIUM,
                    args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"],
                )
                page = browser.new_context(viewport={"width": 1500, "height": 950}).new_page()
                page.set_default_timeout(WAIT)
                found = Running(site, base, page)
                page.on(
                    "request",
                    lambda r: None if r.url.startswith((base, "data:", "blob:")) else found.elsewhere.append(r.url),
                )
                page.on("pageerror", lambda error: found.errors.append(str(error)))
                yield found
                browser.close()
        finally:
            server.terminate()
            server.wait(20)
    site.store.close()


def _wait(base: str, server: subprocess.Popen, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        assert server.poll() is None, log.read_text("utf-8")
        try:
            urllib.request.urlopen(f"{base}/_stcore/health", timeout=2)
            return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"the app did not start in {START_SECONDS} s:\n{log.read_text('utf-8')}")


def sound(page, what: str):
    return page.evaluate(f"""() => {{
        const find = (root) => root.querySelector('audio') ?? [...root.querySelectorAll('*')]
            .filter((e) => e.shadowRoot).map((e) => find(e.shadowRoot)).find(Boolean);
        return find(document).{what};
    }}""")


def test_an_inspectors_first_minutes(running: Running):
    page, site = running.page, running.site
    page.goto(f"{running.base}/queue?view=all&agent=A2")
    assert "/sign-in?next=" in page.url
    page.fill("#login", "inspector")
    page.fill("#password", PASSWORD)
    page.click("button")
    page.get_by_role("heading", name="复核").wait_for()
    assert page.url.endswith("/queue?view=all&agent=A2")
    rows = page.locator("tbody tr")
    rows.first.wait_for()
    assert rows.count() == 1
    rows.first.click()

    lines = page.locator(".transcript li")
    lines.first.wait_for()
    assert "id=number" in page.url
    assert "agent=A2" in page.url
    assert "***********" in lines.nth(1).inner_text()

    assert "huiting_session" not in page.evaluate("document.cookie")  # no script reads it
    start = transcript("number").turns[1].start
    lines.nth(1).click()
    _until(lambda: sound(page, "currentTime") > start and not sound(page, "paused"))
    assert sound(page, "currentTime") < start + 3
    page.locator(".transcript li.now").wait_for()

    page.keyboard.press(" ")
    _until(lambda: sound(page, "paused"))
    at = sound(page, "currentTime")
    page.keyboard.press("ArrowLeft")
    assert sound(page, "currentTime") < at
    page.keyboard.press("n")
    page.locator("mark.here, .hit.here").first.wait_for()
    page.keyboard.press("?")
    page.locator(".keys").wait_for()

    lines.nth(0).click()
    _until(lambda: not sound(page, "paused"))
    page.locator(".item.fail .verdicts button").first.click()
    page.locator(".state", has_text="已保存").wait_for()
    assert not sound(page, "paused")
    with site.store.read() as session:
        row = session.scalars(select(Verdict)).one()
    assert (row.who, row.call_id, row.verdict, row.outcome) == ("inspector", "number", "right", "fail")
    page.locator(".item.fail .verdicts button[aria-pressed=true]").first.click()
    page.locator(".item.fail .verdicts button[aria-pressed=true]").wait_for(state="detached")
    with site.store.read() as session:
        assert session.scalar(select(func.count()).select_from(Verdict)) == 2


def test_the_other_language_and_nothing_from_elsewhere(running: Running):
    page = running.page
    for path in ("/today", "/queue", "/search?q=您好", "/call?id=refund", "/files"):
        page.goto(running.base + path)
        page.locator("h1, .transcript li").first.wait_for()
    page.get_by_role("button", name="English").click()
    page.get_by_role("heading", name="Night files").wait_for()
    page.goto(f"{running.base}/call?id=refund")
    page.get_by_role("button", name="Finish, next").wait_for()
    assert running.elsewhere == []
    assert running.errors == []


def test_after_signing_out_the_address_of_the_sound_is_closed(running: Running):
    page = running.page
    address = f"{running.base}/api/sound/number"
    assert page.request.get(address).status == 200
    page.goto(f"{running.base}/sign-out")
    assert page.request.get(address).status == 403
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(address)


def _until(holds, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.2)
