"""Many inspectors at once: each claims calls, judges items, and finishes; then everything is counted.

    python bench/inspectors.py SITE/huiting.toml [--inspectors N] [--calls N] [--browser [--pause S]] [--out FILE]

Every inspector is a process of its own that works through the service layer, as the app's server does for a person; with
`--browser`, a signed-in profile in chromium that works by keys in the running app (bench/inspectors_app.py). What was saved is counted in the database by the ids that the inspectors gave: nothing may be lost, nothing saved twice, and
no error but "somebody else has it".
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from uuid import uuid4

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from qa.access import Identity, Role
from qa.assignments import Held, claim, claim_next, release
from qa.call_filter import CallFilter
from qa.call_lists import Site, list_calls
from qa.judging import JudgedMeanwhile, Judgement, judge
from qa.review import Conflict, finish
from qa.settings import Settings
from qa.store import open_store
from qa.store.accounts import Review
from qa.store.accounts import Verdict as VerdictRow
from qa.store.schema import Call, ScorecardRow
from qa.store.scorecards import load_scorecard
from qa.verdicts import Verdict

PASSING = 80.0
VERDICTS_A_CALL = 4
TARGET_MS = 300


@dataclass
class Worked:
    """What one inspector did."""

    login: str
    asked: int = 0  # verdicts
    events: list[str] = field(default_factory=list)  # ids of those that were answered as saved
    finished: list[str] = field(default_factory=list)
    held: int = 0  # somebody else had the call in hand
    errors: list[str] = field(default_factory=list)
    verdict_ms: list[float] = field(default_factory=list)


def work(database: str, number: int, calls: int) -> Worked:
    """One inspector's day: take the next waiting call, judge its faults, finish it; now and then one that is taken."""
    rng = random.Random(number)
    login = f"inspector{number:02d}"
    identity = Identity(login, login, Role.INSPECTOR)
    store = open_store(database)
    site = Site(PASSING, Settings().time_zone)
    done = Worked(login)
    try:
        for _ in range(calls):
            call_id = _take(store, identity, site, rng, done)
            if call_id is None:
                break
            with store.read() as session:
                card = session.scalars(
                    select(ScorecardRow.id).where(ScorecardRow.call_id == call_id, ScorecardRow.current)
                ).one()
                items = load_scorecard(session, call_id).items
            for item in rng.sample(items, min(VERDICTS_A_CALL, len(items))):
                event = uuid4().hex
                verdict = rng.choice((Verdict.RIGHT, Verdict.WRONG, Verdict.NOT_APPLICABLE))
                done.asked += 1
                began = time.perf_counter()
                judge(store, identity, Judgement(call_id, card, item.rule, verdict, event_id=event))
                done.verdict_ms.append((time.perf_counter() - began) * 1_000)
                done.events.append(event)
            finish(store, identity, call_id, card)
            done.finished.append(call_id)
            release(store, identity, call_id)
    except (SQLAlchemyError, PermissionError, LookupError, Conflict, JudgedMeanwhile) as error:
        done.errors.append(f"{type(error).__name__}: {error}")
    finally:
        store.close()
    return done


def _take(store, identity: Identity, site: Site, rng: random.Random, done: Worked) -> str | None:
    """The next free call; one time in three a click on the list's first rows, which others see as well.

    What somebody finished since the list was drawn is shown as finished when it is opened: it is let go again.
    """
    if rng.random() < 1 / 3:
        for row in list_calls(store, identity, CallFilter(), site).rows:
            try:
                claim(store, identity, row.id)
            except Held:
                done.held += 1
                continue
            with store.read() as session:
                reviewed = session.scalar(select(Call.review).where(Call.id == row.id))
            if reviewed is None:
                return row.id
            release(store, identity, row.id)
    return claim_next(store, identity, CallFilter(), site)


