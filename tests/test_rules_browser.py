"""The Rules page in a real browser: rules in plain words, with their examples and how right they are."""

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


def test_a_lead_reads_rules_and_how_right_they_are(running: Running, reviewed_score: float):
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
    assert running.errors == []
