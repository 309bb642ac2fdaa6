"""What the rules page asks and does; every function asks for the right first."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from qa.access import Identity, Right, require, within_reach
from qa.accuracy import RuleAccuracy, accuracy
from qa.publish import Candidate, calls_between
from qa.replay import FindingChange, Replay, Summary, VerdictChange
from qa.settings import Settings
from qa.store.engine import Store
from qa.store.queries import audit
from scoring_rules.checks import cases_of
from scoring_rules.evaluate import Evaluator
from scoring_rules.explain import UnknownSpeaker, spoken, tried
from scoring_rules.meaning import Encoder
from scoring_rules.model import Pack

MAX_SHOWN = 200  # findings of each kind that a page shows; all are counted


@dataclass(frozen=True, slots=True)
class Replayed:
    """A replay as a page shows it."""

    summary: Summary
    findings: tuple[FindingChange, ...]
    verdicts: tuple[VerdictChange, ...]
    draft: str  # fingerprint of the rules that were replayed


def rule_accuracy(
    store: Store, identity: Identity, pack: Pack, since: datetime | None = None, until: datetime | None = None
) -> list[RuleAccuracy]:
    """Accuracy of each rule by verdicts on the calls within the person's reach. Raises AccessDenied."""
    require(identity, Right.SEE)
    with store.read() as session:
        return accuracy(session, pack, since, until, [within_reach(identity)])


def replayed(
    store: Store,
    identity: Identity,
    found: Candidate,
    encoder: Encoder | None,
    since: datetime | None = None,
    until: datetime | None = None,
    on_total: Callable[[int], None] = lambda total: None,
    on_call: Callable[[str], None] = lambda call_id: None,
) -> Replayed:
    """A draft over the calls within the person's reach; audited, since it shows their words. Raises AccessDenied."""
    require(identity, Right.PUBLISH)
    where = [*calls_between(since, until), within_reach(identity)]
    with store.write() as session:
        audit(session, identity.login, "rules replayed", draft=found.draft.fingerprint, since=str(since) if since else None)
    replay = Replay(store, found.base, found.draft, encoder, where)
    on_total(replay.total())
    findings: list[FindingChange] = []
    verdicts: list[VerdictChange] = []
    kept: dict[str, int] = {}
    for event in replay.events(on_call):
        if isinstance(event, FindingChange):
            kept[event.change] = kept.get(event.change, 0) + 1
            if kept[event.change] <= MAX_SHOWN:
                findings.append(event)
        elif isinstance(event, VerdictChange) and len(verdicts) < MAX_SHOWN:
            verdicts.append(event)
    return Replayed(replay.summary, tuple(findings), tuple(verdicts), found.draft.fingerprint)


def tried_lines(
    pack: Pack,
    encoder: Encoder | None,
    said: str,
    role: str,
    before: Sequence[str],
    after: Sequence[str],
    language: str,
    locale: str,
) -> list[str]:
    """What the rules see in a sentence, line by line: what matched, how, and what held it back."""
    try:
        conversation, turn = spoken(said, role, before, after, language)
    except UnknownSpeaker as error:
        return [error.told(locale)]
    return tried(Evaluator(pack, encoder), conversation, turn, locale)


def checked_examples(pack: Pack, encoder: Encoder | None, rule: str, language: str) -> dict[tuple[str, int], str]:
    """What each example of a rule comes out as, by the file and line where it stands; one that was not run is absent."""
    checked = [
        case.run() for case in cases_of(pack, encoder) if (case.rule.id, case.rule.language) == (rule, language)
    ]
    return {(c.example.origin.file, c.example.origin.line): c.got for c in checked if not c.skipped}


def has_sentence_model(settings: Settings) -> bool:
    """Whether there is a sentence model to be loaded; nothing is loaded to find out."""
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("transformers") is None:
        return False
    from speech.models import locate
    from speech.types import ModelError

    options = settings.speech_options()
    try:
        locate(options.models.sentence, options.models_folder)
    except ModelError:
        return False
    return True
