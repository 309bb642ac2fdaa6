"""The morning summary: what became of every file, and where to look first."""

from __future__ import annotations

from collections import Counter, defaultdict
from statistics import fmean

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from sqlalchemy import select
from sqlalchemy.orm import Session

from qa.file_messages import retell
from qa.messages import current_language, text
from qa.redact import mask_identifier
from qa.rulebook import packs_in_force
from qa.settings import Settings
from qa.states import Outcome, Reason
from qa.store.engine import Store
from qa.store.schema import Call, ItemRow, Measures, Night, NightFile, ScorecardRow, TranscriptRow
from scoring_rules.model import RuleStatus

TOP_ITEMS = 8
TOP_CALLS = 8
LEFT_FILES = 40  # not scored, listed one by one; a night of thousands may have more
# Nothing is the matter with these files: they are counted.
COUNTED = (Reason.ALREADY_DONE, Reason.ALREADY_QUARANTINED, Reason.OUT_OF_TIME, Reason.STOPPED)
LONG_SILENCE = 15.0  # seconds: domain.md §4, serious when unexplained


def print_summary(console: Console, store: Store, night_id: int, settings: Settings) -> None:
    """Print one night's account. Every received file is in exactly one of its numbers."""
    with store.read() as session:
        night = session.get_one(Night, night_id)
        files = list(session.scalars(select(NightFile).where(NightFile.night_id == night_id).order_by(NightFile.path)))
        console.print(Panel(_account(night, files, settings), title=text("summary.title", night=night_id)))
        before = Counter(f.reason for f in files if f.reason in COUNTED)
        if before:
            told = " · ".join(f"{text(f'reason.{reason}')} {before[reason]}" for reason in COUNTED if before[reason])
            console.print(f"{text('summary.counted')}: {told}", style="dim")
        left = [f for f in files if f.outcome not in (Outcome.SCORED, Outcome.PENDING) and f.reason not in COUNTED]
        if left:
            console.print(_left_table(left))
        if len(left) > LEFT_FILES:
            console.print(text("summary.more", count=len(left) - LEFT_FILES), style="dim")
        scored = [f.call_id for f in files if f.outcome == Outcome.SCORED and f.call_id]
        if scored:
            console.print(_first_look(session, scored))
            console.print(_items_table(session, scored, settings))
            console.print(_agents_table(session, scored))


def _account(night: Night, files: list[NightFile], settings: Settings) -> str:
    counted = Counter(f.outcome for f in files)
    parts = [
        f"[{style}]{text(f'outcome.{outcome}')} {counted[outcome]}[/]"
        for outcome, style in (
            (Outcome.SCORED, "bold green"),
            (Outcome.QUARANTINED, "bold yellow"),
            (Outcome.FAILED, "bold red"),
            (Outcome.SKIPPED, "dim"),
        )
    ]
    if counted[Outcome.PENDING]:
        parts.append(f"[bold]{text('outcome.pending')} {counted[Outcome.PENDING]}[/]")
    line = f"{text('summary.received')} [bold]{len(files)}[/] = " + " + ".join(parts)
    began = night.started_at.astimezone(settings.time_zone)
    ended = night.finished_at.astimezone(settings.time_zone) if night.finished_at else None
    when = text("summary.when", began=f"{began:%Y-%m-%d %H:%M}", ended=f"{ended:%H:%M}" if ended else "…")
    return f"{when} · {text(f'night.{night.state}')}\n{line}"


def _left_table(files: list[NightFile]) -> Table:
    table = Table(title=text("summary.left"), title_justify="left")
    for column in ("outcome", "reason", "file", "why"):
        table.add_column(text(f"summary.column_{column}"), overflow="fold")
    worst = (Outcome.FAILED, Outcome.QUARANTINED, Outcome.SKIPPED)
    for f in sorted(files, key=lambda f: (worst.index(Outcome(f.outcome)), f.reason or "", f.path))[:LEFT_FILES]:
        reason = text(f"reason.{f.reason}") if f.reason else ""
        name = f.path.rsplit("/", 1)[-1]
        why = retell(f.message).removeprefix(f"{name}: ")  # the file has a column of its own
        table.add_row(text(f"outcome.{f.outcome}"), reason, escape(mask_identifier(name)), "" if why == f.reason else escape(why))
    return table


