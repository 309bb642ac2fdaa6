"""Whole scorecards in and out of the database. What was saved comes back equal; older ones stay.

Names of rules and dimensions are the pack's: they are kept once for all cards that share them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from qa.scorecard import CardFinding, DimensionScore, Item, Scorecard
from qa.store.figures import Counted, columns_of
from qa.store.queries import remember
from qa.store.reviews import settle_review
from qa.store.schema import Call, FindingRow, Fingerprint, ItemRow, ScorecardRow
from scoring_rules.evaluate import Evidence, Finding
from scoring_rules.model import FindingStatus, Outcome

NAMES_STAGE = "names"  # of the fingerprints table: what rules and dimensions were called


def save_scorecard(session: Session, call_id: str, card: Scorecard, transcript_id: int) -> int:
    """Store a scorecard as the current one of a call. Returns its id."""
    suspected = sum(
        found.finding.status is FindingStatus.SUSPECTED
        for item in card.items
        if not item.draft
        for found in item.findings
    )
    session.execute(
        update(ScorecardRow)
        .where(ScorecardRow.call_id == call_id, ScorecardRow.current)
        .values(current=False)
    )
    row = ScorecardRow(
        call_id=call_id,
        transcript_id=transcript_id,
        current=True,
        score=card.score,
        fatal=card.fatal,
        suspected=suspected,
        fingerprint=card.fingerprint,
        card={
            "names": _remember_names(session, card),
            "passed": card.passed,
            "band": dict(card.band),
            "start": card.start,
            "lost": card.lost,
            "gained": card.gained,
            "versions": dict(card.versions),
            "pack": card.pack,
            "dimensions": [[d.id, d.weight, d.raw, d.lost, d.applicable, d.failed] for d in card.dimensions],
        },
    )
    session.add(row)
    session.flush()
    if card.items:
        session.execute(
            insert(ItemRow), [_item_values(row.id, number, item) for number, item in enumerate(card.items)]
        )
    findings = [_finding_values(row.id, item.rule, found) for item in card.items for found in item.findings]
    if findings:
        session.execute(insert(FindingRow), findings)
    counted = [Counted(item.rule, item.rule_class, item.outcome.value, item.draft) for item in card.items]
    session.execute(
        update(Call)
        .where(Call.id == call_id)
        .values(
            score=card.score, fatal=card.fatal, suspected=suspected, **columns_of(session.connection(), counted)
        )
    )
    settle_review(session, call_id)
    return row.id


def load_scorecard(session: Session, call_id: str, scorecard_id: int | None = None) -> Scorecard:
    """The current scorecard of a call, or an older one by its id. Raises KeyError when there is none."""
    chosen = ScorecardRow.current if scorecard_id is None else ScorecardRow.id == scorecard_id
    row = session.scalar(select(ScorecardRow).where(ScorecardRow.call_id == call_id, chosen))
    if row is None:
        raise KeyError(f"call {call_id} has no scorecard" + (f" {scorecard_id}" if scorecard_id else ""))
    card = row.card
    names = session.get_one(Fingerprint, (card["names"], NAMES_STAGE)).meaning
    findings: dict[str, list[CardFinding]] = {}
    for found in session.execute(
        select(*FindingRow.__table__.columns).where(FindingRow.scorecard_id == row.id).order_by(FindingRow.id)
    ):
        findings.setdefault(found.rule, []).append(_finding(found))
    items = session.execute(
        select(*ItemRow.__table__.columns).where(ItemRow.scorecard_id == row.id).order_by(ItemRow.number)
    )
    return Scorecard(
        call=call_id,
        score=row.score,
        fatal=row.fatal,
        passed=card["passed"],
        band=card["band"],
        items=tuple(_item(item, names["rules"], tuple(findings.get(item.rule, ()))) for item in items),
        dimensions=tuple(
            DimensionScore(id_, names["dimensions"][id_], *rest) for id_, *rest in card["dimensions"]
        ),
        start=card["start"],
        lost=card["lost"],
        gained=card["gained"],
        fingerprint=row.fingerprint,
        versions=card["versions"],
        pack=card.get("pack", ""),
    )


def _remember_names(session: Session, card: Scorecard) -> str:
    names = {
        "rules": {item.rule: dict(item.name) for item in card.items},
        "dimensions": {dimension.id: dict(dimension.name) for dimension in card.dimensions},
    }
    fingerprint = hashlib.sha256(json.dumps(names, sort_keys=True).encode()).hexdigest()
    remember(session, fingerprint, NAMES_STAGE, names)
    return fingerprint


def _item_values(scorecard_id: int, number: int, item: Item) -> dict[str, Any]:
    detail = {
        "gain": item.gain,
        "unevaluated": list(item.unevaluated),
        "draft": item.draft,
        "fatal": item.fatal,
    }
    return {
        "scorecard_id": scorecard_id,
        "rule": item.rule,
        "number": number,
        "dimension": item.dimension,
        "fault_class": item.rule_class,
        "outcome": item.outcome.value,
        "reason": item.reason or None,
        "points": item.cost,
        "detail": {name: value for name, value in detail.items() if value} or None,
    }


def _item(row: Any, names: Mapping[str, Mapping[str, str]], findings: tuple[CardFinding, ...]) -> Item:
    detail = row.detail or {}
    return Item(
        rule=row.rule,
        name=names[row.rule],
        dimension=row.dimension,
        rule_class=row.fault_class,
        outcome=Outcome(row.outcome),
        findings=findings,
        cost=row.points,
        gain=detail.get("gain", 0.0),
        reason=row.reason or "",
        unevaluated=tuple(detail.get("unevaluated", ())),
        draft=detail.get("draft", False),
        fatal=detail.get("fatal", False),
    )


def _finding_values(scorecard_id: int, rule: str, found: CardFinding) -> dict[str, Any]:
    """The first place of a finding in columns, for queries; further places and notes in `detail`."""
    finding = found.finding
    first = finding.evidence[0] if finding.evidence else Evidence()
    detail = {
        "turns": list(first.turns),
        "further": [
            [p.turn, p.start_char, p.end_char, p.start, p.end, list(p.turns)] for p in finding.evidence[1:]
        ],
        "note": finding.note,
        "why": finding.why,
        "covered_by": found.covered_by,
        "nowhere": not finding.evidence,
    }
    return {
        "scorecard_id": scorecard_id,
        "rule": rule,
        "status": finding.status.value,
        "how": finding.how,
        "turn": first.turn,
        "start_char": first.start_char,
        "end_char": first.end_char,
        "start": first.start,
        "end": first.end,
        "detail": {name: value for name, value in detail.items() if value} or None,
    }


def _finding(row: Any) -> CardFinding:
    detail = row.detail or {}
    first = Evidence(
        row.turn, row.start_char, row.end_char, row.start, row.end, tuple(detail.get("turns", ()))
    )
    further = [
        Evidence(turn, start_char, end_char, start, end, tuple(turns))
        for turn, start_char, end_char, start, end, turns in detail.get("further", ())
    ]
    return CardFinding(
        Finding(
            status=FindingStatus(row.status),
            how=row.how,
            evidence=() if detail.get("nowhere") else (first, *further),
            note=detail.get("note", ""),
            why=detail.get("why", ""),
        ),
        covered_by=detail.get("covered_by", ""),
    )
