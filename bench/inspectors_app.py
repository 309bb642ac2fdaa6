"""Twenty inspectors in browsers: signed in, each with a websocket of their own, working by keys as people do.

Run by `python bench/inspectors.py SITE/huiting.toml --browser`. Each inspector has a profile of their own in one chromium
(images off): signs in, takes the next call of the queue, goes from finding to finding with `n`, judges with 1, 2 or 3,
finishes with `F`, which opens and claims the next call. What was pressed is told by the browser's own requests; it is
counted in the database afterwards.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from big_site import PASSWORD
from inspectors import reviews_amiss
from pages import running
from sqlalchemy import func, select

from qa.settings import Settings
from qa.store import open_store
from qa.store.accounts import Verdict as VerdictRow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--blink-settings=imagesEnabled=false", "--mute-audio"]
WAIT = 120_000  # ms
# What can be pressed where the reader stands: the buttons of the finding, or of its item; which of them are pressed.
CHOICES = """() => {
    const all = (selector, root = document) => [...root.querySelectorAll(selector),
        ...[...root.querySelectorAll('*')].filter((e) => e.shadowRoot).flatMap((e) => all(selector, e.shadowRoot))];
    const here = all('.card .here').at(-1);
    if (!here) return [];
    const group = here.querySelector(':scope > .verdicts') ?? here.closest('.item')?.querySelector(':scope > .verdicts');
    return group ? [...group.querySelectorAll('button[aria-pressed]')].map((b) => [b.dataset.key, b.getAttribute('aria-pressed') === 'true']) : [];
}"""


@dataclass
class Sent:
    """A verdict as the browser sent it."""

    event: str
    call: str
    rule: str
    verdict: str
    status: int = 0  # of the answer


@dataclass
class Sitting:
    """What one inspector did."""

    login: str
    pressed: int = 0  # verdict keys
    sent: dict[str, Sent] = field(default_factory=dict)
    finished: list[str] = field(default_factory=list)
    verdict_ms: list[float] = field(default_factory=list)  # from the key until "saved" is read
    next_ms: list[float] = field(default_factory=list)  # from F until the next call can be read
    errors: list[str] = field(default_factory=list)


class Inspector:
    """One browser profile at work."""

    def __init__(self, page: Any, base: str, login: str, seed: int, pause: float) -> None:
        self._page, self._base, self._pause = page, base, pause
        self._rng = random.Random(seed)
        self._stops = 0  # places where `n` stops on the call that is shown
        self.done = Sitting(login)
        page.set_default_timeout(WAIT)
        page.on("request", self._note_request)
        page.on("response", self._note_response)
        page.on("pageerror", lambda error: self.done.errors.append(f"script: {error}"))

    async def sign_in(self) -> None:
        await self._page.goto(f"{self._base}/sign-in?lang=zh")
        await self._page.fill("#login", self.done.login)
        await self._page.fill("#password", PASSWORD)
        await self._page.click("button")
        await self._page.wait_for_selector("h1")

    async def work(self, calls: int, verdicts: int) -> None:
        from playwright.async_api import Error

        try:
            await self._page.goto(f"{self._base}/queue")
            await self._page.click("button[data-do=next]")
            call_id = await self._shown("")
            for _ in range(calls):
                for _ in range(min(verdicts, self._stops)):
                    await self._think()
                    await self._judge_next()
                await self._think()
                began = time.perf_counter()
                await self._page.keyboard.press("F")
                following = await self._shown(call_id)
                self.done.next_ms.append((time.perf_counter() - began) * 1_000)
                self.done.finished.append(call_id)
                call_id = following
        except Error as error:
            self.done.errors.append(f"{type(error).__name__}: {str(error)[:300]}")

    async def _think(self) -> None:
        await asyncio.sleep(self._rng.uniform(0, 2 * self._pause))

    async def _shown(self, before: str) -> str:
        """Wait for another call than the one of before; returns its id."""
        player = self._page.locator(f".player[aria-busy=false]:not([data-call='{before}'])").last
        await player.wait_for()
        call_id = await player.get_attribute("data-call")
        assert call_id is not None
        return call_id

    async def _judge_next(self) -> None:
        await self._page.keyboard.press("n")
        choices = await self._page.evaluate(CHOICES)
        if not choices or any(pressed for _, pressed in choices):
            return  # nothing to judge here, or the same item as before: a second press would take it back
        key = str(self._rng.randrange(len(choices)) + 1)
        count, began = len(self.done.sent), time.perf_counter()
        self.done.pressed += 1
        async with self._page.expect_response(lambda answer: "/api/call/verdict" in answer.url):
            await self._page.keyboard.press(key)
        await self._page.locator(".bar.told .state", has_text="✓").or_(self._page.locator(".bar.told .state.problem")).first.wait_for()
        self.done.verdict_ms.append((time.perf_counter() - began) * 1_000)
        if len(self.done.sent) != count + 1:
            self.done.errors.append(f"key {key} sent {len(self.done.sent) - count} verdicts")

    def _note_request(self, request: Any) -> None:
        if request.method == "POST" and request.url.endswith("/api/call/verdict"):
            body = json.loads(request.post_data)
            self.done.sent.setdefault(body["event"], Sent(body["event"], body["call"], body["rule"], body["verdict"]))

    async def _note_response(self, answer: Any) -> None:
        if answer.url.endswith("/api/call/verdict"):
            self.done.sent[json.loads(answer.request.post_data)["event"]].status = answer.status
        elif "/api/call?call=" in answer.url and answer.ok:
            self._stops = _stops((await answer.json())["state"])


def _stops(state: dict[str, Any]) -> int:
    """Where `n` stops on a call, counted as the page does (qa/pages/player_card.js); beyond the last it leaves the call."""
    items = state["card"]["items"] if state["card"] else []
    bare = [item for item in items if item["group"] in ("faults", "to_judge") and not item["findings"]]
    drawn = [item for item in items if item["group"] == "drawn"]
    return sum(not one["good"] for one in state["findings"]) + len(bare) + len(drawn)


async def _together(base: str, inspectors: int, calls: int, verdicts: int, pause: float) -> tuple[list[Sitting], float]:
    from playwright.async_api import async_playwright

    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        people = []
        for number in range(1, inspectors + 1):
            context = await browser.new_context(viewport={"width": 1500, "height": 950})
            people.append(Inspector(await context.new_page(), base, f"inspector{number:02d}", number, pause))
        for one in people:
            await one.sign_in()
        began = time.monotonic()  # all are signed in, and nobody has begun
        await asyncio.gather(*(one.work(calls, verdicts) for one in people))
        seconds = time.monotonic() - began
        await browser.close()
    return [one.done for one in people], seconds


def in_browsers(
    settings_file: Path, inspectors: int, calls: int, verdicts: int, pause: float
) -> tuple[list[Sitting], float]:
    """All inspectors at once in the running app: what each did, and the seconds it took them.

    `pause`: how long one thinks before each verdict and before finishing, in seconds on average.
    """
    if CHROMIUM is None:
        raise RuntimeError("no chromium: apt install chromium")
    with running(settings_file, settings_file.with_name("app.log")) as (base, _):
        return asyncio.run(_together(base, inspectors, calls, verdicts, pause))


def faults(settings: Settings, worked: list[Sitting]) -> list[str]:
    """What is wrong with what the database holds, against what was pressed and answered; empty: nothing."""
    found = [f"{one.login}: {error}" for one in worked for error in one.errors]
    store = open_store(settings.store_url)
    with store.read() as session:
        for one in worked:
            if one.pressed != len(one.sent):
                found.append(f"{one.login}: {one.pressed} verdicts pressed, {len(one.sent)} sent")
            for sent in one.sent.values():
                rows = session.scalars(select(VerdictRow).where(VerdictRow.event_id == sent.event)).all()
                same = [
                    row for row in rows
                    if (row.who, row.call_id, row.rule, row.verdict) == (one.login, sent.call, sent.rule, sent.verdict)
                ]  # fmt: skip
                if len(same) != 1 or len(rows) != 1 or sent.status != 200:
                    found.append(f"{one.login}: {sent} kept {len(same)} times, answered {sent.status}")
            calls = {sent.call for sent in one.sent.values()}
            kept = session.scalar(
                select(func.count()).where(VerdictRow.who == one.login, VerdictRow.call_id.in_(calls))
            )
            if kept != len(one.sent):
                found.append(f"{one.login}: {len(one.sent)} verdicts sent on {len(calls)} calls, {kept} are there")
        found += reviews_amiss(session, Counter(call_id for one in worked for call_id in one.finished))
    store.close()
    return found
