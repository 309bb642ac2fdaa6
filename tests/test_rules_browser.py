"""The Rules page in a real browser: read, try, weigh, change, replay and publish."""

from __future__ import annotations

import re

import pytest
from test_browser import Running, running
from test_pages_browser import cancel, enter

from qa.access import Role

__all__ = ["running"]


@pytest.fixture(scope="module")
def reviewed_score(running: Running) -> float:
    """A lead's verdict on one finding of the rule."""
    return cancel(running.site)


def test_a_lead_reads_tries_weighs_changes_replays_and_publishes_rules(running: Running, reviewed_score: float):
    page = enter(running, Role.LEAD, "/rules")

    # Readable: the list, filtered by words, and one rule in plain words.
    page.get_by_text(re.compile(r"显示 (\d+) 条，共 \1 条")).wait_for()
    page.get_by_role("textbox").first.fill("我不能")
    page.get_by_role("button", name="应用").click()
    page.wait_for_url("**/rules?*words=*")
    page.get_by_role("link", name="说“我不能”", exact=True).first.click()  # the rule for Chinese calls
    page.wait_for_url("**/rules?*rule=neg.cannot*")
    page.get_by_role("heading", name="说“我不能”").wait_for()
    told = page.locator(".rule")
    assert "看看我们能够帮您做什么" in told.inner_text()  # what to say instead
    assert "没办法" in told.inner_text()  # the phrases
    page.locator("summary", has_text="例").first.click()
    page.locator(".example").nth(3).wait_for()

    # Accuracy from verdicts: the one that was given.
    page.get_by_role("link", name="准确度", exact=True).click()
    row = page.locator("tr", has_text="说“我不能”")
    row.wait_for()
    assert "0/1" in row.inner_text()

    # A sentence to try.
    page.get_by_role("link", name="试一句", exact=True).click()
    page.get_by_label("要试的话").fill("这个我没办法给您弄")
    page.get_by_role("button", name="试一试").click()
    result = page.locator("pre.try")
    result.wait_for()
    assert "neg.cannot 说“我不能”: 不合格" in result.inner_text()
    assert "各方意见" in result.inner_text()

    # One that gains a finding, one that loses one; both are seen in the words of the calls.
    change(page, running, "neg.cannot", "增加的短语", "去问银行")
    change(page, running, "conduct.courtesy_you", "增加的例外", "去问银行")
    page.goto(f"{running.base}/rules?view=change")
    page.get_by_role("button", name="重放", exact=True).click()
    for kind, rule in (("新增的发现", "说“我不能”"), ("失去的发现", "称“你”不称“您”")):
        table = page.get_by_role("table", name=kind)
        table.wait_for()
        assert rule in table.inner_text()
        assert table.get_by_role("link", name="refund").count() == 1
    assert page.get_by_role("table", name="新增的发现").locator("mark").inner_text() == "去问银行"

    page.get_by_label("这次改了什么").fill("推给银行也算")
    page.get_by_role("button", name="检查并发布").click()
    page.wait_for_url("**/rules?*view=versions*")
    version = page.get_by_role("table", name="版本").locator("tbody tr").first
    version.wait_for()
    assert "推给银行也算" in version.inner_text()
    assert "lead" in version.inner_text()

    # The rules in force are the new ones.
    page.goto(f"{running.base}/rules?view=try")
    page.get_by_label("要试的话").fill("你去问银行吧")
    page.get_by_role("button", name="试一试").click()
    page.locator("pre.try", has_text="说“我不能”").wait_for()
    assert running.errors == []


TWO_CLICKS = """async () => {
    const deep = (name, root = document) => [...root.querySelectorAll('*')].flatMap((e) =>
        [...(e.matches(`a[href*="${name}"]`) ? [e] : []), ...(e.shadowRoot ? deep(name, e.shadowRoot) : [])]);
    const [first] = deep('view=accuracy'), [second] = deep('view=try');
    first.click();
    while (!location.search.includes('view=accuracy')) await new Promise((then) => setTimeout(then, 5));
    second.click();
}"""


def test_a_link_of_the_page_that_is_being_left_is_followed(running: Running):
    """Where another page is on its way already, the click is not the block's any more that it was made in."""
    page = enter(running, Role.LEAD, "/rules?rule=neg.cannot&language=zh")
    page.locator(".rule").wait_for()
    for _ in range(3):
        page.goto(f"{running.base}/rules?rule=neg.cannot&language=zh")
        page.locator(".rule").wait_for()
        page.evaluate(TWO_CLICKS)
        page.get_by_label("要试的话").wait_for()
        assert page.url.endswith("/rules?view=try")


def change(page, running: Running, rule: str, field: str, line: str, clear: str = "") -> None:
    page.goto(f"{running.base}/rules?rule={rule}&language=zh")
    page.get_by_label(field).fill(line)
    if clear:
        page.get_by_label(clear).fill("")
    page.get_by_role("button", name="放进草稿").click()
    page.get_by_text("已放进草稿").wait_for()
