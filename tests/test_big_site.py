"""The generator of a year of calls: its rows are those that the product's own code writes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from qa import accounts, scorecard
from qa.scoring import attributes
from qa.store import Store
from qa.store.accounts import Verdict
from qa.store.schema import Call, NightFile, ScorecardRow, TurnRow, now
from qa.store.scorecards import load_scorecard
from qa.store.search import search
from qa.store.transcripts import load_transcript, save_transcript
from scoring_rules.evaluate import Evaluator
from scoring_rules.load import load_pack

CALLS, TURNS, LONG = 40, 900, 60
OTHERWISE = 0.04  # of the items of a copy may come out otherwise: trained heads read the goods and towns that copies change


@pytest.fixture
def site(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "bench")
    monkeypatch.setattr(accounts, "SCRYPT_N", 2**8)
    import big_site

    store = big_site.build(
        tmp_path / "site", database, calls=CALLS, turns=TURNS, days=5, dialogues=12, long_turns=LONG
    )
    yield store
    store.close()
    for name in ("big_site", "site_dialogues"):
        sys.modules.pop(name, None)


def test_the_copies_are_what_the_real_code_writes(site: Store):
    pack = load_pack(("zh",))
    evaluator = Evaluator(pack)
    changed = items = 0
    with site.read() as session:
        ids = session.scalars(sa.select(Call.id)).all()
        assert len(ids) == CALLS
        assert session.scalar(sa.select(sa.func.count()).select_from(TurnRow)) == TURNS
        for call_id in ids[:10]:
            call = session.get_one(Call, call_id)
            heard = load_transcript(session, call_id)
            conversation = replace(heard, attributes={**heard.attributes, **attributes(call)})
            again = scorecard.build(pack, evaluator.run(conversation), conversation)
            stored = load_scorecard(session, call_id)
            other = [
                (one, two)
                for one, two in zip(again.items, stored.items, strict=True)
                if (one.rule, one.outcome, one.findings) != (two.rule, two.outcome, two.findings)
            ]
            # Copies have other towns and numbers; trained heads read them, and may change their mind.
            changed += len(other)
            items += len(again.items)
            assert (stored.score, stored.fatal) == (call.score, call.fatal)
            assert other or (again.score, again.fatal) == (stored.score, stored.fatal)
        assert changed <= OTHERWISE * items, f"{changed} of {items}"
        turn, words = session.execute(
            sa.select(TurnRow.id, TurnRow.text).where(TurnRow.text.contains("订单尾号")).limit(1)
        ).one()
        assert turn in [match.turn_id for match in search(session, words, limit=50)]
        scored = session.scalar(sa.select(sa.func.count()).select_from(NightFile).where(NightFile.outcome == "scored"))
        assert scored == CALLS


def test_the_site_can_be_worked_on(site: Store):
    """Keys go on where the generator stopped, and what was indexed can be taken out."""
    with site.write() as session:
        call_id = session.scalars(sa.select(Call.id)).first()
        assert call_id is not None
        heard = load_transcript(session, call_id)
        save_transcript(session, call_id, heard)
        card = session.scalars(sa.select(ScorecardRow.id).where(ScorecardRow.call_id == call_id)).one()
        session.add(
            Verdict(who="x", role="inspector", call_id=call_id, scorecard_id=card, rule="r", verdict="right",
                    outcome="fail", seen={}, at=now())
        )  # fmt: skip
        session.flush()
        words = next(turn.text for turn in heard.turns if len(turn.text) > 6)
        places = [(match.call_id, match.turn) for match in search(session, words, limit=2_000)]
        assert len(places) == len(set(places))
        assert call_id in {place[0] for place in places}
