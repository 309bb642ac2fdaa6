"""A random audit in a real browser: a lead draws it on the rules page, an inspector works it off by keys, recall follows."""

from __future__ import annotations

import re

from playwright.sync_api import expect
from sqlalchemy import select
from test_browser import WAIT as SHORT_WAIT
from test_browser import Running, _until, rows, running, sign_in

from qa.access import Role
from qa.store.accounts import Verdict as Row
from qa.store.random_audits import DrawnItem

__all__ = ["running"]
WAIT = 3 * SHORT_WAIT  # ms
REASON = "随机抽检"


def draw(page, **values: str) -> None:
    form = page.locator("form[data-form=audit]")
    form.wait_for()
    for name, value in {"since": "", "until": "", **values}.items():
        field = form.locator(f"[name={name}]")
        if field.evaluate("(e) => e.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)
    form.get_by_role("button", name="抽取").click()


def test_a_lead_draws_an_inspector_judges_by_keys_and_recall_is_shown(running: Running):
    lead = sign_in(running, Role.LEAD)
    lead.set_default_timeout(WAIT)
    lead.goto(f"{running.base}/rules?view=accuracy")
    draw(lead, name="W10", count="0", seed="7")
    lead.locator(".told.problem", has_text="1 到 500").wait_for()
    assert lead.locator("form[data-form=audit] [name=name]").input_value() == "W10"  # nothing typed is lost
    draw(lead, name="W10", count="1", seed="7")
    lead.locator(".told", has_text="已放进复核列表").wait_for()
    expect(lead.locator("td", has_text="W10")).to_have_count(1)
    with running.site.store.read() as session:
        items = session.scalars(select(DrawnItem)).all()
    [call_id] = {item.call_id for item in items}
    assert {item.probability for item in items} == {0.5}  # one call of the two of the lead's team

    # In the queue, under its own filter, with its reason.
    page = sign_in(running, Role.INSPECTOR, "/queue?audit=1")
    page.set_default_timeout(WAIT)
    _until(lambda: rows(page) == [call_id])
    page.locator("tr[data-row] .chip", has_text=f"{REASON} {len(items)} 项").wait_for()
    assert page.locator("form[data-form=filter] input[name=audit]").is_checked()
    page.get_by_role("button", name="取下一通").click()
    page.wait_for_url(f"**/call?*id={call_id}*")
    page.locator(".player[aria-busy=false]").wait_for()
    page.get_by_text(f"{REASON} {len(items)} 项").first.wait_for()  # why the call is here

    # By keys: past the findings to the items that were drawn; the first was missed, the second is right.
    drawn = page.locator("section.drawn article")
    expect(drawn).to_have_count(len(items))
    for _ in range(40):
        page.keyboard.press("n")
        if page.locator("section.drawn .here").count():
            break
    here = page.locator("section.drawn article.here")
    rule = here.get_attribute("data-rule")
    page.keyboard.press("2")
    page.locator(".told .state", has_text=re.compile("已保存|✓")).wait_for()
    _until(lambda: said(running, call_id, rule) == ["missed"])
    page.keyboard.press("u")  # taken back: it waits again
    _until(lambda: said(running, call_id, rule) == ["missed", "withdrawn"])
    page.keyboard.press("1")
    _until(lambda: said(running, call_id, rule)[-1] == "right")
    page.get_by_role("button", name=re.compile("其余均无漏判")).click()
    _until(lambda: all(said(running, call_id, item.rule) for item in items))
    expect(page.locator("section.drawn .badge.drawn")).to_have_count(0)
    with running.site.store.read() as session:
        kept = session.scalars(select(Row).where(Row.call_id == call_id)).all()
    assert {(row.sample, row.sampling_probability) for row in kept} == {("W10", 0.5)}

    # It left the list, and counts in the accuracy.
    page.goto(f"{running.base}/queue?audit=1")
    page.locator(".empty").wait_for()
    lead.goto(f"{running.base}/rules?view=accuracy")
    table = lead.locator("table").first
    table.wait_for()
    audited = [row.locator("td").nth(4).inner_text() for row in table.locator("tbody tr").all()]
    assert audited.count("1") == len(items)
    assert not running.errors


def said(running: Running, call_id: str, rule: str | None) -> list[str]:
    with running.site.store.read() as session:
        return list(
            session.scalars(select(Row.verdict).where(Row.call_id == call_id, Row.rule == rule).order_by(Row.id))
        )


def test_an_inspector_draws_nothing(running: Running):
    page = sign_in(running, Role.INSPECTOR)
    page.goto(f"{running.base}/rules?view=accuracy")
    page.locator("form[data-form=days]").wait_for()
    assert page.locator("form[data-form=audit]").count() == 0
