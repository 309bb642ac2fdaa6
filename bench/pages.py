"""How long each page of the app takes until it is usable, in chromium on the same machine.

    python bench/pages.py SITE/huiting.toml [--visits N] [--only WORDS] [--verdicts N] [--language zh] [--out FILE]

SITE comes from bench/big_site.py. The app is started on the site; every page is visited N times by its address, in
random order, with other calls, words and filters each time. A page is usable when its largest content is drawn (the
browser's own largest contentful paint), what the page is for is there, Streamlit's run has ended, and the browser
answers a control: the one named takes the focus and the next frame is drawn. "moved to": the same, from a click in the
navigation of an open app until the other page is usable.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from big_site import LONG_CALL, PASSWORD
from sqlalchemy import select

from qa.settings import Settings
from qa.store import open_store
from qa.store.schema import Call, Recording

PROJECT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
START_SECONDS = 120
WAIT = 30_000  # ms
MOVES = 6  # clicks in the navigation, a page
TARGET = 1_500  # ms, p95
WORDS = ("投诉", "退款", "您好", "洗发水", "保修期", "羽绒服", "石家庄", "谢谢")

# Searched deep: our components live in shadow roots.
WATCH = """
window.__lcp = 0;
new PerformanceObserver((list) => { for (const e of list.getEntries()) window.__lcp = e.startTime; })
    .observe({ type: 'largest-contentful-paint', buffered: true });
window.__all = (selector, root = document) => [
    ...root.querySelectorAll(selector),
    ...[...root.querySelectorAll('*')].filter((e) => e.shadowRoot).flatMap((e) => window.__all(selector, e.shadowRoot)),
];
window.__deepActive = () => { let a = document.activeElement; while (a?.shadowRoot?.activeElement) a = a.shadowRoot.activeElement; return a; };
window.__usable = (path, ready, control) => {
    if (location.pathname !== path) return 0;
    const app = document.querySelector('[data-testid="stApp"]');
    if (!app || app.getAttribute('data-test-script-state') !== 'notRunning') return 0;
    if (!window.__all(ready).some((e) => e.getClientRects().length)) return 0;
    const takesFocus = (e) => { e.focus(); return window.__deepActive() === e; };
    if (!window.__all(control).slice(0, 20).some(takesFocus)) return 0;
    return performance.now();
};
"""

VERDICT = """(button) => {
    const state = window.__all('.state')[0];
    state.textContent = '';
    const asked = performance.getEntriesByType('resource').filter((e) => e.name.endsWith('/api/call/verdict')).length;
    const began = performance.now();
    button.click();
    return [began, asked];
}"""
VERDICT_SAVED = """([began, asked]) => {
    if (!window.__all('.state')[0].textContent.startsWith('✓')) return 0;
    const answers = performance.getEntriesByType('resource').filter((e) => e.name.endsWith('/api/call/verdict'));
    return answers.length > asked && [performance.now() - began, answers.at(-1).duration];
}"""


@dataclass(frozen=True)
class Page:
    """A page to visit. `ready`: what it is for; `control`: what must answer. `addresses` are drawn from at random."""

    name: str
    role: str
    addresses: list[str]
    ready: str
    control: str
    moved_to: bool = False  # has a place in the navigation


ROW_LINK = "tbody tr a, tbody tr[tabindex], tbody tr button, tbody input"


def pages(site: Sample) -> list[Page]:
    """Every page of the app. A new page is a new entry here."""
    call = [f"/call?id={quote(one)}&view=all" for one in site.calls]
    filtered = [
        *(f"/queue?view=all&agent={agent}" for agent in site.agents),
        *(f"/queue?team={team}&angry=1" for team in site.teams),
        "/queue?view=all&sort=newest", "/queue?page=40", "/queue?view=all&fatal=1&kind=%E6%8A%95%E8%AF%89",
        "/queue?words=%E7%BE%BD%E7%BB%92%E6%9C%8D", "/queue?view=all&rule=neg.cannot",
    ]  # fmt: skip
    return [
        Page("today", "inspector", ["/today"], ".sum", ROW_LINK, True),
        Page("queue", "inspector", ["/queue"], "tbody tr", ROW_LINK, True),
        Page("queue, filtered", "inspector", filtered, "tbody tr", ROW_LINK),
        Page("call", "inspector", call, ".transcript li", "button.play"),
        Page("call of 3,000 turns", "inspector", [f"/call?id={LONG_CALL}&view=all"], ".transcript li", "button.play"),
        Page("search", "inspector", [f"/search?q={quote(word)}" for word in WORDS], ".lines li, ol li, article", "input, a[href*='/call']", True),
        Page("files", "inspector", ["/files", *(f"/files?night={n}" for n in (40, 90, 200))], "tbody tr", "tbody a, select, input, button", True),
        Page("board", "inspector", ["/board", *(f"/board?team={team}" for team in site.teams[:4])], ".sum .number", ".sum a.number", True),
        Page("rules", "inspector", ["/rules"], "h2", "a[href*='rule='], summary, button", True),
        Page("coaching", "trainer", ["/coaching"], ".block", "a[href], button, input", True),
        Page("mine", "agent", ["/mine"], "article", "article a, article button, summary", False),
        Page("audit", "admin", ["/audit"], "tbody tr", "input, button", True),
        Page("settings", "operator", ["/settings"], "tbody tr", "button, a"),
        Page("accounts", "admin", ["/accounts"], "tbody tr", "summary, button", True),
    ]


@dataclass(frozen=True)
class Sample:
    calls: list[str]
    agents: list[str]
    teams: list[str]


def sample(settings: Settings, rng: random.Random) -> Sample:
    """Calls with a recording that is there, waiting for review."""
    store = open_store(settings.store_url)
    with store.read() as session:
        rows = session.execute(
            select(Call.id, Call.agent, Call.team)
            .join(Recording, Recording.id == Call.recording_id)
            .where(Recording.size > 1, Call.id != LONG_CALL)
        ).all()
    store.close()
    chosen = rng.sample(rows, min(60, len(rows)))
    return Sample([r.id for r in chosen], [r.agent for r in chosen], sorted({r.team for r in chosen}))


@contextmanager
def running(settings_file: Path, log: Path) -> Iterator[tuple[str, float]]:
    """The app on a free port: (its address, seconds until it answered)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "qa.cli", "app", "--port", str(port)]
    began = time.monotonic()
    with (
        log.open("w") as file,
        subprocess.Popen(
            command, env={**os.environ, "HUITING_SETTINGS": str(settings_file)}, stdout=file, stderr=file, cwd=PROJECT
        ) as server,
    ):
        try:
            while True:
                if server.poll() is not None or time.monotonic() - began > START_SECONDS:
                    raise RuntimeError(f"the app did not start:\n{log.read_text('utf-8')}")
                try:
                    urllib.request.urlopen(f"{base}/_stcore/health", timeout=2)
                    break
                except OSError:
                    time.sleep(0.1)
            yield base, time.monotonic() - began
        finally:
            server.terminate()
            server.wait(20)


