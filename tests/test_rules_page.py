"""The rules page: every part of it in both languages, by right; drafts and publication as a lead makes them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from appsite import AppSite, build
from streamlit.runtime.context import ContextProxy
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from qa import desk
from qa.access import AccessDenied, Identity, Role
from qa.publish import candidate
from qa.rules_desk import replayed, rule_accuracy, tried_lines
from qa.store.accounts import Account
from qa.store.accounts import Verdict as Row
from scoring_rules.load import load_pack
from scoring_rules.plain import in_words

APP = Path(__file__).resolve().parent.parent / "app.py"
AGENT = Identity("agent", "agent", Role.AGENT, agent="A1")
INSPECTOR = Identity("inspector", "inspector", Role.INSPECTOR)
NORTH = Identity("lead", "lead", Role.LEAD, teams=("north",))
OWN = """
- id: own.bank
  name: {zh: 推给银行, en: Sends to the bank}
  dimension: language
  expect: absent
  points: 4
  why: {zh: 客户要的是我们去问, en: We are the ones to ask}
  match: [{phrase: [去问银行]}]
  examples:
    - {expect: confirmed, turns: [{agent: 您去问银行, here: true}]}
    - {expect: confirmed, turns: [{agent: 您好, here: true}]}
"""
PARTS = [{}, {"view": "try"}, {"view": "accuracy"}, {"view": "change"}, {"view": "versions"}, {"rule": "own.bank", "language": "zh"}]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[AppSite]:
    made = build(tmp_path)
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/pack.yaml").write_text('id: ours\nextends: zh\nversion: "1"\n', "utf-8")
    (tmp_path / "ours/own.yaml").write_text(OWN, "utf-8")
    made.settings_file.write_text('[data]\nfolder = "data"\n[rules]\noverlays = ["ours"]\n', "utf-8")
    yield made
    made.store.close()


@pytest.fixture
def page(site: AppSite, monkeypatch: pytest.MonkeyPatch):
    """Opens the rules page as a role and returns the mark-up that it sends, with the app."""
    monkeypatch.setenv("HUITING_SETTINGS", str(site.settings_file))
    desk.desk.cache_clear()

    def visit(role: Role, reader: str = "zh", /, **query: str) -> str:
        cookies = site.cookies(role)
        monkeypatch.setattr(ContextProxy, "cookies", property(lambda self: cookies))
        with site.store.write() as session:
            session.get_one(Account, role.value).language = reader
        app = AppTest.from_file(str(APP), default_timeout=120)
        app._page_hash = calc_hash("rules")
        for name, value in query.items():
            app.query_params[name] = value
        app.run()
        assert not app.exception, app.exception
        [block] = [one for one in app.main if one.type == "bidi_component" and one.proto.json]  # not the router's links
        return json.loads(block.proto.json)["markup"]

    yield visit
    desk.desk.cache_clear()


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_part_is_drawn_in_one_language(page, language: str):
    for query in PARTS:
        markup = page(Role.LEAD, language, **query)
        text = re.sub(r"<style>.*?</style>|<[^>]+>", " ", markup, flags=re.S)
        assert not re.findall(r"\b(?:rules_page|accuracy|replay|publish|plain|term)\.[a-z_]+", text), query


def test_a_rule_is_told_in_plain_words_with_its_examples_and_what_they_come_to(page):
    markup = page(Role.INSPECTOR, "en", rule="own.bank")
    assert "says “去问银行”" in markup
    assert "We are the ones to ask" in markup
    assert "should be: confirmed" in markup
    assert "is: nothing" in markup  # the second example does not hold
    assert 'data-form="change"' not in markup  # an inspector publishes nothing
    assert 'data-form="change"' in page(Role.LEAD, "en", rule="own.bank")


def test_the_list_is_filtered_by_its_address(page):
    everything, found = page(Role.LEAD), page(Role.LEAD, words="银行", dimension="language")
    assert everything.count("<tr>") > 40
    assert "own.bank" in found
    assert found.count("<tr>") == 2  # its head and it


def test_who_may_not_publish_sees_no_draft(page):
    assert "view=change" in page(Role.LEAD)
    assert "view=change" not in page(Role.INSPECTOR)
    assert 'data-form="publish"' not in page(Role.INSPECTOR, view="change")
    assert 'data-form="publish"' in page(Role.LEAD, view="change")


def test_figures_and_words_stay_within_reach(site: AppSite):
    settings = desk.Settings.load(site.settings_file, env={})
    with site.store.write() as session:
        for call in ("refund", "thanks"):  # north and south
            session.add(Row(who="w", role="inspector", call_id=call, rule="neg.cannot", verdict="right", outcome="fail", seen={}))
    pack = load_pack()
    [all_of], [north] = (rule_accuracy(site.store, who, pack) for who in (INSPECTOR, NORTH))
    assert (all_of.confirmed.of, north.confirmed.of) == (2, 1)
    found = candidate(settings, site.store, check=False)
    assert replayed(site.store, NORTH, found, None).summary.calls == 2
    for who in (AGENT, INSPECTOR):
        with pytest.raises(AccessDenied):
            replayed(site.store, who, found, None)


@pytest.mark.parametrize(
    ("locale", "own", "others"),
    [("zh", ("用词", "合计", "因为：", "核实身份"), r"[a-z]{3,} [+-]?\d|\b(words|total|meaning|head|because)\b"),
     ("en", ("words ", "total ", "because of: ", "a check of identity"), "用词|合计|因为：|核实身份")],
)  # fmt: skip
def test_what_decided_is_told_in_the_readers_language(locale: str, own: tuple[str, ...], others: str):
    """The voters of a classifier with their shares, and the condition that held a hit back."""
    told = [
        line
        for said in ("这个我没办法给您弄", "核对无误，您的余额是两千三百块")
        for line in tried_lines(load_pack(), None, said, "agent", [], [], "zh", locale)
    ]
    text = "\n".join(told)
    assert all(word in text for word in own), text
    # Rule ids and the words that were said are the same in every language.
    plain = re.sub(r"【.*?】|#\d+ .*?  |^[a-z_]+\.[a-z_]+|（[\w/.]+yaml[\d:]+）", " ", text, flags=re.M)
    assert not re.search(others, plain), plain


def test_every_shipped_rule_can_be_told_in_both_languages():
    pack = load_pack()
    for rule in pack.rules:
        for locale in ("zh", "en"):
            parts = in_words(rule, pack, locale)
            assert parts
            assert all(line.strip() for part in parts for line in part.lines)
            assert all(part.label for part in parts)
