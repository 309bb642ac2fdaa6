"""`huiting show | export | settings`: what is stored and what is in force, for people to read."""

from __future__ import annotations

import getpass
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from qa.commands.setup import load_settings, opened
from qa.exit_codes import Exit
from qa.file_messages import retell
from qa.messages import current_language, text
from qa.settings import Settings
from qa.store.engine import Store
from scoring_rules.messages import message
from speech.types import Transcript

STYLE = {"pass": "green", "fail": "bold red", "not_applicable": "dim", "not_evaluated": "yellow"}
STATUS_STYLE = {"confirmed": "red", "suspected": "yellow", "mitigated": "green"}
ROOM_BESIDE = 36  # columns for outcome, points and the frame of the table of items


def show_command(path: Path | None, call_id: str, with_transcript: bool, unmasked: bool) -> Exit:
    settings = load_settings(path)
    console = Console()
    with opened(settings) as store:
        if unmasked:
            from qa.store.queries import audit

            with store.write() as session:
                audit(session, getpass.getuser(), "unmask", call_id, command="show")
        found = print_call(console, store, settings, call_id, with_transcript=with_transcript, unmasked=unmasked)
    return Exit.OK if found else Exit.USAGE


def print_call(
    console: Console, store: Store, settings: Settings, call_id: str, *, with_transcript: bool, unmasked: bool
) -> bool:
    """Print a call's scorecard with its evidence; False where there is no such call."""
    from qa.redact import mask_turns
    from qa.store.schema import Call, LedgerRow
    from qa.store.scorecards import load_scorecard
    from qa.store.transcripts import load_transcript

    with store.read() as session:
        call = session.get(Call, call_id)
        if call is None:
            console.print(text("show.unknown", call=call_id), style="red")
            return False
        try:
            card = load_scorecard(session, call_id)
        except KeyError:
            for stage in ("hear", "score"):
                row = session.get(LedgerRow, (call_id, stage))
                if row is not None:
                    reason = text(f"reason.{row.reason}") if row.reason else ""
                    told = (text(f"state.{row.state}"), reason, retell(row.message))
                    console.print(text("show.no_card", call=call_id, state=told[0], reason=told[1], message=told[2]))
            return True
        transcript = load_transcript(session, call_id)
    texts = [turn.text for turn in transcript.turns]
    shown = texts if unmasked else mask_turns(texts)  # as long as the texts, place by place
    console.print(Panel(_head(call, card, transcript, settings), title=text("show.title", call=call_id)))
    telling, plain = _parted(card)
    console.print(_items(console, telling, transcript, shown))
    for outcome, items in plain.items():
        names = "  ".join(f"{_name(item)} [dim]{item.rule}[/]" for item in items)
        console.print(f"[{STYLE[outcome]}]{text(f'item.{outcome}')} {len(items)}[/]: {names}")
    for line in card.explain(current_language()):
        console.print(f"  {escape(line)}")
    if with_transcript:
        console.print(f"\n[bold]{text('show.transcript')}[/]")
        for number, (turn, said) in enumerate(zip(transcript.turns, shown, strict=True)):
            when = "" if turn.start is None else f"{_clock(turn.start)} "
            marks = f" [yellow]({', '.join(turn.marks)})[/]" if turn.marks else ""
            feeling = f" [magenta]{turn.emotion.label}[/]" if turn.emotion and turn.emotion.label != "neutral" else ""
            role = text(f"role.{turn.role}") if turn.role else turn.speaker
            console.print(f"[dim]{number:>3} {when}[/][bold]{role}[/] {escape(said)}{marks}{feeling}")
    if not unmasked:
        console.print(text("show.masked"), style="dim")
    made = " ".join(f"{stage} {print_[:12]}" for stage, print_ in transcript.fingerprints.items())
    versions = " ".join(f"{pack} {version}" for pack, version in card.versions.items())
    console.print(f"{text('show.made_by')}: {made} · {versions} · {card.fingerprint}", style="dim")
    return True


def _head(call, card, transcript: Transcript, settings: Settings) -> str:
    score = "—" if card.score is None else f"{card.score:.0f}"
    band = "" if card.fatal else card.band.get(current_language(), "")  # nothing excellent about a fatal error
    fatal = f" [bold red]{text('summary.fatal')}[/]" if card.fatal else ""
    when = f"{call.started_at.astimezone(settings.time_zone):%Y-%m-%d %H:%M}" if call.started_at else ""
    facts = [call.agent, call.team, call.queue, call.kind, when, _clock(transcript.duration or 0)]
    roles = ", ".join(
        f"{speaker} {text(f'role.{guess.role}')} {guess.confidence:.0%}" for speaker, guess in transcript.roles.items()
    )
    lines = [f"[bold]{score}[/] {band}{fatal}", " · ".join(fact for fact in facts if fact), f"{text('show.roles')}: {roles}"]
    if transcript.signs:
        lines.append(f"{text('show.marks')}: " + ", ".join(text(f"reason.{sign}") for sign in transcript.signs))
    if call.end_emotion:
        lines.append(f"{text('show.emotion')}: {text(f'emotion.{call.end_emotion}')}")
    return "\n".join(lines)