@dataclass
class Visitor:
    """One browser in which people of several roles are signed in, each in a profile of their own."""

    browser: Any
    base: str
    language: str
    contexts: dict[str, Any] = field(default_factory=dict)

    def page(self, role: str) -> Any:
        """A tab of the role's profile, in which the scripts are cached as in any browser that was here before."""
        if role not in self.contexts:
            context = self.browser.new_context(viewport={"width": 1500, "height": 950})
            context.set_default_timeout(WAIT)
            context.add_init_script(WATCH)
            page = context.new_page()
            page.goto(f"{self.base}/sign-in?lang={self.language}")
            page.fill("#login", role)
            page.fill("#password", PASSWORD)
            page.click("button")
            page.wait_for_selector("h1")
            page.close()
            self.contexts[role] = context
        return self.contexts[role].new_page()

    def by_address(self, page: Page, address: str, shot: Path | None = None) -> tuple[float, float]:
        """(ms until usable, ms until the largest content was drawn) of a page opened by its address in a new tab."""
        tab = self.page(page.role)
        try:
            tab.goto(self.base + address, wait_until="commit")
            usable = self._usable(tab, page, address)
            largest = tab.evaluate("window.__lcp")
            return max(usable, largest), largest
        finally:
            if shot is not None:
                tab.screenshot(path=str(shot))
            tab.close()

    def moved_to(self, page: Page, start: str) -> float:
        """ms from a click in the navigation until the page is usable."""
        tab = self.page(page.role)
        try:
            tab.goto(self.base + start)
            tab.wait_for_selector("[data-testid='stSidebarNavLink']")
            tab.wait_for_timeout(300)
            path = page.addresses[0].split("?")[0]
            link = f"[data-testid='stSidebarNavLink'][href$='{path}']"
            tab.wait_for_function("document.querySelector('[data-testid=\"stApp\"]').getAttribute('data-test-script-state') === 'notRunning'")
            began = tab.evaluate(f"() => {{ const t = performance.now(); document.querySelector(\"{link}\").click(); return t; }}")
            return self._usable(tab, page, path) - began
        finally:
            tab.close()

    def verdicts(self, address: str, count: int) -> list[tuple[float, float]]:
        """(ms from a click on a verdict until the page says that it is saved, ms of the server's answer as the browser
        sees it) for some clicks on one call, right and wrong by turns. Never on the one that stands: that would withdraw it."""
        tab = self.page("inspector")
        found = []
        try:
            tab.goto(self.base + address)
            buttons = tab.locator(".item.faults .verdicts").first.locator("button.right, button.wrong")
            buttons.first.wait_for()
            for _ in range(count):
                tab.wait_for_timeout(500)  # a person reads on
                before = buttons.and_(tab.locator("[aria-pressed=false]")).first.evaluate(VERDICT)
                handle = tab.wait_for_function(VERDICT_SAVED, arg=before, polling="raf")
                found.append(tuple(handle.json_value()))
            return found
        finally:
            tab.close()

    def _usable(self, tab: Any, page: Page, address: str) -> float:
        path = address.split("?", maxsplit=1)[0]
        arguments = [path, page.ready, page.control]
        from playwright.sync_api import TimeoutError as TooLong

        try:
            handle = tab.wait_for_function("(a) => window.__usable && window.__usable(...a)", arg=arguments, polling="raf")
        except TooLong as error:
            raise TimeoutError(address) from error
        return handle.json_value()


