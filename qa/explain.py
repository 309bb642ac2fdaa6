"""`huiting rules explain`: one item of one call, with every hit that was considered; a stored call or one of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from qa.messages import current_language
from qa.redact import mask_transcript
from qa.settings import Settings
from scoring_rules.evaluate import Evaluator
from scoring_rules.explain import explained
from scoring_rules.load import load_pack
from scoring_rules.meaning import Encoder
from speech.types import Transcript


def explain_lines(
    settings: Settings,
    call: str,
    item: str,
    file: Path | None,
    overlays: Sequence[Path],
    encoder: Encoder | None,
    unmasked: bool,
) -> list[str] | None:
    """What the rule made of the call, line by line; None where there is no such call, or no such rule for it."""
    transcript = _stored(settings, call, unmasked) if file is None else _in_file(file, call)
    if transcript is None:
        return None
    pack = load_pack(settings.rules.languages, overlays, slots=settings.rules.slots)
    rule = next((rule for rule in pack.rules if rule.id == item and transcript.language.startswith(rule.language)), None)
    if rule is None:
        return None
    results, considered = Evaluator(pack, encoder).trace(transcript)
    result = next((result for result in results if result.rule == item), None)
    if result is None:
        return None
    shown = transcript if unmasked else mask_transcript(transcript)
    mine = [one for one in considered if one.rule == item]
    return explained(rule, result, mine, shown, pack, current_language())


def _in_file(path: Path, call: str) -> Transcript | None:
    from qa.transcripts import completed, read_transcripts

    with path.open("rb") as file:
        return next((completed(found) for found in read_transcripts(file, str(path)) if found.id == call), None)


def _stored(settings: Settings, call: str, unmasked: bool) -> Transcript | None:
    from qa.commands.setup import opened
    from qa.scoring import attributes
    from qa.store.queries import audit
    from qa.store.schema import Call
    from qa.store.transcripts import current_transcript_id, load_transcript

    with opened(settings) as store, store.write() as session:
        row = session.get(Call, call)
        if row is None or current_transcript_id(session, call) is None:
            return None
        if unmasked:
            audit(session, "command line", "explain unmasked", call)
        found = load_transcript(session, call)
        return replace(found, attributes={**found.attributes, **attributes(row)})
