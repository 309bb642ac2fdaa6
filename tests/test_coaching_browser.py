"""The board and coaching in a real browser, up to the pack that opens from a file with no server."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest
from appsite import AppSite
from sqlalchemy import select
from test_browser import WAIT as SHORT_WAIT
from test_browser import Running, _until, running, sign_in

from qa.access import Role
from qa.store.coaching import Clip, ClipPlay, CoachingAcknowledgement
from qa.store.schema import AuditEvent, Recording

__all__ = ["running"]
WAIT = 3 * SHORT_WAIT  # ms: charts are drawn while other tests work


def audited(site: AppSite, action: str) -> list[dict]:
    with site.store.read() as session:
        return [{"who": row.who, **row.detail} for row in session.scalars(select(AuditEvent).where(AuditEvent.action == action))]


def test_the_board_leads_to_its_calls_and_leaves_as_picture_and_table(running: Running):
    page = sign_in(running, Role.LEAD)
    page.set_default_timeout(WAIT)
    page.goto(f"{running.base}/board")
    page.get_by_role("heading", name="看板").wait_for()
    page.locator("svg.marks").nth(4).wait_for()
    assert page.locator(".sum .number").first.inner_text().split() == ["2", "质检通话"]  # of team north
    page.locator(".st-key-board-measure").get_by_text("平均分", exact=True).click()
    page.wait_for_url(re.compile("measure=score"))
    page.get_by_role("heading", name="趋势：平均分").wait_for()

    with page.expect_download() as saved:
        page.locator(".pictures button", has_text="SVG").first.click()
    assert "<svg" in Path(saved.value.path()).read_text("utf-8")
    with page.expect_download() as saved:
        page.locator(".pictures button", has_text="PNG").first.click()
    assert Path(saved.value.path()).read_bytes().startswith(b"\x89PNG")
    with page.expect_download() as saved:
        page.get_by_text("表格 XLSX").click()
    assert zipfile.is_zipfile(saved.value.path())
    assert [row["form"] for row in audited(running.site, "export board")] == ["svg", "png", "xlsx"]

    bar = page.locator(".st-key-chart-pareto svg.marks .mark-rect path").first
    bar.scroll_into_view_if_needed()
    bar.click()
    page.wait_for_url(re.compile(r"/queue\?.*rule="))
    assert "view=all" in page.url
    assert running.elsewhere == []
    assert running.errors == []


def test_a_trainers_first_pack_from_the_moment_to_the_acknowledgement(running: Running, tmp_path: Path):
    site = running.site
    with site.store.read() as session:
        assert session.scalars(select(Recording)).one()
    page = sign_in(running, Role.TRAINER, "/coaching?part=find")
    page.set_default_timeout(WAIT)
    page.locator("input[name=q]").fill("手机号")
    page.get_by_role("button", name="查找").click()
    page.locator("ol.lines mark", has_text="手机号").wait_for()
    page.get_by_role("link", name="做成片段").first.click()

    page.locator(".trim .said li.in").first.wait_for()
    start, end = (float(page.locator(f"input.{name}").input_value()) for name in ("start", "end"))
    page.locator(".said li input").nth(1).check()  # the customer's line, with the number
    _until(lambda: float(page.locator("input.end").input_value()) > end)
    end = float(page.locator("input.end").input_value())
    page.locator(".handle.to").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowLeft")
    assert float(page.locator("input.end").input_value()) == pytest.approx(end - 1.1, abs=0.011)
    handle = page.locator(".handle.from").bounding_box()
    page.mouse.move(handle["x"] + 6, handle["y"] + 50)
    page.mouse.down()
    page.mouse.move(handle["x"] + 46, handle["y"] + 50, steps=4)
    page.mouse.up()
    assert float(page.locator("input.start").input_value()) > start
    page.locator(".trim .play").click()
    begins = float(page.locator("input.start").input_value())
    _until(lambda: page.locator(".trim audio").evaluate("audio => audio.currentTime") > begins + 0.1)
    assert "hearing=masked" in page.locator(".trim audio").evaluate("audio => audio.src")
    page.locator("input[name=title]").fill("请客户报号码")
    page.locator("select[name=rule]").select_option("neg.cannot")
    assert page.locator("textarea[name=say]").input_value()
    page.locator("textarea[name=note]").fill("语气稳，一次说清")
    page.locator("input[name=tags]").fill("登记 号码")
    page.get_by_role("button", name="保存片段").click()
    page.get_by_text("片段“请客户报号码”已保存").wait_for()
    with site.store.read() as session:
        clip = session.scalars(select(Clip)).one()
    assert (clip.call_id, clip.kind, clip.rule, clip.who) == ("number", "good", "neg.cannot", "trainer")
    assert clip.end == pytest.approx(end - 1.1, abs=0.011)

    page.locator("article input[name=row]").check()
    page.get_by_label("辅导包名称").fill("第一课")
    page.get_by_role("button", name="加入").click()
    page.get_by_role("heading", name="布置给客服").wait_for()
    assert "***" in page.locator("article .said").inner_text()
    page.get_by_label("客服（可多选）").select_option("A1")
    page.get_by_label("目标").fill("一次说清")
    page.get_by_role("button", name="布置", exact=True).click()
    page.get_by_text("已布置给 1 人").wait_for()

    agent = sign_in(running, Role.AGENT, "/coaching")
    agent.set_default_timeout(WAIT)
    agent.get_by_role("link", name="第一课").click()
    agent.get_by_role("button", name="我已学完").wait_for()
    told = agent.locator("article")
    _until(lambda: told.count() == 1)  # the list's own card, drawn before, has gone
    assert "A2" not in told.inner_text()
    with agent.expect_response(lambda r: f"/api/clip/{clip.id}" in r.url) as heard:
        agent.locator("article button[data-play]").click()
    assert heard.value.status in (200, 206)
    agent.get_by_role("button", name="我已学完").click()
    agent.get_by_text("您已于").wait_for()
    with site.store.read() as session:
        assert session.scalars(select(ClipPlay.who)).all() == ["agent"]
        assert session.scalars(select(CoachingAcknowledgement.who)).all() == ["agent"]

    page.goto(f"{running.base}/coaching?part=given")
    page.locator("tbody tr", has_text="已确认").wait_for()
    assert "1 / 1" in page.locator("tbody tr").inner_text()
    page.get_by_role("link", name="第一课").click()
    with page.expect_download() as saved:
        page.get_by_text("导出 ZIP（不具名）").click()
    assert saved.value.suggested_filename == "第一课.zip"
    with zipfile.ZipFile(saved.value.path()) as archive:
        archive.extractall(tmp_path)
    assert running.elsewhere == []
    assert running.errors == []
    assert [row["named"] for row in audited(site, "export pack")] == [False]

    alone = page.context.browser.new_context(offline=True).new_page()
    asked: list[str] = []
    alone.on("request", lambda request: asked.append(request.url))
    alone.goto((tmp_path / "index.html").as_uri())
    assert alone.locator("article").count() == 1
    assert "请客户报号码" in alone.locator("h2").inner_text()
    alone.evaluate("document.querySelector('audio').play()")
    _until(lambda: alone.evaluate("document.querySelector('audio').currentTime") > 0.2)
    length = alone.evaluate("document.querySelector('audio').duration")
    assert length == pytest.approx(clip.end - clip.start, abs=0.05)
    assert [url for url in asked if not url.startswith("file:")] == []
    assert any(url.endswith("sound/01.mp3") for url in asked)