def percentile(times: list[float], share: float) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def measure(visitor: Visitor, chosen: list[Page], visits: int, moves: int, rng: random.Random, shots: Path | None) -> dict[str, list[float]]:
    """Times by page. One visit of each page is left out: it warms the browser's cache and the server's."""
    times: dict[str, list[float]] = defaultdict(list)
    for page in chosen:
        shot = shots / f"{page.name.replace(' ', '_').replace(',', '')}.png" if shots else None
        try:
            first, _ = visitor.by_address(page, page.addresses[0], shot)
        except TimeoutError:
            print(f"NEVER USABLE {page.name}: is {page.ready!r} or {page.control!r} gone?", flush=True)
            times[f"{page.name} | never usable"].append(float(WAIT))
            continue
        times[f"{page.name} | first"].append(first)
        print(f"first visit  {page.name:24s} {first:7.0f} ms", flush=True)
    chosen = [page for page in chosen if f"{page.name} | first" in times]
    order = [page for page in chosen for _ in range(visits)]
    rng.shuffle(order)
    for page in order:
        address = rng.choice(page.addresses)
        try:
            usable, largest = visitor.by_address(page, address)
        except TimeoutError:
            print(f"NEVER USABLE {address}", flush=True)
            usable, largest = float(WAIT), 0.0
        times[page.name].append(usable)
        times[f"{page.name} | drawn"].append(largest)
    for page in chosen:
        if page.moved_to:
            start = "/search" if "search" not in page.addresses[0] else "/queue"
            start = "/today" if page.role == "admin" else start
            if page.name == "search":
                continue  # without words there is nothing to find
            for _ in range(moves):
                times[f"{page.name} | moved to"].append(visitor.moved_to(page, start))
    return times


def told(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    return {
        name: {"p50": percentile(found, 0.5), "p95": percentile(found, 0.95), "worst": max(found), "n": len(found)}
        for name, found in times.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", type=Path)
    parser.add_argument("--visits", type=int, default=20)
    parser.add_argument("--only", default="", help="pages whose names hold one of these words, parted by commas")
    parser.add_argument("--moves", type=int, default=MOVES, help="clicks in the navigation, a page")
    parser.add_argument("--verdicts", type=int, default=0, help="clicks on verdicts, on each of three calls")
    parser.add_argument("--language", default="zh")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--shots", type=Path, help="folder for a picture of each page")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    if CHROMIUM is None:
        print("no chromium: apt install chromium", file=sys.stderr)
        return 2
    settings = Settings.load(options.settings, env={})
    rng = random.Random(5)
    wanted = [word for word in options.only.split(",") if word]
    site = sample(settings, rng)
    chosen = [p for p in pages(site) if not wanted or any(word in p.name for word in wanted)]
    if options.shots:
        options.shots.mkdir(parents=True, exist_ok=True)
    log = options.settings.with_name("app.log")
    with running(options.settings, log) as (base, started), sync_playwright() as driver:
        print(f"the app answered after {started:.1f} s", flush=True)
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        visitor = Visitor(browser, base, options.language)
        times = measure(visitor, chosen, options.visits, options.moves, rng, options.shots)
        for call in site.calls[:3] if options.verdicts else ():
            for seen, answered in visitor.verdicts(f"/call?id={quote(call)}&view=all", options.verdicts):
                times["verdict | until told"].append(seen)
                times["verdict | server"].append(answered)
        browser.close()
    results = told(times)
    for name, result in results.items():
        mark = "" if "|" in name else "  ok" if result["p95"] < TARGET else "  MISSED"
        print(f"{name:32s} p50 {result['p50']:7.0f}  p95 {result['p95']:7.0f}  n {result['n']:3d}{mark}")
    if options.out:
        options.out.write_text(
            json.dumps({"started": started, "load": os.getloadavg(), "pages": results}, indent=1, ensure_ascii=False) + "\n", "utf-8"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