def _parted(card) -> tuple[list, dict[str, list]]:
    """The items that have something to show, in the order of their dimensions, and the others by outcome."""
    order = {dimension.id: place for place, dimension in enumerate(card.dimensions)}
    telling: list = []
    plain: dict[str, list] = {"pass": [], "not_applicable": []}
    for item in sorted(card.items, key=lambda item: order.get(item.dimension, len(order))):
        if item.draft:
            continue
        alone = not item.findings and not item.cost and not item.gain and item.outcome.value in plain
        (plain[item.outcome.value] if alone else telling).append(item)
    return telling, {outcome: items for outcome, items in plain.items() if items}


def _name(item) -> str:
    return item.name.get(current_language(), item.rule)


def _items(console: Console, items: list, transcript: Transcript, texts: list[str]) -> Table:
    table = Table(show_lines=False, expand=True)
    longest = max((len(item.rule) for item in items), default=0)
    for column in ("item", "outcome", "points", "evidence"):
        # Where there is room, a rule's id stands on one line, to be copied.
        least = longest if column == "item" and console.width >= 2 * longest + ROOM_BESIDE else None
        ratio = {"item": 3, "evidence": 6}.get(column)
        table.add_column(text(f"show.column_{column}"), overflow="fold", ratio=ratio, min_width=least)
    for item in items:
        outcome = f"[{STYLE[item.outcome.value]}]{text(f'item.{item.outcome.value}')}[/]"
        if item.fatal and item.outcome.value == "fail":
            outcome = f"[bold red]{text('summary.fatal')}[/]"
        reason = f" [dim]{message(f'reason.{item.reason}', current_language())}[/]" if item.reason else ""
        points = f"−{item.cost:g}" if item.cost else f"+{item.gain:g}" if item.gain else ""
        evidence = "\n".join(_evidence(found, transcript, texts) for found in item.findings)
        table.add_row(f"{_name(item)}\n[dim]{item.rule}[/]", outcome + reason, points, evidence)
    return table


def _evidence(found, transcript: Transcript, texts: list[str]) -> str:
    """Where a finding is and what was said there: seconds, turn, and the words in their turn, as they may be shown."""
    finding = found.finding
    style = STATUS_STYLE.get(finding.status.value, "")
    parts = []
    for place in finding.evidence:
        turn = transcript.turns[place.turn] if place.turn is not None and place.turn < len(transcript.turns) else None
        start = place.start if place.start is not None else (turn.start if turn else None)
        when = "" if start is None else f"{_clock(start)} "
        if turn is not None and place.turn is not None and place.start_char is not None and place.end_char is not None:
            said = texts[place.turn]
            quote = said[max(0, place.start_char - 12) : place.end_char + 12]
            parts.append(f"{when}#{place.turn} “{escape(quote)}”")
        elif place.turns:
            parts.append(f"{when}#{place.turns[0]}–{place.turns[-1]}")
        elif place.start is not None and place.end is not None:
            parts.append(f"{when}{place.end - place.start:.1f} s")
        elif turn is not None:
            parts.append(f"{when}#{place.turn}")
    status = f"[{style}]{text(f'finding.{finding.status.value}')}[/] [dim]{message(f'how.{finding.how}', current_language())}[/] "
    covered = f" [dim]({text('show.covered', by=found.covered_by)})[/]" if found.covered_by else ""
    return status + "; ".join(parts) + covered


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def export_command(path: Path | None, out: Path, since: str, until: str, unmasked: bool) -> Exit:
    from qa.export import ExportError, export
    from qa.store.schema import Call

    settings = load_settings(path)
    console = Console()
    try:
        where = []
        if since:
            where.append(Call.started_at >= _day(since, settings))
        if until:
            where.append(Call.started_at < _day(until, settings))
        if since and until and _day(since, settings) >= _day(until, settings):
            raise ExportError(text("export.range", since=since, until=until))
        with opened(settings) as store:
            done = export(
                store, out, who=getpass.getuser(), zone=settings.time_zone, where=where, unmasked=unmasked
            )
    except ExportError as error:
        console.print(str(error), style="red")
        return Exit.USAGE
    console.print(text("export.done", count=done.calls, path=", ".join(str(file) for file in done.files)))
    return Exit.OK


def _day(value: str, settings: Settings) -> datetime:
    from qa.export import ExportError

    try:
        return datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=settings.time_zone)
    except ValueError:
        raise ExportError(text("export.date", value=value)) from None


def settings_command(path: Path | None) -> Exit:
    settings = load_settings(path)
    table = Table()
    for column in ("key", "value", "source"):
        table.add_column(text(f"settings.column_{column}"), overflow="fold")
    for row in settings.provenance():
        table.add_row(row.key, escape(row.value), row.source)
    Console().print(table)
    return Exit.OK