def together(database: str, inspectors: int, calls: int) -> list[Worked]:
    """All inspectors at once, each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(inspectors) as pool:
        return pool.starmap(work, [(database, number, calls) for number in range(1, inspectors + 1)], chunksize=1)


def faults(database: str, worked: list[Worked]) -> list[str]:
    """What is wrong with what the database holds, against what the inspectors were told; empty: nothing."""
    found = [f"{one.login}: {error}" for one in worked for error in one.errors]
    store = open_store(database)
    with store.read() as session:
        for one in worked:
            saved = 0
            for first in range(0, len(one.events), 500):
                some = one.events[first : first + 500]
                saved += session.scalar(
                    select(func.count()).where(VerdictRow.event_id.in_(some), VerdictRow.who == one.login)
                ) or 0
            if not one.asked == len(one.events) == saved:
                found.append(f"{one.login}: {one.asked} verdicts asked, {len(one.events)} answered, {saved} kept")
        found += reviews_amiss(session, Counter(call_id for one in worked for call_id in one.finished))
    store.close()
    return found


def reviews_amiss(session: Session, finished: Counter[str]) -> list[str]:
    """What is wrong with the reviews of calls that were finished so many times."""
    found = [f"{call_id} finished {times} times" for call_id, times in finished.items() if times > 1]
    for call_id in finished:
        reviews = session.scalar(select(func.count()).where(Review.call_id == call_id))
        if reviews != 1 or session.scalar(select(Call.review).where(Call.id == call_id)) != "done":
            found.append(f"{call_id}: {reviews} reviews kept of 1, or not marked as reviewed")
    return found


def percentile(times: list[float], share: float) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def _times(name: str, found: list[float]) -> dict[str, int | None]:
    shares = (("p50", 0.5), ("p95", 0.95), ("worst", 1.0))
    return {f"{name} {told} ms": round(percentile(found, share)) if found else None for told, share in shares}


def in_browsers(options: argparse.Namespace) -> int:
    import inspectors_app

    before = os.getloadavg()
    worked, seconds = inspectors_app.in_browsers(
        options.settings, options.inspectors, options.calls, VERDICTS_A_CALL, options.pause
    )
    wrong = inspectors_app.faults(Settings.load(options.settings, env={}), worked)
    verdicts, following = ([ms for one in worked for ms in getattr(one, name)] for name in ("verdict_ms", "next_ms"))
    told = {
        "browsers": len(worked), "pause": options.pause, "seconds": round(seconds, 1), "pressed": sum(one.pressed for one in worked),
        "sent": sum(len(one.sent) for one in worked), "finished": sum(len(one.finished) for one in worked), "faults": wrong,
        **_times("verdict", verdicts), **_times("next call", following),
        "load before": before, "load after": os.getloadavg(),
    }  # fmt: skip
    print(json.dumps(told, indent=1, ensure_ascii=False))
    if options.out:
        options.out.write_text(json.dumps({**told, "each": [asdict(one) for one in worked]}) + "\n", "utf-8")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", type=Path)
    parser.add_argument("--inspectors", type=int, default=20)
    parser.add_argument("--calls", type=int, default=15, help="calls each")
    parser.add_argument("--browser", action="store_true", help="in chromium, against the running app")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds of thought before a key, with --browser")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.browser:
        return in_browsers(options)
    database = Settings.load(options.settings, env={}).store_url
    began = time.monotonic()
    worked = together(database, options.inspectors, options.calls)
    seconds = time.monotonic() - began
    wrong = faults(database, worked)
    times = [spent for one in worked for spent in one.verdict_ms]
    told = {
        "inspectors": len(worked), "seconds": round(seconds, 1), "asked": sum(one.asked for one in worked),
        "answered": sum(len(one.events) for one in worked), "finished": sum(len(one.finished) for one in worked),
        "held by others": sum(one.held for one in worked), "faults": wrong,
        "verdict p50 ms": percentile(times, 0.5), "verdict p95 ms": percentile(times, 0.95), "verdict worst ms": max(times),
    }  # fmt: skip
    print(json.dumps(told, indent=1, ensure_ascii=False))
    if options.out:
        options.out.write_text(json.dumps({**told, "each": [asdict(one) for one in worked]}) + "\n", "utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
