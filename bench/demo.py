"""What a night over demo/ found, against what was planted there.

    HUITING_SETTINGS=demo/huiting.toml python bench/demo.py

Every planted fault found? Nothing invented? Files in their states, roles right, character error rate per call.
Writes bench/results/demo.json.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from cer import error_rate
from sqlalchemy import select

from qa.settings import Settings
from qa.store import Store, open_store
from qa.store.schema import Call, NightFile, ScorecardRow, TranscriptRow
from qa.store.scorecards import load_scorecard
from qa.store.transcripts import load_transcript
from speech.types import Role, Transcript

PROJECT = Path(__file__).parents[1]
DEMO = PROJECT / "demo"
RESULTS = Path(__file__).parent / "results/demo.json"
SLACK = 1.0  # seconds by which a finding may miss its planted words: recognised turns have other edges
PARTS = {"ivr", "music", "second_agent"}


@dataclass(slots=True)
class Report:
    """Counts, and every miss by name."""

    found: list[str] = field(default_factory=list)
    suspected: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)
    trapped: list[str] = field(default_factory=list)
    traps: int = 0
    outcomes_right: int = 0
    outcomes_wrong: list[str] = field(default_factory=list)
    not_evaluated: list[str] = field(default_factory=list)
    states_right: list[str] = field(default_factory=list)
    states_wrong: list[str] = field(default_factory=list)
    roles_right: list[str] = field(default_factory=list)
    roles_wrong: list[str] = field(default_factory=list)
    cer: dict[str, dict[str, float]] = field(default_factory=dict)


def planted() -> dict[str, list[dict]]:
    """Planted facts by call."""
    facts: dict[str, list[dict]] = defaultdict(list)
    for line in (DEMO / "planted.jsonl").read_text("utf-8").splitlines():
        fact = json.loads(line)
        facts[fact["call"]].append(fact)
    return facts


def compare(store: Store) -> Report:
    """The stored results of a demo night against the planted facts."""
    report = Report()
    with store.read() as session:
        scored = set(session.scalars(select(ScorecardRow.call_id).where(ScorecardRow.current)))
        heard = set(session.scalars(select(TranscriptRow.call_id).where(TranscriptRow.current)))
        reasons: dict[str, set[str]] = defaultdict(set)
        for line in session.scalars(select(NightFile)):
            # A file of its own may have no call: a duplicate, an unreadable one
            reasons[Path(line.path).stem.split("_")[0]].add(line.reason or "")
            if line.call_id:
                reasons[line.call_id].add(line.reason or "")
        known = set(session.scalars(select(Call.id)))
        for call_id, facts in planted().items():
            transcript = load_transcript(session, call_id) if call_id in heard else None
            states = [fact for fact in facts if fact["kind"] == "state"]
            _states(report, call_id, states, reasons[call_id], transcript)
            if call_id not in scored or transcript is None:
                if any(fact["kind"] != "state" for fact in facts):
                    report.missed.append(f"{call_id}: no scorecard")
                continue
            _card(report, call_id, facts, load_scorecard(session, call_id), transcript)
            _heard(report, call_id, transcript)
        assert known
    return report


def _states(report: Report, call_id: str, facts: list[dict], reasons: set[str], transcript: Transcript | None) -> None:
    signs = {str(sign) for sign in transcript.signs} if transcript else set()
    for fact in facts:
        names = {fact["rule"], *fact.get("also", ())}
        if fact["rule"] in PARTS:
            right = transcript is not None and _has_part(transcript, fact)
        else:
            right = bool(names & (signs | reasons))
        told = f"{call_id} {fact['rule']}" + (f" at {fact['start']:.0f} s" if fact.get("start") is not None else "")
        (report.states_right if right else report.states_wrong).append(told)


def _has_part(transcript: Transcript, fact: dict) -> bool:
    middle = (fact["start"] + fact["end"]) / 2
    if fact["rule"] == "music":
        acoustics = transcript.acoustics
        return acoustics is not None and any(span.start <= middle < span.end for span in acoustics.music)
    turn = next((t for t in transcript.turns if t.span and t.start - SLACK <= middle <= t.end + SLACK), None)
    if turn is None:
        return False
    return turn.role is Role.IVR if fact["rule"] == "ivr" else "#2" in turn.speaker and turn.role is Role.AGENT


def _card(report: Report, call_id: str, facts: list[dict], card, transcript: Transcript) -> None:
    items = {item.rule: item for item in card.items}
    expected = {fact["rule"] for fact in facts if fact["kind"] == "fault"}
    expected |= {rule for fact in facts if fact["kind"] == "fault" for rule in fact.get("also", ())}
    for fact in facts:
        item = items.get(fact["rule"])
        name = f"{call_id} {fact['rule']}: {fact['text'] or fact.get('note', '')}"
        if fact["kind"] == "fault":
            near = [f for f in (item.findings if item else ()) if fact["start"] is None or _near(f, fact, transcript)]
            states = {found.finding.status.value for found in near}
            if item is not None and item.outcome == "fail" and ("confirmed" in states or fact["start"] is None):
                report.found.append(name)
            elif "suspected" in states:
                report.suspected.append(name)
            else:
                report.missed.append(f"{name} ({item.outcome if item else 'no such rule'})")
        elif fact["kind"] == "trap":
            report.traps += 1
            if item and any(f.finding.status == "confirmed" and _near(f, fact, transcript) for f in item.findings):
                report.trapped.append(name)
        elif fact["kind"] in ("pass", "not_applicable"):
            if item is None:
                report.outcomes_wrong.append(f"{name}: no such rule")
            elif item.outcome == fact["kind"]:
                report.outcomes_right += 1
            elif item.outcome == "not_evaluated":
                report.not_evaluated.append(f"{name}: {item.reason}")
            else:
                report.outcomes_wrong.append(f"{name}: {item.outcome} for {fact['kind']}")
    for item in card.items:
        if item.outcome == "fail" and item.rule not in expected and not item.draft:
            claimed = {fact["rule"] for fact in facts if fact["kind"] in ("pass", "not_applicable", "trap")}
            if item.rule in claimed:
                quotes = "; ".join(_quote(found, transcript) for found in item.findings)
                report.invented.append(f"{call_id} {item.rule}: {quotes}")


def _near(found, fact: dict, transcript: Transcript) -> bool:
    if fact["start"] is None:
        return False
    for place in found.finding.evidence:
        start, end = place.start, place.end
        if start is None and place.turn is not None:
            turn = transcript.turns[place.turn]
            start, end = turn.start, turn.end
        if start is not None and end is not None and start < fact["end"] + SLACK and end > fact["start"] - SLACK:
            return True
    return False


def _quote(found, transcript: Transcript) -> str:
    place = found.finding.evidence[0] if found.finding.evidence else None
    if place is None or place.turn is None:
        return found.finding.how
    return transcript.turns[place.turn].text[place.start_char : place.end_char]


def _heard(report: Report, call_id: str, transcript: Transcript) -> None:
    """Character error rate per role, and whether the roles are the right way round."""
    reference = json.loads((DEMO / f"reference/{call_id}.json").read_text("utf-8"))["turns"]
    said = {role: "".join(t["text"] for t in sorted(reference, key=lambda t: t["start"]) if t["role"] == role) for role in ("agent", "customer")}
    heard = {role: "".join(t.text for t in transcript.turns if t.role == role) for role in said}
    report.cer[call_id] = {role: error_rate(said[role], heard[role]) for role in said}
    report.cer[call_id]["all"] = error_rate(
        "".join(t["text"] for t in sorted(reference, key=lambda t: t["start"])), "".join(t.text for t in transcript.turns)
    )
    straight = sum(error_rate(said[role], heard[role]) for role in said)
    crossed = error_rate(said["agent"], heard["customer"]) + error_rate(said["customer"], heard["agent"])
    (report.roles_right if straight < crossed else report.roles_wrong).append(call_id)


def main() -> None:
    settings = Settings.load()
    store = open_store(settings.store_url)
    report = compare(store)
    store.close()
    faults = len(report.found) + len(report.suspected) + len(report.missed)
    print(f"faults: {len(report.found)} of {faults} confirmed, {len(report.suspected)} suspected, {len(report.missed)} missed")
    print(f"traps: {report.traps - len(report.trapped)} of {report.traps} left alone; invented faults: {len(report.invented)}")
    outcomes = report.outcomes_right + len(report.outcomes_wrong) + len(report.not_evaluated)
    print(f"other outcomes: {report.outcomes_right} of {outcomes} as expected, {len(report.not_evaluated)} not evaluated")
    print(f"states: {len(report.states_right)} right, {len(report.states_wrong)} wrong")
    print(f"roles: {len(report.roles_right)} right, {len(report.roles_wrong)} wrong {report.roles_wrong}")
    for name in ("suspected", "missed", "invented", "trapped", "states_wrong", "outcomes_wrong", "not_evaluated"):
        for line in getattr(report, name):
            print(f"  {name}: {line}")
    for call_id, rates in sorted(report.cer.items()):
        print(f"  CER {call_id}: " + "  ".join(f"{role} {rate:.1%}" for role, rate in rates.items()))
    RESULTS.parent.mkdir(exist_ok=True)
    told = {name: getattr(report, name) for name in Report.__slots__}
    told["wrong_by_rule"] = Counter(line.split()[1].rstrip(":") for line in report.outcomes_wrong)
    RESULTS.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
