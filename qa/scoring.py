"""Stored transcripts to stored scorecards: the stage that a change of rules runs again, and the only one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from qa import ledger, scorecard
from qa.ledger import Stage, State
from qa.store.engine import Store
from qa.store.queries import remember
from qa.store.schema import Call, LedgerRow
from qa.store.scorecards import save_scorecard
from qa.store.transcripts import current_transcript_id, load_transcript
from scoring_rules.evaluate import Evaluator
from scoring_rules.model import Pack
from speech.emotion import customer_emotion
from speech.types import Transcript

PAGE = 100  # calls read and judged at once


class Scoring:
    """A pack, compiled, and whatever it needs to judge; made once a run."""

    def __init__(
        self, pack: Pack, evaluator: Evaluator, encoder_fingerprint: str = "", version: int | None = None
    ) -> None:
        self._pack = pack
        self._version = version  # of the site's published rules
        self._evaluator = evaluator
        self._encoder_fingerprint = encoder_fingerprint

    def fingerprint(self, session: Session, call_id: str) -> str:
        """What makes this call's scorecard: the rules, the sentence model, what was heard, what is known of it."""
        call = session.get_one(Call, call_id)
        made_of = {
            "pack": self._pack.fingerprint,
            "encoder": self._encoder_fingerprint,
            "transcript": current_transcript_id(session, call_id),
            "attributes": attributes(call),
        }
        return hashlib.sha256(json.dumps(made_of, sort_keys=True, ensure_ascii=False, default=str).encode()).hexdigest()

    def score(self, session: Session, call_id: str, night_id: int | None = None) -> scorecard.Scorecard:
        """Judge a stored call and store the new scorecard; older ones stay."""
        transcript_id = current_transcript_id(session, call_id)
        if transcript_id is None:
            raise KeyError(f"call {call_id} has no transcript to score")
        transcript = load_transcript(session, call_id)
        card = self.card(transcript, attributes(session.get_one(Call, call_id)))
        self.keep(session, card, transcript, transcript_id, night_id)
        return card

    def card(self, transcript: Transcript, known: Mapping[str, object]) -> scorecard.Scorecard:
        """Judge a transcript, with what is `known` of its call, and store nothing."""
        conversation = replace(transcript, attributes={**transcript.attributes, **known})
        return scorecard.build(self._pack, self._evaluator.run(conversation), conversation)

    def cards(self, conversations: Sequence[Transcript]) -> Iterator[scorecard.Scorecard]:
        """Judge many conversations, which hold what is known of their calls; cheaper than one by one. Stores nothing."""
        for conversation, results in zip(conversations, self._evaluator.run_all(conversations), strict=True):
            yield scorecard.build(self._pack, results, conversation)

    def keep(
        self,
        session: Session,
        card: scorecard.Scorecard,
        transcript: Transcript,
        transcript_id: int,
        night_id: int | None = None,
    ) -> None:
        """Store a scorecard as the one in force of its call; `transcript` is the current one."""
        call_id = transcript.id
        save_scorecard(session, call_id, card, transcript_id)
        ledger.finish(session, call_id, Stage.SCORE, self.fingerprint(session, call_id), night_id)
        meaning = {
            "rules": [rule.id for rule in self._pack.rules],
            "encoder": self._encoder_fingerprint,
            "version": self._version,
        }
        remember(session, self._pack.fingerprint, Stage.SCORE, meaning)
        felt = customer_emotion(transcript.turns)
        session.get_one(Call, call_id).end_emotion = felt.end if felt is not None else None


def known_conversation(session: Session, call_id: str) -> Transcript:
    """A call's current transcript with what is known of the call as its attributes. Raises KeyError without one."""
    transcript = load_transcript(session, call_id)
    return replace(transcript, attributes={**transcript.attributes, **attributes(session.get_one(Call, call_id))})


def attributes(call: Call) -> dict[str, object]:
    """A call's metadata as the attributes of its conversation (docs/formats.md)."""
    named = {
        "agent": call.agent,
        "team": call.team,
        "queue": call.queue,
        "direction": call.direction,
        "kind": call.kind,
        "kind_source": call.kind_source,
        "tags": [tag.tag for tag in call.tags] or None,
    }
    return {**call.attributes, **{name: value for name, value in named.items() if value is not None}}


def rescore(
    store: Store,
    scoring: Scoring,
    *,
    everything: bool = False,
    on_total: Callable[[int], None] = lambda total: None,
    on_done: Callable[[str], None] = lambda call_id: None,
) -> int:
    """Score again every heard call whose scorecard these rules would not have made. Returns how many.

    No recording is opened and no speech model loaded. `everything` scores also those that are up to date.
    """
    with store.read() as session:
        heard = session.scalars(
            select(LedgerRow.call_id)
            .where(LedgerRow.stage == Stage.HEAR, LedgerRow.state == State.DONE)
            .order_by(LedgerRow.call_id)
        ).all()
        todo = list(heard) if everything else list(_outdated(session, scoring, heard))
    on_total(len(todo))
    for at in range(0, len(todo), PAGE):
        with store.read() as session:
            page = [(current_transcript_id(session, call_id), known_conversation(session, call_id)) for call_id in todo[at : at + PAGE]]
        cards = scoring.cards([conversation for _, conversation in page])
        for (transcript_id, conversation), card in zip(page, cards, strict=True):
            with store.write() as session:
                if transcript_id is not None and transcript_id == current_transcript_id(session, conversation.id):
                    scoring.keep(session, card, conversation, transcript_id)
                else:  # heard or corrected in the meantime
                    scoring.score(session, conversation.id)
            on_done(conversation.id)
    return len(todo)


def _outdated(session: Session, scoring: Scoring, call_ids: Iterable[str]) -> Iterable[str]:
    for call_id in call_ids:
        entry = session.get(LedgerRow, (call_id, Stage.SCORE))
        if entry is None or entry.state != State.DONE or entry.fingerprint != scoring.fingerprint(session, call_id):
            yield call_id
