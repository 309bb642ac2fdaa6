"""Transcripts put right by people: words and their times, roles, channels; the score that follows, and the way back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from appsite import AppSite, _evaluator, build
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from qa.access import AccessDenied, Identity, Role
from qa.call_view import open_call
from qa.corrections import (
    Masked,
    NothingChanged,
    awaits_score,
    correct_role,
    correct_words,
    difference,
    score_again,
    swap_channels,
    undo_correction,
    with_words,
)
from qa.judging import Judgement, judge
from qa.review import Conflict
from qa.scoring import Scoring
from qa.store.annotations import Correction
from qa.store.schema import AuditEvent, ScorecardRow, TranscriptRow
from qa.store.search import search
from qa.store.transcripts import current_transcript_id, load_transcript
from qa.verdicts import Verdict
from scoring_rules.model import Outcome
from speech.acoustics import measure_turns, rate_of_words
from speech.types import Role as Speaker
from speech.types import Sign, Turn, Word

INSPECTOR = Identity("i", "i", Role.INSPECTOR)
TRAINER = Identity("t", "t", Role.TRAINER)
LEAD = Identity("l", "l", Role.LEAD, teams=("south",))  # not of refund's team


@pytest.fixture
def site(tmp_path: Path) -> Iterator[AppSite]:
    made = build(tmp_path)
    yield made
    made.store.close()


def current(site: AppSite, call_id: str = "refund") -> int:
    with site.store.read() as session:
        found = current_transcript_id(session, call_id)
    assert found is not None
    return found


def scoring() -> Scoring:
    evaluator = _evaluator()
    return Scoring(evaluator.pack, evaluator)


FIXED = "这个我来办，您稍等。"


def test_corrected_words_are_a_new_version_that_is_scored_anew(site: AppSite):
    machine = current(site)
    assert search_for(site, "没办法") == ["refund"]
    correct_words(site.store, INSPECTOR, "refund", machine, 2, FIXED)
    with site.store.read() as session:
        assert awaits_score(session, "refund")
        row = session.get_one(TranscriptRow, current(site))
        assert (row.made_by, row.fingerprints["correct"] != "") == ("i", True)
        assert load_transcript(session, "refund", machine).turns[2].text.startswith("这个我没办法")
    assert search_for(site, "没办法") == []
    assert search_for(site, "来办") == ["refund"]
    assert score_again(site.store, scoring(), "refund")
    assert not score_again(site.store, scoring(), "refund")
    view = open_call(site.store, INSPECTOR, "refund")
    assert view.card is not None
    assert (view.scoring, view.made_by, view.transcript.turns[2].text) == (False, "i", FIXED)
    assert next(i for i in view.card.items if i.rule == "neg.cannot").outcome is Outcome.PASS
    with site.store.read() as session:
        assert len(session.scalars(select(ScorecardRow).where(ScorecardRow.call_id == "refund")).all()) == 2
        [told] = session.scalars(select(AuditEvent).where(AuditEvent.action == "correction"))
    assert (told.who, told.detail) == ("i", {"kind": "words", "turn": 2})


def search_for(site: AppSite, words: str) -> list[str]:
    with site.store.read() as session:
        return [match.call_id for match in search(session, words)]


def test_undone_the_machines_version_is_current_again_and_both_stay(site: AppSite):
    machine = current(site)
    first = correct_words(site.store, INSPECTOR, "refund", machine, 2, FIXED)
    second = correct_words(site.store, INSPECTOR, "refund", current(site), 0, "您好，有什么可以帮您？")
    with pytest.raises(Conflict):
        undo_correction(site.store, INSPECTOR, first)
    undo_correction(site.store, INSPECTOR, second)
    undo_correction(site.store, INSPECTOR, first)
    assert current(site) == machine
    assert search_for(site, "没办法") == ["refund"]
    assert open_call(site.store, INSPECTOR, "refund").corrections == ()
    with site.store.read() as session:
        assert [row.kind for row in session.scalars(select(Correction).order_by(Correction.id))] == [
            "words", "words", "undo", "undo",
        ]  # fmt: skip
        assert len(session.scalars(select(TranscriptRow).where(TranscriptRow.call_id == "refund")).all()) == 3


def test_whoever_corrected_first_is_not_overwritten(site: AppSite):
    machine = current(site)
    correct_words(site.store, INSPECTOR, "refund", machine, 2, FIXED)
    with pytest.raises(Conflict):
        correct_words(site.store, INSPECTOR, "refund", machine, 2, "另一种说法。")


def test_a_speaker_put_right_moves_the_turn_and_its_talking_time(site: AppSite):
    before = open_call(site.store, INSPECTOR, "refund").transcript
    correct_role(site.store, INSPECTOR, "refund", current(site), 3, Speaker.AGENT)
    after = open_call(site.store, INSPECTOR, "refund").transcript
    assert (after.turns[3].role, after.turns[3].speaker) == (Speaker.AGENT, before.turns[0].speaker)
    assert after.turns[:3] == before.turns[:3]
    with pytest.raises(NothingChanged):
        correct_role(site.store, INSPECTOR, "refund", current(site), 3, Speaker.AGENT)
    correct_role(site.store, INSPECTOR, "refund", current(site), 0, Speaker.IVR)
    assert open_call(site.store, INSPECTOR, "refund").transcript.turns[0].speaker == "agent#ivr"


def test_swapped_channels_are_swapped_back_and_the_sign_is_gone(site: AppSite):
    machine = current(site)
    with site.store.write() as session:
        row = session.get_one(TranscriptRow, machine)
        row.signs = [Sign.SWAPPED_CHANNELS.value, Sign.CLIPPED.value]
    before = open_call(site.store, INSPECTOR, "refund").transcript
    swap_channels(site.store, INSPECTOR, "refund", machine)
    after = open_call(site.store, INSPECTOR, "refund").transcript
    assert [turn.role for turn in after.turns] == [
        {Speaker.AGENT: Speaker.CUSTOMER, Speaker.CUSTOMER: Speaker.AGENT}[turn.role] for turn in before.turns
    ]
    assert after.signs == (Sign.CLIPPED,)
    score_again(site.store, scoring(), "refund")
    card = open_call(site.store, INSPECTOR, "refund").card
    assert card is not None
    assert next(i for i in card.items if i.rule == "neg.cannot").outcome is not Outcome.FAIL  # the customer says it


def test_masked_numbers_are_corrected_by_who_sees_them_only(site: AppSite):
    machine = current(site, "number")
    seen = open_call(site.store, INSPECTOR, "number").transcript.turns[1].text
    assert "*" in seen
    with pytest.raises(Masked):
        correct_words(site.store, INSPECTOR, "number", machine, 1, seen.replace("*", "1"))
    # Beside the number, with the stars left alone, what was heard under them stays.
    correct_words(site.store, INSPECTOR, "number", machine, 1, seen.replace("记一下", "记下来"))
    with site.store.read() as session:
        assert load_transcript(session, "number").turns[1].text == "一三八零零一三八零零零，你记下来。"
    now = current(site, "number")
    correct_words(site.store, INSPECTOR, "number", now, 1, "一三九零零一三八零零零，你记下来。", unmasked=True)
    with pytest.raises(NothingChanged):
        correct_words(site.store, INSPECTOR, "number", current(site, "number"), 1, "  ", unmasked=True)


@pytest.mark.parametrize("person", [TRAINER, LEAD, Identity("a", "a", Role.AGENT, agent="A1")])
def test_who_may_not_judge_corrects_nothing(site: AppSite, person: Identity):
    machine = current(site)
    for act in (
        lambda: correct_words(site.store, person, "refund", machine, 2, FIXED),
        lambda: correct_role(site.store, person, "refund", machine, 2, Speaker.CUSTOMER),
        lambda: swap_channels(site.store, person, "refund", machine),
    ):
        with pytest.raises(AccessDenied):
            act()
    own = correct_words(site.store, INSPECTOR, "refund", machine, 2, FIXED)
    with pytest.raises(AccessDenied):
        undo_correction(site.store, person, own)


def test_a_verdict_holds_through_a_correction_and_the_call_comes_back_as_changed(site: AppSite):
    view = open_call(site.store, INSPECTOR, "refund")
    assert view.scorecard_id is not None
    judge(site.store, INSPECTOR, Judgement("refund", view.scorecard_id, "neg.cannot", Verdict.RIGHT, 0))
    correct_words(site.store, INSPECTOR, "refund", view.transcript_id, 2, FIXED)
    score_again(site.store, scoring(), "refund")
    after = open_call(site.store, INSPECTOR, "refund")
    [kept] = after.verdicts
    assert (kept.verdict, kept.outcome, kept.place.turn, kept.same_card) == ("right", "fail", 2, False)
    assert after.row.changed


# Cutting and joining

texts = st.text("我不能办好的，。 ab", max_size=12)


@given(texts, texts)
def test_the_difference_is_what_must_be_put_in(old: str, new: str):
    start, end, piece = difference(old, new)
    assert old[:start] + piece + old[end:] == new
    assert 0 <= start <= end <= len(old)
    if old == new:
        assert (start, end, piece) == (len(old), len(old), "")


@given(st.lists(st.sampled_from(["我", "不能", "办", "好", "ok"]), min_size=1, max_size=8), st.data())
def test_words_outside_of_a_correction_keep_their_times(pieces: list[str], data):
    words = tuple(Word(text, n * 0.5, n * 0.5 + 0.4, 0.9) for n, text in enumerate(pieces))
    turn = Turn("A", "，".join(pieces) + "。", 0.0, len(pieces) * 0.5, words)
    start = data.draw(st.integers(0, len(turn.text)))
    end = data.draw(st.integers(start, len(turn.text)))
    piece = data.draw(st.sampled_from(["", "换", "换一个"]))
    new = with_words(turn, start, end, piece)
    assert new.text == turn.text[:start] + piece + turn.text[end:]
    kept = [word for word in new.words if word in words]
    assert len(new.words) - len(kept) <= 1
    assert [word for word in words if word in kept] == kept
    for earlier, later in zip(new.words, new.words[1:], strict=False):
        assert earlier.start <= later.start
    made = [word for word in new.words if word not in words]
    for word in made:
        assert word.probability == 1.0
        assert 0 <= word.start <= word.end <= turn.end


def test_a_turn_without_words_is_corrected_as_text():
    turn = Turn("A", "这个我不能", 0.0, 2.0)
    assert with_words(turn, 3, 5, "可以") == replace(turn, text="这个我可以")


@pytest.mark.parametrize("said", ["这个我没有办法帮您处理", "好的您请说啊", "好", ""])
def test_the_speech_rate_follows_the_words_in_the_time_that_they_had(said: str):
    """Twice the seconds of the words' own times, as a sound may have it: the time is kept, not measured anew."""
    def turn(speaker: str, text: str, start: float) -> Turn:
        words = tuple(Word(c, start + n * 0.2, start + (n + 1) * 0.2, 0.9) for n, c in enumerate(text))
        return Turn(speaker, text, start, start + 0.2 * len(text), words)

    before = [turn("A", "您好请问有什么可以帮您", 0), turn("B", "我的包裹还没有到", 5), turn("A", "好的您请说", 10)]
    last = before[2]
    after = [*before[:2], with_words(last, 0, len(last.text), said)]
    measured = measure_turns(before)
    assert measured is not None
    slow = {name: value / 2 for name, value in measured.rate.items()}
    new = rate_of_words(slow, before, after, 2)
    assert new["B"] == slow["B"]
    counted = len(said) if len(said) >= 5 else 0
    seconds = 2 * (11 + 5) * 0.2 - (0 if counted else 0.2 * 5)
    assert new["A"] == pytest.approx((11 + counted) * 60 / seconds)
