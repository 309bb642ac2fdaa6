"""One table of states: code, documents and messages agree, and every state leads somewhere."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import pytest

from qa.messages import in_language, text
from qa.states import CONSEQUENCE, MARK, STOPPING, Outcome, Reason, judge
from speech.types import Sign

DOCUMENT = Path(__file__).parents[1] / "docs/states.md"


def test_every_state_has_a_consequence():
    assert set(CONSEQUENCE) == {*Sign, *Reason}


def test_the_document_is_the_table():
    rows = re.findall(r"^\| `(\w+)` \|.*\| (\w+) \|$", DOCUMENT.read_text("utf-8"), re.M)
    assert dict(rows) == {str(state): str(consequence) for state, consequence in CONSEQUENCE.items()}


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_state_has_words_in_both_languages(language):
    with in_language(language):
        told = {state: text(f"reason.{state}") for state in CONSEQUENCE}
        assert all(told.values())
        assert len(set(told.values())) == len(told)
        assert all(text(f"outcome.{outcome}") for outcome in Outcome)


def test_signs_are_judged_by_the_worst():
    assert judge([]) == (Outcome.SCORED, None)
    assert judge([Sign.CLIPPED, Sign.DUAL_MONO]) == (Outcome.SCORED, None)
    assert judge([Sign.TOO_SHORT, Sign.NO_SPEECH]) == (Outcome.QUARANTINED, Sign.NO_SPEECH)
    for pair in combinations(Sign, 2):
        outcome, sign = judge(pair)
        assert outcome in Outcome
        assert (sign is None) == (outcome is Outcome.SCORED)


def test_marks_never_stop_a_call():
    assert not {sign for sign in STOPPING if CONSEQUENCE[sign] == MARK}
    assert Sign.DEAD_CHANNEL in STOPPING
    assert Sign.UNINTELLIGIBLE not in STOPPING  # only known once it was heard
