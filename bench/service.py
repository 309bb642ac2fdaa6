"""How long the service layer takes on a big site (bench/big_site.py): lists, search, a call, verdicts, figures.

    python bench/service.py SITE/huiting.toml [--only WORD] [--rounds N] [--processor] [--out FILE]

Each row is a task a page does; p50 and p95 over different filters, words and calls. `--processor` tells the processor's
time instead, of this process and of its PostgreSQL sessions on this machine (Linux): what others do at the same time
hardly changes it, and where nothing waits for a disk, an idle machine takes no longer. "cold" rows run once, in a process
of their own each, after the database's file was dropped from the system's cache (SQLite, as root).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from sqlalchemy import event, select

from qa.access import Identity, Role
from qa.assignments import claim, release
from qa.call_filter import CallFilter, Sort, View
from qa.call_lists import Site, choices, list_calls, neighbours
from qa.call_view import open_call
from qa.figures import Scope, board
from qa.judging import Judgement, judge
from qa.line_search import LineFilter, search_lines
from qa.morning import night_account, night_files
from qa.my_calls import my_cards, my_weeks
from qa.review import finish
from qa.reviewed import Result, catch_up
from qa.settings import Settings
from qa.store import Store, open_store
from qa.store.figures import FATAL_BITS
from qa.store.schema import Call, ScorecardRow
from qa.store.scorecards import load_scorecard
from qa.verdicts import Verdict
from scoring_rules.load import load_pack
from scoring_rules.model import Outcome

INSPECTOR = Identity("inspector01", "inspector01", Role.INSPECTOR)
LEAD = Identity("lead", "lead", Role.LEAD, teams=("T01", "T02"))
AGENT = Identity("agent", "agent", Role.AGENT, agent="A0101", teams=("T01",))
COMMON_WORDS = ("您好", "谢谢", "请问", "感谢您的来电", "可以")
USUAL_WORDS = ("冰箱", "投诉", "退款", "保修期", "羽绒服")
RARE_WORDS = ("王伟强", "张涓佳", "石家庄", "李子涵", "受理号七")
ONE_CHARACTER = ("您", "王", "卡", "退", "亿")
NO_WORDS = ("量子纠缠", "扎染", "zzz", "鲸鱼", "火山爆发")

Task = tuple[str, Callable[[], object]]


def tasks(store: Store, rounds: int) -> Iterator[tuple[str, list[Callable[[], object]]]]:
    """(name, what to time) of every task."""
    rng = random.Random(11)
    pack = load_pack(("zh",))
    site = Site(pack.scoring.passing, Settings().time_zone)
    with store.read() as session:
        calls = session.execute(
            select(Call.id, Call.agent, Call.team, Call.started_at).order_by(Call.id)
        ).all()
        open_ones = session.scalars(select(Call.id).where(Call.fatal, Call.review.is_(None)).limit(5_000)).all()
    newest = max(call.started_at for call in calls)
    some = [rng.choice(calls) for _ in range(rounds)]
    plain = CallFilter()

    def listed(who: Identity, filters: list[CallFilter]) -> list[Callable[[], object]]:
        return [lambda f=f: list_calls(store, who, f, site) for f in filters]

    def found(who: Identity, words: tuple[str, ...], wanted: Callable[[int], CallFilter]) -> list[Callable[[], object]]:
        return [
            lambda n=n: search_lines(store, who, LineFilter(words=words[n % len(words)]), wanted(n), site)
            for n in range(rounds)
        ]

    whole = CallFilter(view=View.ALL)
    yield "queue, default view", listed(INSPECTOR, [plain] * rounds)
    yield "queue, a lead's teams", listed(LEAD, [plain] * rounds)
    yield "queue, by agent", listed(INSPECTOR, [replace(plain, agent=call.agent) for call in some])
    yield "queue, newest first", listed(INSPECTOR, [replace(plain, sort=Sort.NEWEST)] * rounds)
    yield "queue, everything", listed(INSPECTOR, [replace(whole, sort=Sort.NEWEST)] * rounds)
    yield "queue, a week", listed(
        INSPECTOR,
        [replace(plain, since=c.started_at.date(), until=c.started_at.date() + timedelta(days=7)) for c in some],
    )
    yield "queue, rule failed", listed(INSPECTOR, [replace(whole, rule="closing"), replace(plain, rule="neg.cannot")] * (rounds // 2))
    yield "queue, tag", listed(INSPECTOR, [replace(whole, tag="升级投诉")] * rounds)
    yield "queue, long silence", listed(INSPECTOR, [replace(whole, silent=True)] * rounds)
    yield "queue, common word", listed(INSPECTOR, [replace(plain, words=w) for w in COMMON_WORDS] * (rounds // 5))
    yield "queue, rare word", listed(INSPECTOR, [replace(plain, words=w) for w in RARE_WORDS] * (rounds // 5))
    yield "queue, page 500", listed(INSPECTOR, [plain.at_page(480 + n) for n in range(rounds)])
    yield "queue, mine", listed(INSPECTOR, [replace(plain, view=View.MINE)] * rounds)
    yield "queue, reviewed", listed(INSPECTOR, [replace(plain, view=View.REVIEWED)] * rounds)
    yield "choices of the filter", [lambda: choices(store, INSPECTOR)] * rounds
    yield "neighbours in the default view", [lambda c=c: neighbours(store, INSPECTOR, plain, site, c) for c in rng.choices(open_ones, k=rounds)]
    yield "neighbours in all calls", [lambda c=c: neighbours(store, INSPECTOR, whole, site, c.id) for c in some]

    yield "search, common", found(INSPECTOR, COMMON_WORDS, lambda n: whole)
    yield "search, usual", found(INSPECTOR, USUAL_WORDS, lambda n: whole)
    yield "search, rare", found(INSPECTOR, RARE_WORDS, lambda n: whole)
    yield "search, one character", found(INSPECTOR, ONE_CHARACTER, lambda n: whole)
    yield "search, nothing", found(INSPECTOR, NO_WORDS, lambda n: whole)
    yield "search, two words", found(INSPECTOR, ("冰箱 尾号", "投诉 经理", "保修 三年", "您好 冰箱"), lambda n: whole)
    yield "search, common in a lead's teams", found(LEAD, COMMON_WORDS, lambda n: whole)
    yield "search, common by agent", found(INSPECTOR, COMMON_WORDS, lambda n: replace(whole, agent=some[n].agent))
    yield "search, common in an old week", found(
        INSPECTOR, COMMON_WORDS,
        lambda n: replace(whole, since=some[n].started_at.date(), until=some[n].started_at.date() + timedelta(days=7)),
    )  # fmt: skip
    yield "search, common, an agent's own", found(AGENT, COMMON_WORDS, lambda n: whole)
    yield "search, usual, fatal and angry", found(INSPECTOR, USUAL_WORDS, lambda n: replace(whole, fatal=True, angry=True))
    yield "search, by rule", [
        lambda r=r: search_lines(store, INSPECTOR, LineFilter(rule=r), whole, site)
        for r in ("neg.cannot", "closing", "opening", "conduct.impatient_or_rude") * (rounds // 4)
    ]
    yield "search, angry customers", [lambda: search_lines(store, INSPECTOR, LineFilter(emotion="angry", speaker="customer"), whole, site)] * rounds
    yield "search, angry, by agent", [lambda c=c: search_lines(store, INSPECTOR, LineFilter(emotion="angry"), replace(whole, agent=c.agent), site) for c in some]

    yield "call opened", [lambda c=c: open_call(store, INSPECTOR, c.id) for c in some]
    yield "call of 3,000 turns opened", [lambda: open_call(store, INSPECTOR, "long-3000")] * 5
    yield "verdict saved", _verdicts(store, rng.sample(open_ones, rounds))
    yield "verdict saved, 3,000 turns", _verdicts(store, ["long-3000"] * 5)
    yield "claim", [lambda c=c: claim(store, INSPECTOR, c) for c in open_ones[:rounds]]
    yield "release", [lambda c=c: release(store, INSPECTOR, c) for c in open_ones[:rounds]]
    yield "finish", [lambda c=c: finish(store, INSPECTOR, c, _card(store, c)) for c in open_ones[-rounds:]]
    yield "last night's account", [lambda: night_account(store, INSPECTOR, site.passing)] * rounds
    yield "a night's files", [lambda n=n: night_files(store, INSPECTOR, n + 1, None, 1) for n in range(rounds)]
    yield "board, a year", [lambda: board(store, INSPECTOR, Scope(), site)] * max(3, rounds // 4)
    reviewed = Scope(result=Result.REVIEWED)
    catch_up(store, load_pack())  # what is stale is reckoned once, behind the pages
    yield "board, a year, reviewed", [lambda: board(store, INSPECTOR, reviewed, site)] * max(3, rounds // 4)
    yield "queue, fatal class", listed(INSPECTOR, [replace(whole, fatal_class=name) for name in FATAL_BITS] * (rounds // 3))
    yield "board, a month", [lambda: board(store, INSPECTOR, Scope(since=(newest - timedelta(days=30)).date()), site)] * rounds
    yield "my calls", [lambda: my_cards(store, AGENT, pack)] * rounds
    yield "my weeks", [lambda: my_weeks(store, AGENT, site)] * rounds


def _card(store: Store, call_id: str) -> int:
    with store.read() as session:
        return session.scalars(select(ScorecardRow.id).where(ScorecardRow.call_id == call_id, ScorecardRow.current)).one()


def _verdicts(store: Store, call_ids: list[str]) -> list[Callable[[], object]]:
    made = []
    with store.read() as session:
        for call_id in call_ids:
            items = load_scorecard(session, call_id).items
            item = next((i for i in items if i.outcome is Outcome.FAIL and i.findings), items[0])
            given = Judgement(call_id, _card(store, call_id), item.rule, Verdict.RIGHT)
            made.append(lambda g=given: judge(store, INSPECTOR, g))
    return made


def percentile(times: list[float], share: float) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def timed(task: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    began = clock()
    task()
    return (clock() - began) * 1_000


def processor_clock(store: Store) -> Callable[[], float]:
    """Seconds of processor time of this process and, from now on, of its PostgreSQL sessions."""
    sessions: set[int] = set()
    if store.dialect == "postgresql":
        event.listen(store.engine, "checkout", lambda raw, record, proxy: sessions.add(raw.info.backend_pid))

    def clock() -> float:
        used = (int(Path(f"/proc/{pid}/schedstat").read_text("ascii").split()[0]) for pid in sessions)
        return time.process_time() + sum(used) / 1e9

    return clock


def cold(settings_file: Path) -> dict[str, float]:
    """First tasks of a fresh process on a cold file, in ms. SQLite only, and only where the cache may be dropped."""
    found = {}
    for name in ("queue, default view", "search, common by agent", "search, common in an old week", "search, rare", "call opened"):
        try:
            os.sync()
            Path("/proc/sys/vm/drop_caches").write_text("3")
        except OSError:
            return {}
        command = [sys.executable, __file__, str(settings_file), "--only", name, "--rounds", "5", "--first"]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        found[name] = float(ran.stdout.strip())
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", type=Path)
    parser.add_argument("--only", default="", help="only tasks whose names hold this")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--processor", action="store_true", help="processor time instead of the clock's")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--cold", action="store_true", help="also first tasks on a cold file (drops the system's cache)")
    parser.add_argument("--first", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    store = open_store(Settings.load(options.settings, env={}).store_url)
    clock = processor_clock(store) if options.processor else time.perf_counter
    results = {}
    for name, todo in tasks(store, options.rounds):
        if options.only not in name:
            continue
        if options.first:
            print(timed(todo[0]))
            return 0
        times = [timed(task, clock) for task in todo]
        results[name] = {"p50": percentile(times, 0.5), "p95": percentile(times, 0.95), "first": times[0], "n": len(times)}
        print(f"{name:36s} p50 {results[name]['p50']:8.1f}  p95 {results[name]['p95']:8.1f}  first {times[0]:8.1f} ms", flush=True)
    store.close()
    if options.cold:
        for name, spent in cold(options.settings).items():
            results[f"cold: {name}"] = {"first": spent}
            print(f"cold: {name:30s} {spent:8.1f} ms", flush=True)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
