"""The app in a real browser: Debian's chromium through playwright. Skipped, loudly, where there is none."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from appsite import PASSWORD, AppSite, build
from sqlalchemy import func, select, update

from qa import accounts
from qa.access import Role
from qa.store.schema import AuditEvent, Call, LedgerRow, NightFile
from qa.store.work import Acknowledgement

PROJECT = Path(__file__).resolve().parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
START_SECONDS = 90  # a busy machine
WAIT = 30_000  # ms


@dataclass
class Running:
    site: AppSite
    base: str
    open_page: Callable[[], Any]  # of a browser of its own: nobody is signed in
    visitors: dict[Role, Any] = field(default_factory=dict)
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
                def open_page():
                    page = browser.new_context(viewport={"width": 1500, "height": 950}).new_page()
                    page.set_default_timeout(WAIT)
                    page.on(
                        "request",
                        lambda r: None
                        if r.url.startswith((base, "data:", "blob:"))
                        else found.elsewhere.append(r.url),
                    )
                    page.on("pageerror", lambda error: found.errors.append(str(error)))
                    return page

                found = Running(site, base, open_page)
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


def sign_in(running: Running, role: Role, address: str = "/") -> object:
    """A page of a browser of its own, signed in as the role."""
    page = running.visitors.get(role)
    if page is None:
        page = running.visitors[role] = running.open_page()
        page.goto(f"{running.base}/sign-in")
        page.fill("#login", role.value)
        page.fill("#password", PASSWORD)
        page.click("button")
    page.goto(running.base + address)
    page.locator(".block > *").first.wait_for()
    return page


def rows(page) -> list[str]:
    return page.locator("tr[data-row] td a").all_inner_texts()


def test_the_address_asked_for_comes_after_signing_in(running: Running):
    page = running.open_page()
    page.goto(f"{running.base}/queue?view=all&agent=A2")
    assert "/sign-in?next=" in page.url
    page.fill("#login", "inspector")
    page.fill("#password", PASSWORD)
    page.click("button")
    page.get_by_role("heading", name="复核").wait_for()
    page.locator("tr[data-row]").first.wait_for()
    assert page.url.endswith("/queue?view=all&agent=A2")
    assert rows(page) == ["number"]
    assert "huiting_session" not in page.evaluate("document.cookie")  # no script reads it


def test_today_adds_up_and_each_number_opens_its_list(running: Running):
    page = sign_in(running, Role.INSPECTOR, "/today")
    account = page.get_by_role("group", name="昨夜收到的文件")
    numbers = [int(n) for n in account.locator("strong").all_inner_texts()]
    assert numbers[0] == sum(numbers[1:]) == 7
    assert page.locator("tr[data-row]").first.locator(".chip").count() > 0  # why it is here
    page.get_by_role("group", name="需要留意").get_by_text("结束时客户情绪差").click()
    page.get_by_role("heading", name="复核").wait_for()
    page.wait_for_url("**/queue?*angry=1*")
    _until(lambda: rows(page) == ["refund"])


def test_the_queue_is_filtered_by_its_form_and_walked_by_keys(running: Running):
    page = sign_in(running, Role.INSPECTOR, "/queue?view=all&sort=newest")
    page.locator("tr[data-row]").nth(3).wait_for()
    page.keyboard.press("/")
    page.keyboard.type("退款")
    page.keyboard.press("Enter")
    _until(lambda: rows(page) == ["refund"])
    assert "words=" in page.url
    page.reload()  # the filter lives in the address
    _until(lambda: rows(page) == ["refund"])
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/call?*id=refund*")
    assert "words=" in page.url


def test_calls_are_taken_given_and_told(running: Running):
    inspector = sign_in(running, Role.INSPECTOR, "/queue")
    inspector.get_by_role("button", name="取下一通").click()
    inspector.wait_for_url("**/call?*id=*")
    lead = sign_in(running, Role.LEAD, "/queue")
    lead.get_by_text("inspector 处理中").first.wait_for()
    lead.goto(f"{running.base}/queue?view=all")
    lead.locator("tr[data-row]").nth(1).wait_for()
    lead.locator("summary", has_text="分派").click()
    lead.get_by_label("inspector（质检员").check()
    lead.get_by_label("选中本页全部").check()
    lead.get_by_role("button", name="分派所选").click()
    lead.get_by_text("分派 2 通").wait_for()
    inspector.goto(f"{running.base}/queue?view=mine")
    _until(lambda: set(rows(inspector)) == {"refund", "number"})
    with running.site.store.read() as session:
        assert set(session.scalars(select(Call.assigned_to).where(Call.team == "north"))) == {"inspector"}


def test_search_plays_the_line_where_it_stands_and_it_is_audited(running: Running):
    page = sign_in(running, Role.LEAD, "/search")
    page.get_by_label("通话里说过").fill("手机号")
    with page.expect_response(lambda r: "/api/sound/number" in r.url) as sound:
        page.get_by_role("button", name="检索").click()
        page.locator("ol.lines mark", has_text="手机号").wait_for()
        page.locator("button[data-play]").first.click()
    assert sound.value.status in (200, 206)
    page.locator("button[data-play].on").wait_for()
    with running.site.store.read() as session:
        played = select(func.count(AuditEvent.id)).where(
            AuditEvent.action == "play masked", AuditEvent.who == "lead", AuditEvent.call_id == "number"
        )
        assert session.scalar(played) == 1
    page.get_by_label("规则命中").select_option("neg.cannot")
    page.get_by_label("通话里说过").fill("")
    page.get_by_role("button", name="检索").click()
    page.locator("ol.lines mark", has_text="没办法").wait_for()
    assert page.locator("ol.lines > li").count() == 1


def test_an_agent_reads_their_own_cards(running: Running):
    page = sign_in(running, Role.AGENT)
    page.get_by_role("heading", name="我的").wait_for()
    card = page.locator("article")
    card.first.wait_for()
    assert card.count() == 1
    assert "没办法" in card.inner_text()
    assert "可以这样说" in card.inner_text()
    assert page.locator(".weeks > div").count() == 12
    card.get_by_role("button", name="我已阅").click()
    page.get_by_text("已记为已阅").wait_for()
    with running.site.store.read() as session:
        assert session.scalars(select(Acknowledgement.who)).all() == ["agent"]


def test_refused_files_are_put_back(running: Running):
    with running.site.store.write() as session:
        session.merge(Call(id="b1", agent="A9", team="north"))
        session.flush()
        session.merge(LedgerRow(call_id="b1", stage="hear", state="quarantined", reason="no_speech"))
        session.execute(update(NightFile).where(NightFile.reason == "no_speech").values(call_id="b1"))
    page = sign_in(running, Role.OPERATOR, "/files?night=1&outcome=quarantined")
    page.locator("td button", has_text="重试").click()
    page.get_by_text("1 通放回队列").wait_for()
    with running.site.store.read() as session:
        assert session.get_one(LedgerRow, ("b1", "hear")).state == "pending"


def test_an_admin_makes_changes_and_closes_an_account_and_all_is_in_the_trail(running: Running):
    page = sign_in(running, Role.ADMIN, "/accounts")
    page.locator("summary", has_text="新建账号").click()
    page.get_by_role("textbox", name="账号").fill("Li.Na")
    page.get_by_label("角色").select_option("lead")
    page.get_by_role("button", name="创建", exact=True).click()
    page.get_by_role("alert").get_by_text("所管的组").wait_for()  # a lead needs teams
    assert page.get_by_role("textbox", name="账号").input_value() == "Li.Na"  # what was typed is still there
    page.get_by_label("角色").select_option("inspector")
    page.get_by_role("button", name="创建", exact=True).click()
    told = page.get_by_role("status").filter(has_text="一次性密码")
    told.wait_for()
    password = re.search(r"[a-z2-9]{4}(?:-[a-z2-9]{4}){3}", told.inner_text())
    assert password is not None
    assert accounts.sign_in(running.site.store, "li.na", password[0])[0].must_change
    page.goto(f"{running.base}/accounts?edit=li.na")
    page.get_by_role("button", name="停用").click()
    page.get_by_role("button", name="确认停用").click()
    page.get_by_text("li.na 已停用").wait_for()
    page.goto(f"{running.base}/audit?who=admin")
    page.get_by_role("cell", name="停用账号").first.wait_for()
    page.get_by_label("做了什么").select_option("account added")
    page.get_by_role("button", name="应用").click()
    page.wait_for_url("**/audit?*action=account*")
    _until(lambda: page.locator("tbody tr").count() == 1)


def test_every_page_in_the_other_language_and_nothing_from_elsewhere(running: Running):
    page = sign_in(running, Role.ADMIN, "/today")
    page.get_by_role("button", name="English").click()
    page.get_by_role("heading", name="Today").wait_for()
    for path, heading in (
        ("/queue", "Queue"), ("/search?q=您好", "Search"), ("/files", "Night files"), ("/settings", "Settings in force"),
        ("/accounts", "Accounts"), ("/audit", "Audit trail"),
    ):  # fmt: skip
        page.goto(running.base + path)
        page.get_by_role("heading", name=heading, exact=True).wait_for()
        page.locator(".block > *").first.wait_for()
    assert running.elsewhere == []
    assert running.errors == []


def test_after_signing_out_the_address_of_the_sound_is_closed(running: Running):
    page = sign_in(running, Role.TRAINER, "/today")
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
