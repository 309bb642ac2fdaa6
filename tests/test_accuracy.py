"""Precision and recall of rules by people's verdicts: the figures, their intervals, and what they leave out."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from appsite import AppSite, build
from hypothesis import given
from hypothesis import strategies as st

from qa.accuracy import Share, accuracy, recall_of, to_json, wilson
from qa.store.accounts import Verdict as Row
from qa.verdicts import Claim

NONE = wilson(0, 0)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[AppSite]:
    made = build(tmp_path)
    yield made
    made.store.close()


def test_wilson_is_the_published_interval():
    # Brown, Cai, DasGupta 2001 give 0.0000–0.2775 for 0 of 10 and Newcombe 1998 0.0253–... for rare counts.
    assert wilson(0, 10).low == 0
    assert wilson(0, 10).high == pytest.approx(0.2775, abs=1e-4)
    assert (wilson(81, 263).low, wilson(81, 263).high) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe 1998, table I
    assert wilson(0, 0) == Share(None, 0.0, 1.0, 0, 0)


@given(st.integers(0, 400), st.integers(0, 400))
def test_an_interval_holds_its_share(right: int, wrong: int):
    found = wilson(right, right + wrong)
    assert 0 <= found.low <= (found.value or 0) <= found.high <= 1 or found.value is None


def test_recall_weighs_every_audited_item_by_what_it_stands_for():
    # 90 true findings; two misses drawn with probability 0.1 stand for twenty.
    claims = {Claim.CONFIRMED: (100, wilson(45, 50)), Claim.SUSPECTED: (0, NONE)}
    found = recall_of(claims, [(0.1, place < 2) for place in range(200)], 2_000)
    assert found is not None
    assert found.value == pytest.approx(90 / 110)
    assert found.low < 90 / 110 < found.high
    # The same misses among items that were all looked at stand for two.
    whole = recall_of(claims, [(1.0, place < 2) for place in range(200)], 200)
    assert whole is not None
    assert whole.value == pytest.approx(90 / 92)


def test_unequal_probabilities_shrink_the_effective_number():
    claims = {Claim.CONFIRMED: (100, wilson(50, 50))}
    equal = recall_of(claims, [(0.1, False)] * 200, 2_000)
    unequal = recall_of(claims, [(0.02, False)] * 20 + [(0.18, False)] * 180, 2_000)
    assert equal is not None
    assert unequal is not None
    assert unequal.low < equal.low < 1 == equal.value == equal.high


def test_recall_is_not_made_up():
    judged = {Claim.CONFIRMED: (10, wilson(5, 5))}
    assert recall_of(judged, [], 9) is None
    assert recall_of({Claim.CONFIRMED: (10, NONE)}, [(0.5, False)], 9) is None  # findings that nobody judged
    assert recall_of({Claim.CONFIRMED: (0, NONE)}, [(0.5, False)] * 9, 9) is not None
    with pytest.raises(ValueError, match="above 0"):
        recall_of(judged, [(0.0, False)], 9)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """2,000 items, 60 faults of which 45 are found; audits of 15 % of the rest, by a seeded dice."""
    dice = random.Random(7)
    inside = 0
    for _ in range(400):
        drawn = [(0.15, missed) for missed in [True] * 15 + [False] * 1925 if dice.random() < 0.15]
        judged = sum(dice.random() < 45 / 60 for _ in range(40))  # precision 0.75 of 60 claims, 40 of them judged
        found = recall_of({Claim.CONFIRMED: (60, wilson(judged, 40))}, drawn, 1_940)
        assert found is not None
        inside += found.low <= 45 / 60 <= found.high
    assert inside / 400 >= 0.95


def add(site: AppSite, call: str, rule: str, verdict: str, **more) -> None:
    values = {"who": "w", "role": "inspector", "outcome": "fail", "seen": {}, **more}
    with site.store.write() as session:
        session.add(Row(call_id=call, rule=rule, verdict=verdict, **values))


def test_a_sites_figures(site: AppSite):
    place = {"turn": 2, "start_char": 0, "end_char": 4, "finding_status": "confirmed"}
    add(site, "refund", "neg.cannot", "right", **place)
    add(site, "refund", "neg.cannot", "wrong", **{**place, "turn": 1})
    add(site, "number", "neg.cannot", "right", outcome="pass", sampling_probability=0.5)
    add(site, "thanks", "neg.cannot", "missed", outcome="pass", turn=0, start_char=0, end_char=2, sampling_probability=0.5)
    add(site, "stray", "neg.cannot", "missed", outcome="pass", turn=0, start_char=0, end_char=2)
    add(site, "refund", "neg.not_my_job", "right", **place)
    add(site, "refund", "neg.not_my_job", "wrong", who="x", **place)
    add(site, "refund", "lang.vague", "right", finding_status="suspected", outcome="pass", turn=2, start_char=0, end_char=1)
    with site.store.read() as session:
        found = {one.rule: one for one in accuracy(session, site.desk.pack)}
        later = accuracy(session, site.desk.pack, since=site_time(site, hours=2))
    cannot = found["neg.cannot"]
    assert (cannot.confirmed.count, cannot.confirmed.of) == (1, 2)
    assert (cannot.audited, cannot.missed, cannot.added, cannot.contested) == (2, 1, 1, 0)
    job = found["neg.not_my_job"]
    assert (job.confirmed.value, job.contested) == (None, 1)
    assert found["lang.vague"].suspected.value == 1
    assert later == []
    line = json.loads(json.dumps(to_json(cannot)))
    assert line["precision"] == {"value": 0.5, "low": 0.0945, "high": 0.9055, "count": 1, "of": 2}


def site_time(site: AppSite, hours: int):
    from datetime import timedelta

    from appsite import MONDAY

    return MONDAY + timedelta(hours=hours)


def test_a_leads_no_overrules_an_inspectors_miss(site: AppSite):
    drawn = {"outcome": "pass", "sampling_probability": 0.2}
    add(site, "thanks", "neg.cannot", "missed", turn=0, start_char=0, end_char=2, **drawn)
    add(site, "number", "neg.cannot", "missed", turn=0, start_char=0, end_char=2, **drawn)
    add(site, "thanks", "neg.cannot", "right", who="lead", role="lead", **drawn)
    add(site, "number", "neg.cannot", "right", who="other", **drawn)
    with site.store.read() as session:
        [found] = accuracy(session, site.desk.pack)
    assert (found.audited, found.missed, found.contested) == (1, 0, 1)
