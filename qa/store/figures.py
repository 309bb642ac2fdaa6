"""What the board counts of a call, kept on the call itself, so that 100,000 calls are counted in one pass.

Non-fatal items give `errors` and `opportunities`, fatal ones the bits of `fatal_classes`. `outcomes` holds one letter
an item, in the order that the layout names: calls with the same letters are counted together, however many there are.
Drafts are no part of any figure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from qa.store.schema import Call, ItemLayout, ItemRow, ScorecardRow

PASS, FAIL, NOT_APPLICABLE, NOT_EVALUATED = "P", "F", "-", "?"
LETTERS = {"pass": PASS, "fail": FAIL, "not_applicable": NOT_APPLICABLE, "not_evaluated": NOT_EVALUATED}
NON_FATAL = "non-fatal"
FATAL_BITS = {"customer-critical": 1, "business-critical": 2, "compliance-critical": 4}
BATCH_CALLS = 1_000


class Counted(NamedTuple):
    """An item as the figures see it."""

    rule: str
    fault_class: str
    outcome: str
    draft: bool


def columns_of(connection: Connection, items: Iterable[Counted]) -> dict[str, Any]:
    """The figures of one call, as values of its columns."""
    counted = [item for item in items if not item.draft]
    judged = [item for item in counted if item.fault_class == NON_FATAL and item.outcome in ("pass", "fail")]
    failed = {item.fault_class for item in counted if item.outcome == "fail"}
    return {
        "errors": sum(item.outcome == "fail" for item in judged),
        "opportunities": len(judged),
        "fatal_classes": sum(bit for name, bit in FATAL_BITS.items() if name in failed),
        "layout_id": _layout(connection, [[item.rule, item.fault_class] for item in counted]),
        "outcomes": "".join(LETTERS[item.outcome] for item in counted),
    }


def _layout(connection: Connection, items: list[list[str]]) -> int:
    """The number of an order of items, new where it was never seen."""
    fingerprint = hashlib.sha256(json.dumps(items).encode()).hexdigest()
    wanted = select(ItemLayout.id).where(ItemLayout.fingerprint == fingerprint)
    known = connection.scalar(wanted)
    if known is None:
        insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
        connection.execute(
            insert(ItemLayout).values(fingerprint=fingerprint, items=items).on_conflict_do_nothing()
        )
        known = connection.scalar(wanted)
    assert known is not None
    return known


def recount(connection: Connection) -> int:
    """Count calls again whose scorecards were stored without their figures. Returns how many."""
    items, cards = ItemRow.__table__.c, ScorecardRow.__table__.c
    rows = connection.execute(
        select(cards.call_id, items.rule, items.fault_class, items.outcome, items.detail)
        .join_from(ScorecardRow.__table__, ItemRow.__table__, items.scorecard_id == cards.id)
        .join(Call.__table__, Call.__table__.c.id == cards.call_id)
        .where(cards.current, Call.__table__.c.outcomes.is_(None))
        .order_by(cards.call_id, items.number)
        .execution_options(yield_per=20_000)
    )
    found: list[dict[str, Any]] = []
    for call_id, of_call in groupby(rows, key=lambda row: row.call_id):
        counted = [
            Counted(row.rule, row.fault_class, row.outcome, bool(row.detail and row.detail.get("draft")))
            for row in of_call
        ]
        found.append({"of_call": call_id, **columns_of(connection, counted)})
    if found:
        columns = {name: bindparam(name) for name in found[0] if name != "of_call"}
        statement = update(Call).where(Call.id == bindparam("of_call")).values(columns)
        for first in range(0, len(found), BATCH_CALLS):
            connection.execute(statement, found[first : first + BATCH_CALLS])
    return len(found)
