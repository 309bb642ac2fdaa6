"""What the player is given: turns, findings at their places, verdicts beside them, scores of each level."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from appsite import AppSite, build, judge_anew
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from qa.access import Identity, Role
from qa.call_view import open_call
from qa.corrections import correct_words
from qa.judging import Judgement, judge
from qa.player_data import Reader, doubtful_places, sheet, state
from qa.store.schema import Call, FindingRow
from qa.verdicts import Place, Verdict
from speech.types import Turn, Word

INSPECTOR = Identity("i", "i", Role.INSPECTOR)
AGENT = Identity("a", "a", Role.AGENT, agent="A1")
READER = Reader(INSPECTOR, "zh", ZoneInfo("Asia/Shanghai"))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[AppSite]:
    made = build(tmp_path)
    yield made
    made.store.close()


def shown(site: AppSite, call_id: str, reader: Reader = READER, **options):
    view = open_call(site.store, reader.identity, call_id, site.desk.pack, **options)
    return sheet(view, reader), state(view, site.desk.pack, reader)


def test_a_finding_in_seconds_stands_beside_one_in_words_that_begins_with_it(site: AppSite):
    with site.store.write() as session:
        said = session.scalars(select(FindingRow).where(FindingRow.rule == "neg.cannot")).first()
        assert said is not None
        assert said.start is not None
        silence = FindingRow(
            scorecard_id=said.scorecard_id, rule="conduct.silence", status="suspected", how="silence", start=said.start, end=said.start + 6
        )
        session.add(silence)
    found = [one for one in shown(site, "refund")[1]["findings"] if one["at"] == said.start]
    assert {one["rule"] for one in found} >= {"neg.cannot", "conduct.silence"}


def test_all_of_it_is_json(site: AppSite):
    for call_id in ("refund", "number", "thanks", "stray"):
        assert json.loads(json.dumps(shown(site, call_id)))


def test_findings_stand_at_their_characters_with_what_to_say(site: AppSite):
    heard, by_now = shown(site, "refund")
    found = next(one for one in by_now["findings"] if one["rule"] == "neg.cannot")
    place = found["places"][0]
    assert heard["turns"][place["turn"]]["text"][place["from"] : place["to"]] == found["quote"]
    assert "没办法" in found["quote"]
    assert found["why"]
    assert found["say"]
    assert [verdict for verdict, _ in found["choices"]] == ["right", "wrong", "not_applicable"]
    assert [i["rule"] for i in by_now["card"]["items"] if i["group"] == "faults"].count("neg.cannot") == 1
    assert heard["turns"][1]["negative"]
    assert [one["number"] for one in by_now["findings"]] == list(range(len(by_now["findings"])))


def test_what_must_be_said_is_judged_as_an_item(site: AppSite):
    _, by_now = shown(site, "refund")
    apology = next(item for item in by_now["card"]["items"] if item["rule"] == "complaint.apology")
    assert apology["outcome"] == "fail"
    assert len(apology["choices"]) == 3
    assert all(not by_now["findings"][number]["choices"] for number in apology["findings"])


def test_verdicts_stand_at_what_they_are_on_and_say_when_the_machine_changed(site: AppSite):
    _, before = shown(site, "refund")
    found = next(one for one in before["findings"] if one["rule"] == "neg.cannot")
    judge(site.store, INSPECTOR, Judgement("refund", before["scorecard"], "neg.cannot", Verdict.WRONG, found["finding"]))
    judge(
        site.store, INSPECTOR,
        Judgement("refund", before["scorecard"], "lang.vague", Verdict.MISSED, place=Place(0, 0, 2), note="听不清"),
    )  # fmt: skip
    _, after = shown(site, "refund")
    found = next(one for one in after["findings"] if one["rule"] == "neg.cannot")
    assert [(v["verdict"], v["mine"], v["changed"]) for v in found["verdicts"]] == [("wrong", True, False)]
    added = next(one for one in after["findings"] if one["status"] == "missed")
    assert (added["rule"], added["quote"]) == ("lang.vague", "您好")
    assert added["verdicts"][0]["note"] == "听不清"
    with site.store.read() as session:
        card = open_call(site.store, INSPECTOR, "refund").scorecard_id
        assert card == after["scorecard"]
        assert session.get(Call, "refund")
    correct_words(site.store, INSPECTOR, "refund", shown(site, "refund")[0]["transcript"], 2, "这个我来帮您问银行。")
    with site.store.write() as session:  # what scoring does with the corrected text
        from dataclasses import replace

        from appsite import _evaluator

        from qa import scorecard
        from qa.scoring import attributes
        from qa.store.scorecards import save_scorecard
        from qa.store.transcripts import current_transcript_id, load_transcript

        heard = replace(load_transcript(session, "refund"), attributes=attributes(session.get_one(Call, "refund")))
        evaluator = _evaluator()
        new = scorecard.build(evaluator.pack, evaluator.run(heard), heard)
        save_scorecard(session, "refund", new, current_transcript_id(session, "refund"))
    _, later = shown(site, "refund")
    item = next(item for item in later["card"]["items"] if item["rule"] == "neg.cannot")
    assert item["outcome"] == "pass"
    [kept] = item["verdicts"]
    assert kept["changed"]
    assert (kept["then"], kept["now"]) == ("不合格", "合格")


def test_an_agent_reads_without_what_reviewers_write(site: AppSite):
    from qa.comments import comment

    comment(site.store, INSPECTOR, "refund", 1, "客户等了两周")
    assert [one["text"] for one in shown(site, "refund")[1]["comments"]] == ["客户等了两周"]
    heard, by_now = shown(site, "refund", Reader(AGENT, "en", READER.zone))
    assert by_now["comments"] == []
    assert heard["may"] == {"judge": False, "correct": False, "note": False, "unmask": False, "original": False}


def test_what_a_correction_replaced_shows_no_digits_masked(site: AppSite):
    transcript_id = shown(site, "number")[0]["transcript"]
    correct_words(
        site.store, INSPECTOR, "number", transcript_id, 1, "一三九零零一三八零零零，你记一下。", unmasked=True
    )
    [told] = shown(site, "number")[1]["corrections"]
    assert "九" not in told["told"]
    [told] = shown(site, "number", unmasked=True)[1]["corrections"]
    assert told["told"] == "八 → 九"


def test_a_reader_goes_by_the_sites_clock():
    assert READER.at(datetime(2026, 3, 2, 1, 30, tzinfo=UTC)) == "03-02 09:30"


def test_both_languages_name_everything(site: AppSite):
    zh, en = (shown(site, "refund", Reader(INSPECTOR, locale, READER.zone))[0]["labels"] for locale in ("zh", "en"))
    assert zh.keys() == en.keys()
    assert not [name for name, label in zh.items() if label.startswith(("app.", "call."))]


words = st.lists(st.tuples(st.sampled_from(["好", "的", "退款", "ok "]), st.floats(0, 1)), max_size=12)


@given(words)
def test_doubtful_places_are_those_of_doubtful_words(found):
    said = tuple(Word(text, n, n + 1, probability) for n, (text, probability) in enumerate(found))
    turn = Turn("A", "".join(text for text, _ in found), words=said)
    doubtful = {n for start, end in doubtful_places(turn) for n in range(start, end)}
    place = 0
    for word in said:
        inside = set(range(place, place + len(word.text.strip())))
        assert inside <= doubtful if word.probability < 0.5 else not inside & doubtful
        place += len(word.text)


def test_a_call_judged_alike_anew_keeps_its_verdicts_unchanged(site: AppSite):
    _, before = shown(site, "refund")
    judge(site.store, INSPECTOR, Judgement("refund", before["scorecard"], "neg.cannot", Verdict.RIGHT, 0))
    with site.store.write() as session:
        judge_anew(session, session.get_one(Call, "refund"))
    _, after = shown(site, "refund")
    assert after["scorecard"] != before["scorecard"]
    found = next(one for one in after["findings"] if one["rule"] == "neg.cannot")
    assert [(v["verdict"], v["changed"]) for v in found["verdicts"]] == [("right", False)]
