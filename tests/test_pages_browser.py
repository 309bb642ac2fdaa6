"""Pages in a real browser: what agents read, what people's verdicts change, and what is not in the reader's language."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from appsite import PASSWORD, AppSite
from sqlalchemy import update
from test_browser import WAIT as SHORT_WAIT
from test_browser import Running, _until, rows, running

from qa.access import Identity, Role
from qa.call_view import open_call
from qa.judging import Judgement, judge
from qa.messages import catalogue
from qa.store.coaching import Clip, ClipPack, ClipPackEntry, CoachingAssignment
from qa.store.schema import Call, now
from qa.verdicts import Verdict

__all__ = ["running"]
WAIT = 3 * SHORT_WAIT  # ms: charts are drawn and models asked while other tests work
LEAD = Identity("lead", "lead", Role.LEAD, teams=("north",))


def enter(running: Running, role: Role, address: str):
    """The role's page at an address, signed in with patience."""
    page = running.visitors.get(role)
    if page is None:
        page = running.visitors[role] = running.open_page()
        page.set_default_timeout(WAIT)
        page.goto(f"{running.base}/sign-in")
        page.fill("#login", role.value)
        page.fill("#password", PASSWORD)
        with page.expect_response(lambda answer: "/sign-in" in answer.url and answer.request.method == "POST"):
            page.click("button")
    page.goto(running.base + address)
    page.locator("h1, .player").first.wait_for()
    return page


def cancel(site: AppSite) -> float:
    """A lead takes a fault of `refund` away. Returns the score that counts then."""
    view = open_call(site.store, LEAD, "refund", site.desk.pack)
    assert view.scorecard_id is not None
    judge(site.store, LEAD, Judgement("refund", view.scorecard_id, "neg.cannot", Verdict.WRONG, finding=0))
    score = open_call(site.store, LEAD, "refund", site.desk.pack).levels[-1].card.score
    assert score is not None
    return score


@pytest.fixture(scope="module")
def reviewed_score(running: Running) -> float:
    return cancel(running.site)


def assign_coaching(site: AppSite) -> None:
    """A pack of one clip for agent A1, due in a week."""
    with site.store.write() as session:
        clip = Clip(who="trainer", call_id="refund", start=1.0, end=4.0, kind="bad", title="推给银行")
        pack = ClipPack(who="trainer", name="先接住再解决")
        session.add_all([clip, pack])
        session.flush()
        session.add(ClipPackEntry(pack_id=pack.id, place=0, clip_id=clip.id))
        due = now().astimezone(site.desk.site.zone).date() + timedelta(days=7)
        session.add(CoachingAssignment(who="trainer", pack_id=pack.id, agent="A1", goal="不推诿", due=due))


def test_an_agent_sees_what_counts_beside_the_machines_and_the_coaching_that_waits(running: Running, reviewed_score: float):
    assign_coaching(running.site)
    page = enter(running, Role.AGENT, "/mine")
    card = page.locator("article").first
    card.wait_for()
    assert f"{reviewed_score:g}" in card.locator(".score").inner_text()
    assert card.locator("header .chip", has_text="按组长复核").count() == 1
    levels = card.locator(".levels").inner_text()
    assert re.search(r"机器 \d+(\.\d+)? (不)?合格.* · 组长 .*合格", levels)
    cancelled = card.locator("li", has_text="复核取消")
    assert cancelled.locator("s").count() == 1
    assert "没办法" in cancelled.inner_text()
    notice = page.get_by_role("note", name="待完成的辅导")
    assert "1 个片段" in notice.inner_text()
    assert re.search(r"20\d\d-\d\d-\d\d 之前完成", notice.inner_text())
    notice.get_by_role("link", name="先接住再解决").click()
    page.wait_for_url("**/coaching?*given=*")
    page.get_by_text("目标：不推诿").wait_for()


