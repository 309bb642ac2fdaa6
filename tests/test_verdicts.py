"""Verdict events: what stands of them, files in and out, and the draw of a random audit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from appsite import AppSite, build, ids, judge_anew
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from qa.access import Identity, Role
from qa.call_filter import CallFilter
from qa.messages import in_language
from qa.random_audits import Frame, Unit, audits, draw_into_queue
from qa.store.accounts import Review
from qa.store.accounts import Verdict as Row
from qa.store.random_audits import DrawnItem
from qa.store.schema import AuditEvent, Call, FindingRow, ItemRow, ScorecardRow
from qa.store.scorecards import load_scorecard
from qa.verdict_files import VerdictFileError, draw_audit, export_verdicts, import_verdicts
from qa.verdicts import Claim, Verdict, claim_of, says_fault, stands
from scoring_rules.model import Expect, FindingStatus, Outcome

SHANGHAI = ZoneInfo("Asia/Shanghai")
GOOD = {
    "format": 1, "event": "e1", "at": "2026-03-03T10:00:00+08:00", "who": "wang", "role": "inspector", "call": "refund",
    "rule": "neg.cannot", "verdict": "right", "outcome": "fail", "finding": "confirmed", "turn": 2, "start_char": 2,
    "end_char": 5, "sampling_probability": 0.25, "sample": "W10", "note": "电话13800138000",
}  # fmt: skip


@pytest.fixture
def site(tmp_path: Path) -> Iterator[AppSite]:
    made = build(tmp_path)
    yield made
    made.store.close()


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines), "utf-8")
    return path


def take(site: AppSite, path: Path, **options):
    return import_verdicts(site.store, path, [rule.id for rule in site.desk.pack.rules], who="test", **options)


def count(site: AppSite) -> int:
    with site.store.read() as session:
        return session.scalar(select(func.count()).select_from(Row)) or 0


# --- what stands ----------------------------------------------------------------------------------------------


def event(number: int, who: str, verdict: str, **more) -> SimpleNamespace:
    made = {
        "id": number, "at": datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=number), "who": who, "role": "inspector",
        "call_id": "c", "rule": "r.r", "verdict": verdict, "outcome": "fail", "finding_status": "confirmed", "turn": 1,
        "start_char": 0, "end_char": 3, "start": None, "end": None, "sampling_probability": None,
    }  # fmt: skip
    return SimpleNamespace(**{**made, **more})


def test_a_persons_newest_verdict_counts_and_a_withdrawn_one_does_not():
    [one] = stands([event(1, "w", "right"), event(2, "w", "wrong")], Expect.ABSENT)
    assert (one.fault, one.settled, one.who) == (False, True, ("w",))
    assert not list(stands([event(1, "w", "right"), event(2, "w", "withdrawn")], Expect.ABSENT))
    whole = event(3, "w", "withdrawn", turn=None, start_char=None, end_char=None)
    assert not list(stands([event(1, "w", "right"), event(2, "w", "wrong", turn=5), whole], Expect.ABSENT))


def test_people_of_one_rank_who_disagree_leave_it_contested_and_a_lead_settles():
    both = [event(1, "w", "right"), event(2, "x", "wrong")]
    [one] = stands(both, Expect.ABSENT)
    assert not one.settled
    [settled] = stands([*both, event(3, "lead", "right", role="lead")], Expect.ABSENT)
    assert (settled.fault, settled.settled, settled.who) == (True, True, ("lead",))
    # An inspector who speaks last does not overrule the lead.
    [still] = stands([*both, event(3, "lead", "right", role="lead"), event(4, "w", "wrong")], Expect.ABSENT)
    assert still.fault is True


def test_places_of_one_item_stand_apart():
    found = list(stands([event(1, "w", "right"), event(2, "w", "wrong", turn=4)], Expect.ABSENT))
    assert {(place.place.turn, place.fault) for place in found} == {(1, True), (4, False)}


@pytest.mark.parametrize(
    ("outcome", "status", "expect", "claim"),
    [
        ("fail", "confirmed", Expect.ABSENT, Claim.CONFIRMED),
        ("fail", None, Expect.ABSENT, Claim.CONFIRMED),
        ("fail", "confirmed", Expect.PRESENT, Claim.CONFIRMED),
        ("pass", "suspected", Expect.ABSENT, Claim.SUSPECTED),
        ("pass", "suspected", Expect.PRESENT, Claim.NONE),  # where it was said, heard doubtfully
        ("pass", "confirmed", Expect.PRESENT, Claim.NONE),
        ("pass", "mitigated", Expect.ABSENT, Claim.NONE),
        ("pass", None, Expect.ABSENT, Claim.NONE),
        ("not_applicable", None, Expect.ABSENT, Claim.OPEN),
        ("not_evaluated", None, Expect.PRESENT, Claim.OPEN),
    ],
)
def test_what_the_machine_claimed(outcome, status, expect, claim):
    assert claim_of(outcome, status, expect) is claim


def test_what_a_verdict_says():
    assert says_fault("right", Claim.CONFIRMED) is True
    assert says_fault("wrong", Claim.SUSPECTED) is False
    assert says_fault("not_applicable", Claim.CONFIRMED) is False
    assert says_fault("right", Claim.NONE) is False
    assert says_fault("wrong", Claim.NONE) is True
    assert says_fault("wrong", Claim.OPEN) is None
    assert says_fault("missed", Claim.OPEN) is True


# --- files ----------------------------------------------------------------------------------------------------


def test_a_file_is_kept_once_and_comes_out_as_it_went_in(site: AppSite, tmp_path: Path):
    missed = {**GOOD, "event": "e2", "rule": "neg.not_my_job", "verdict": "missed", "outcome": "pass", "start": 9.5, "end": 11.0}
    del missed["finding"]
    file = write(tmp_path / "v.jsonl", GOOD, "", missed)
    assert (take(site, file, dry_run=True).added, count(site)) == (2, 0)
    first, again = take(site, file), take(site, file)
    assert ((first.added, first.known), (again.added, again.known), count(site)) == ((2, 0), (0, 2), 2)
    lines = [json.loads(line) for line in export_verdicts(site.store, who="t", zone=SHANGHAI, unmasked=True)]
    assert lines == [GOOD, missed]
    masked = list(export_verdicts(site.store, who="t", zone=SHANGHAI))
    assert "13800138000" not in masked[0]
    with site.store.read() as session:
        actions = session.scalars(select(AuditEvent.action).order_by(AuditEvent.id)).all()
    assert [a for a in actions if a.startswith("verdicts")] == [
        "verdicts imported", "verdicts imported", "verdicts exported", "verdicts exported",
    ]  # fmt: skip
    out = write(tmp_path / "again.jsonl", *lines)
    assert take(site, out).known == 2


def test_a_verdict_is_bound_to_the_scorecard_it_names(site: AppSite, tmp_path: Path):
    with site.store.read() as session:
        card = session.scalar(select(ScorecardRow).where(ScorecardRow.call_id == "refund"))
    assert card is not None
    take(site, write(tmp_path / "v.jsonl", {**GOOD, "scorecard": card.fingerprint}))
    with site.store.read() as session:
        assert session.scalar(select(Row.scorecard_id)) == card.id


BAD = [
    ("event", None, "missing"),
    ("event", "", "1 to 64"),
    ("event", "x" * 65, "1 to 64"),
    ("at", "yesterday", "ISO 8601"),
    ("at", "2026-03-03T10:00:00", "time zone"),
    ("who", 7, "a text"),
    ("role", "boss", "inspector, lead"),
    ("call", "nowhere", "there is no call nowhere"),
    ("rule", "neg.nothing", "there is no rule"),
    ("verdict", "maybe", "right, wrong"),
    ("outcome", "ok", "pass, fail"),
    ("finding", "sure", "confirmed"),
    ("turn", 99, "index of a turn"),
    ("end_char", 2, "after 2"),
    ("end_char", 999, "after 2"),
    ("sampling_probability", 0, "above 0"),
    ("sampling_probability", 1.5, "0 to 1"),
    ("scorecard", "abc", "no scorecard"),
    ("format", 2, "format 1"),
    ("comment", "x", "unknown field"),
    ("seen", [], "an object"),
]


@pytest.mark.parametrize(("field", "value", "told"), BAD)
def test_a_fault_names_line_field_and_remedy_and_nothing_is_stored(site: AppSite, tmp_path: Path, field, value, told):
    line = {**GOOD, "event": "e2", field: value}
    if value is None:
        del line[field]
    file = write(tmp_path / "v.jsonl", GOOD, line)
    if value == []:
        line["seen"] = "x"
        file = write(tmp_path / "v.jsonl", GOOD, line)
    with in_language("en"), pytest.raises(VerdictFileError) as caught:
        take(site, file)
    assert str(caught.value).startswith(f"v.jsonl:2: {field}: ")
    assert told in str(caught.value)
    assert count(site) == 0


def test_all_faults_are_told_at_once(site: AppSite, tmp_path: Path):
    file = write(tmp_path / "v.jsonl", {**GOOD, "role": "x"}, "{", {**GOOD, "verdict": "missed", "turn": None, "start_char": None, "end_char": None}, [])
    with in_language("en"), pytest.raises(VerdictFileError) as caught:
        take(site, file)
    assert [line.split(":")[1] for line in str(caught.value).splitlines()] == ["1", "2", "3", "4"]


def test_an_event_is_never_another_verdict(site: AppSite, tmp_path: Path):
    take(site, write(tmp_path / "a.jsonl", GOOD))
    for other in ({**GOOD, "verdict": "wrong"}, {**GOOD, "who": "li"}):
        with pytest.raises(VerdictFileError, match="e1"):
            take(site, write(tmp_path / "b.jsonl", other))
    with pytest.raises(VerdictFileError, match=":2: event"):
        take(site, write(tmp_path / "c.jsonl", {**GOOD, "event": "n"}, {**GOOD, "event": "n"}))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**6) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppSite]:
    made = build(tmp_path_factory.mktemp("still"))
    yield made
    made.store.close()


@given(changes=st.dictionaries(st.sampled_from([*GOOD, "start", "end", "seen", "scorecard"]), json_values, max_size=3))
def test_whatever_a_line_holds_it_is_taken_or_told(still: AppSite, changes):
    file = still.folder / "fuzz.jsonl"
    write(file, {**GOOD, **changes})
    try:
        added = take(still, file, dry_run=True).added
    except VerdictFileError as error:
        told = str(error)
    else:
        told = f"fuzz.jsonl:1 {added}"
        assert added == 1
    assert "fuzz.jsonl:1" in told


# --- random audit ---------------------------------------------------------------------------------------------


def test_an_audit_draws_items_without_a_claim_and_the_same_seed_draws_the_same(site: AppSite):
    present = [rule.id for rule in site.desk.pack.rules if rule.expect is Expect.PRESENT]
    everything = [json.loads(line) for line in draw_audit(site.store, "all", 1, 1, present)]
    assert {line["outcome"] for line in everything} == {Outcome.PASS.value}
    with site.store.read() as session:
        passed = session.scalar(
            select(func.count()).select_from(ItemRow).where(ItemRow.outcome == "pass")
        )
        suspected = session.scalar(
            select(func.count()).select_from(FindingRow).where(FindingRow.status == "suspected", FindingRow.rule.not_in(present))
        )
    assert passed is not None
    assert len(everything) >= passed - (suspected or 0) > 20
    half = [list(draw_audit(site.store, "half", 0.5, seed, present)) for seed in (1, 1, 2)]
    assert half[0] == half[1] != half[2]
    assert 0.3 < len(half[0]) / len(everything) < 0.7


def test_a_completed_draw_is_imported(site: AppSite, tmp_path: Path):
    drawn = [json.loads(line) for line in draw_audit(site.store, "W10", 0.5, 3, [])][:5]
    done = [
        {**line, "event": f"a{n}", "at": "2026-03-04T09:00:00+08:00", "who": "wang", "role": "inspector", "verdict": "right"}
        for n, line in enumerate(drawn)
    ]
    assert take(site, write(tmp_path / "v.jsonl", *done)).added == 5
    with site.store.read() as session:
        rows = session.scalars(select(Row)).all()
    assert {(row.sample, row.sampling_probability, row.source) for row in rows} == {("W10", 0.5, "import")}
    assert all(row.scorecard_id for row in rows)
    assert Verdict.RIGHT in {row.verdict for row in rows}


# --- reviews that come in with them ---------------------------------------------------------------------------


def faults_of(site: AppSite, call_id: str, *, whole: bool = False) -> list[dict]:
    """Lines that judge every fault and all that is suspected on a call, each finding by itself or each item as a whole."""
    with site.store.read() as session:
        card = load_scorecard(session, call_id)
    lines = []
    for item in card.items:
        found = [
            one.finding for one in item.findings
            if one.finding.status is FindingStatus.SUSPECTED or (one.finding.status is FindingStatus.CONFIRMED and item.outcome is Outcome.FAIL)
        ]  # fmt: skip
        if item.draft or item.outcome not in (Outcome.FAIL, Outcome.PASS) or (item.outcome is Outcome.PASS and not found):
            continue
        line = {key: GOOD[key] for key in ("format", "who", "role", "verdict")}
        line |= {"call": call_id, "rule": item.rule, "outcome": item.outcome.value, "scorecard": card.fingerprint}
        for one in [None] if whole or not found else found:
            event = {**line, "event": f"{call_id} {len(lines)}", "at": f"2026-03-03T10:{len(lines):02d}:00+08:00"}
            if one is not None:
                place = one.evidence[0] if one.evidence else None
                event["finding"] = one.status.value
                if place is not None:
                    named = {"turn": place.turn, "start_char": place.start_char, "end_char": place.end_char, "start": place.start, "end": place.end}
                    event |= {name: value for name, value in named.items() if value is not None}
            lines.append(event)
    return lines


def review_of(site: AppSite, call_id: str) -> tuple[str | None, list[Review]]:
    with site.store.read() as session:
        state = session.scalar(select(Call.review).where(Call.id == call_id))
        return state, list(session.scalars(select(Review).where(Review.call_id == call_id)))


@pytest.mark.parametrize("whole", [True, False])
def test_verdicts_on_all_that_a_review_needs_finish_it(site: AppSite, tmp_path: Path, whole: bool):
    lines = faults_of(site, "refund", whole=whole)
    assert len(lines) > 3
    waiting = ids(site, Identity("i", "i", Role.INSPECTOR), CallFilter())
    assert "refund" in waiting
    done = take(site, write(tmp_path / "a.jsonl", *lines[:-1]))
    assert (done.reviewed, review_of(site, "refund")) == (0, (None, []))
    done = take(site, write(tmp_path / "b.jsonl", lines[-1]))
    state, [review] = review_of(site, "refund")
    assert (done.added, done.reviewed, state) == (1, 1, "done")
    assert (review.who, review.at.isoformat()) == ("wang", f"2026-03-03T02:{len(lines) - 1:02d}:00+00:00")
    assert ids(site, Identity("i", "i", Role.INSPECTOR), CallFilter()) == [call for call in waiting if call != "refund"]
    with site.store.read() as session:
        entry = session.scalars(select(AuditEvent).where(AuditEvent.action == "review imported")).one()
    assert (entry.who, entry.call_id, entry.detail) == ("test", "refund", {"reviewer": "wang"})
    # Once; and the call comes back when the machine judges otherwise, as every reviewed call.
    assert take(site, tmp_path / "b.jsonl").reviewed == 0
    with site.store.write() as session:
        judge_anew(session, session.get_one(Call, "refund"), without="neg.cannot")
    assert review_of(site, "refund")[0] == "changed"


def test_verdicts_that_do_not_cover_a_call_leave_it_waiting(site: AppSite, tmp_path: Path):
    lines = faults_of(site, "refund", whole=True)
    # On what the scorecard no longer says; only a missed fault; withdrawn.
    stale = {**lines[0], "outcome": "pass"}
    missed = {**lines[0], "verdict": "missed", "turn": 0, "start_char": 0, "end_char": 2}
    for number, first in enumerate((stale, missed)):
        some = [{**line, "event": f"{number} {place}"} for place, line in enumerate([first, *lines[1:]])]
        assert take(site, write(tmp_path / f"{number}.jsonl", *some)).reviewed == 0
    withdrawn = {**lines[1], "event": "w", "verdict": "withdrawn", "at": "2026-03-03T11:00:00+08:00"}
    done = take(site, write(tmp_path / "w.jsonl", withdrawn, {**lines[0], "event": "at last", "at": "2026-03-03T11:01:00+08:00"}))
    assert (done.reviewed, review_of(site, "refund")) == (0, (None, []))
    again = {**lines[1], "event": "again", "at": "2026-03-03T11:02:00+08:00"}
    assert take(site, write(tmp_path / "again.jsonl", again)).reviewed == 1


def test_a_call_without_a_fault_is_not_reviewed_by_a_stray_verdict(site: AppSite, tmp_path: Path):
    clean = {key: GOOD[key] for key in ("format", "event", "at", "who", "role", "rule", "verdict")}
    with site.store.write() as session:
        for rule in {line["rule"] for line in faults_of(site, "thanks")}:
            session.execute(update(ItemRow).where(ItemRow.rule == rule).values(outcome="not_applicable"))
    assert take(site, write(tmp_path / "v.jsonl", {**clean, "call": "thanks", "outcome": "pass"})).reviewed == 0
    assert review_of(site, "thanks") == (None, [])


def test_an_audit_drawn_here_and_judged_elsewhere_is_settled(site: AppSite, tmp_path: Path):
    admin = Identity("r", "r", Role.ADMIN)
    draw_into_queue(site.store, admin, site.desk.pack, "W10", Unit.ITEMS, 5, 1, Frame())
    with site.store.read() as session:
        drawn = session.scalars(select(DrawnItem)).all()
    lines = [
        {**{key: GOOD[key] for key in ("format", "at", "who", "role", "verdict")}, "event": f"d{n}", "call": one.call_id,
         "rule": one.rule, "outcome": "pass", "sampling_probability": one.probability, "sample": "W10"}
        for n, one in enumerate(drawn)
    ]  # fmt: skip
    take(site, write(tmp_path / "v.jsonl", *lines[1:]))
    assert [one.open for one in audits(site.store, admin)] == [1]
    assert ids(site, admin, CallFilter(audit=True)) == [drawn[0].call_id]