def _cards(session: Session, call_ids: list[str]) -> list[tuple[ScorecardRow, Call]]:
    rows = session.execute(
        select(ScorecardRow, Call)
        .join(Call, Call.id == ScorecardRow.call_id)
        .where(ScorecardRow.current, ScorecardRow.call_id.in_(call_ids))
        .order_by(ScorecardRow.fatal.desc(), ScorecardRow.score)
    )
    return [(card, call) for card, call in rows]


def _first_look(session: Session, call_ids: list[str]) -> Table:
    """The calls a lead opens first: fatal, angry at the end, a long silence, suspected, lowest score."""
    silences = dict(
        session.execute(
            select(TranscriptRow.call_id, Measures.longest_silence)
            .join(Measures, Measures.transcript_id == TranscriptRow.id)
            .where(TranscriptRow.current, TranscriptRow.call_id.in_(call_ids))
        ).all()
    )
    signs = dict(
        session.execute(
            select(TranscriptRow.call_id, TranscriptRow.signs).where(
                TranscriptRow.current, TranscriptRow.call_id.in_(call_ids)
            )
        ).all()
    )
    table = Table(title=text("summary.first_look"), title_justify="left")
    for column in ("call", "agent", "kind", "score", "why"):
        table.add_column(text(f"summary.column_{column}"), overflow="fold")
    for card, call in _cards(session, call_ids)[:TOP_CALLS]:
        why = []
        if card.fatal:
            why.append(f"[bold red]{text('summary.fatal')}[/]")
        if call.end_emotion == "negative":
            why.append(f"[red]{text('summary.angry_end')}[/]")
        if silences.get(call.id, 0.0) >= LONG_SILENCE:
            why.append(text("summary.long_silence", seconds=f"{silences[call.id]:.0f}"))
        if card.suspected:
            why.append(text("summary.suspected", count=card.suspected))
        why += [text(f"reason.{sign}") for sign in signs.get(call.id, ())]
        score = "—" if card.score is None else f"{card.score:.0f}"
        table.add_row(call.id, call.agent or "", call.kind or "", score, " · ".join(why))
    return table


def _items_table(session: Session, call_ids: list[str], settings: Settings) -> Table:
    """The items that failed most, with how often they were judged at all."""
    rules = packs_in_force(settings).rules
    names = {rule.id: rule.name.get(current_language(), rule.id) for rule in rules}
    drafts = {rule.id for rule in rules if rule.status is RuleStatus.DRAFT}
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    rows = session.execute(
        select(ItemRow.rule, ItemRow.outcome)
        .join(ScorecardRow, ScorecardRow.id == ItemRow.scorecard_id)
        .where(ScorecardRow.current, ScorecardRow.call_id.in_(call_ids))
    )
    for rule, outcome in rows:
        if rule not in drafts:
            outcomes[rule][outcome] += 1
    table = Table(title=text("summary.items"), title_justify="left")
    for column in ("item", "failed", "judged"):
        table.add_column(text(f"summary.column_{column}"))
    failed = sorted(outcomes.items(), key=lambda entry: -entry[1]["fail"])
    for rule, counted in failed[:TOP_ITEMS]:
        if counted["fail"]:
            judged = counted["fail"] + counted["pass"]
            table.add_row(f"{names.get(rule, rule)} [dim]{rule}[/]", str(counted["fail"]), str(judged))
    return table


def _agents_table(session: Session, call_ids: list[str]) -> Table:
    scores: dict[tuple[str, str], list[float]] = defaultdict(list)
    fatal: Counter[tuple[str, str]] = Counter()
    for card, call in _cards(session, call_ids):
        key = (call.agent or "—", call.team or "—")
        if card.score is not None:
            scores[key].append(card.score)
        fatal[key] += card.fatal
    table = Table(title=text("summary.agents"), title_justify="left")
    for column in ("agent", "team", "calls", "mean_score", "fatal_calls"):
        table.add_column(text(f"summary.column_{column}"))
    for (agent, team), own in sorted(scores.items(), key=lambda entry: fmean(entry[1])):
        bad = fatal[agent, team]
        table.add_row(agent, team, str(len(own)), f"{fmean(own):.1f}", f"[red]{bad}[/]" if bad else "0")
    return table