def test_the_board_by_the_machine_and_as_reviewed(running: Running, reviewed_score: float):
    page = enter(running, Role.INSPECTOR, "/board?measure=score")
    page.locator("svg.marks").nth(4).wait_for()
    page.get_by_text("按机器当前结果统计").wait_for()
    machine = page.locator(".sum .number").nth(1).inner_text()
    page.locator(".st-key-board-result").get_by_text("复核后", exact=True).click()
    page.wait_for_url(re.compile("result=reviewed"))
    page.get_by_text(re.compile(r"4 通中有 1 通按人工复核后的结果统计")).wait_for()
    _until(lambda: page.locator(".sum .number").nth(1).inner_text() != machine)
    page.reload()  # it stands in the address
    page.get_by_text(re.compile(r"4 通中有 1 通按人工复核后")).wait_for()
    page.locator(".sum a.number", has_text="质检通话").click()
    page.wait_for_url(re.compile(r"/queue\?.*result=reviewed"))
    page.locator("tr[data-row]").first.wait_for()
    assert page.get_by_label("按哪个结果").input_value() == "reviewed"
    page.goto(f"{running.base}/queue?view=all&agent=A1")
    _until(lambda: rows(page) == ["refund"])
    assert f"组长 {reviewed_score:g}" in page.locator("tr[data-row]").inner_text()


def test_the_queue_by_fatal_class(running: Running):
    with running.site.store.write() as session:
        for call_id, bits in (("thanks", 1), ("stray", 4)):
            session.execute(update(Call).where(Call.id == call_id).values(fatal=True, fatal_classes=bits))
    page = enter(running, Role.INSPECTOR, "/queue?view=all")
    page.locator("tr[data-row]").nth(3).wait_for()
    page.get_by_label("致命类别").select_option("customer-critical")
    page.get_by_role("button", name="应用").click()
    page.wait_for_url("**/queue?*fatal_class=customer-critical*")
    _until(lambda: rows(page) == ["thanks"])
    page.goto(f"{running.base}/queue?view=all&fatal_class=compliance-critical")
    _until(lambda: rows(page) == ["stray"])
    assert page.get_by_label("致命类别").input_value() == "compliance-critical"


# --- strings of Streamlit's own ----------------------------------------------------------------------------------

PAGES = {  # every page with an address that shows most of it, and a role that opens it
    "today": (Role.LEAD, "/today"), "queue": (Role.LEAD, "/queue?view=all"), "search": (Role.LEAD, "/search?q=您好"),
    "call": (Role.LEAD, "/call?id=refund&view=all"), "board": (Role.LEAD, "/board?result=reviewed"),
    "rules": (Role.LEAD, "/rules"), "coaching": (Role.LEAD, "/coaching"), "mine": (Role.AGENT, "/mine"),
    "files": (Role.ADMIN, "/files?night=1"), "settings": (Role.ADMIN, "/settings"),
    "accounts": (Role.ADMIN, "/accounts"), "audit": (Role.ADMIN, "/audit"),
}  # fmt: skip
STRINGS = """() => {
  const found = new Set(), outside = (e) => !e.closest('.block, .player, script, noscript, style, svg, code, pre, h1');
  for (const e of document.querySelectorAll('body *')) {
    if (!outside(e) || !e.checkVisibility() || e.dataset.testid === 'stIconMaterial') continue;
    for (const name of ['aria-label', 'title', 'placeholder', 'alt']) if (e.getAttribute(name)) found.add(e.getAttribute(name));
    for (const n of e.childNodes) if (n.nodeType === 3 && n.textContent.trim()) found.add(n.textContent.trim());
  }
  return [...found];
}"""
DOCUMENT = Path(__file__).resolve().parents[1] / "docs/languages.md"


def test_what_streamlit_says_in_english_is_written_down(running: Running):
    """In the Chinese pages, English words outside our own mark-up are Streamlit's, and docs/languages.md lists them."""
    listed = set(re.findall(r"^\| `([^`]+)` \|", DOCUMENT.read_text("utf-8"), re.M))
    ours = {"English", "lead", "agent", "admin", *map(str, catalogue("zh").values())}
    seen: dict[str, set[str]] = {}
    for name, (role, address) in PAGES.items():
        page = enter(running, role, address)
        page.wait_for_timeout(2_000)  # what comes after the first drawing
        for told in page.evaluate(STRINGS):
            if re.search(r"[A-Za-z]{3,}", told) and told not in ours and not told.startswith("refund ·") and not re.search(r"[\u4e00-\u9fff]", told):
                seen.setdefault(told, set()).add(name)
    assert sorted(set(seen) - listed) == [], "\n".join(f"{told!r}: {sorted(pages)}" for told, pages in seen.items())
    assert running.elsewhere == []
