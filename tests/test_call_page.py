"""The call page in a real browser: one test for each point of its checklist (docs/review.md), on a real recording and on an
hour's call of 3,000 turns. Figures are printed (`pytest -s`).
"""

from __future__ import annotations

import json
import re
import shutil
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from urllib.parse import parse_qs, urlsplit

import pytest
from appsite import PASSWORD, AppSite, number_span, transcript
from callsite import (
    BURST_AT,
    LONG,
    LONG_TURNS,
    REAL,
    Server,
    build_site,
    burst,
    long_transcript,
    real_transcript,
)
from pace import allowed
from sqlalchemy import func, select

from qa.store.accounts import Account, Review, Verdict
from qa.store.annotations import Comment, Correction, Draft, Mark
from qa.store.schema import AuditEvent, Call, ScorecardRow, TranscriptRow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WAIT = 60_000  # ms: a busy machine
USABLE_SECONDS, SAVED_SECONDS = 2.0, 1.0  # of the hour's call, with the app already open


@dataclass
class Desk:
    """A browser with people signed in, each in a context of their own."""

    site: AppSite
    server: Server
    browser: object
    people: dict[str, object] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)  # requests to other machines
    errors: list[str] = field(default_factory=list)  # of our scripts

    def page(self, login: str = "inspector", width: int = 1500):
        if login not in self.people:
            context = self.browser.new_context(viewport={"width": width, "height": 950})
            page = context.new_page()
            page.set_default_timeout(WAIT)
            base = self.server.base
            page.on("request", lambda r: None if r.url.startswith((base, "data:", "blob:")) else self.elsewhere.append(r.url))
            page.on("pageerror", lambda error: self.errors.append(str(error)))
            page.goto(f"{base}/sign-in")
            page.fill("#login", login)
            page.fill("#password", PASSWORD)
            page.click("button")
            page.wait_for_url(lambda url: "sign-in" not in url)
            self.people[login] = page
        return self.people[login]

    def open(self, call_id: str, login: str = "inspector", query: str = "&view=all"):
        page = self.page(login)
        page.goto(f"{self.server.base}/call?id={call_id}{query}")
        ready(page)
        return page


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    if CHROMIUM is None:
        warnings.warn("THE CALL PAGE WAS NOT TESTED: no chromium here (Debian: apt install chromium)", stacklevel=1)
        pytest.skip("no chromium: apt install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    site = build_site(tmp_path_factory.mktemp("call"))
    server = Server(site)
    try:
        server.start()
        with playwright.sync_playwright() as driver:
            browser = driver.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
            )
            yield Desk(site, server, browser)
            browser.close()
    finally:
        server.stop()
        site.store.close()


# --- what the tests share


def ready(page) -> None:
    """The call of the address is there, and the one before it is gone."""
    call_id = parse_qs(urlsplit(page.url).query)["id"][0]
    page.locator(f".player[aria-busy=false][data-call='{call_id}']").wait_for()
    page.locator(f".player:not([data-call='{call_id}'])").wait_for(state="detached")


def line(page, number: int):
    return page.locator(f".transcript li[data-turn='{number}']")


def sound(page, what: str):
    return page.evaluate(
        """(what) => {
        const find = (root) => root.querySelector('audio') ?? [...root.querySelectorAll('*')]
            .filter((e) => e.shadowRoot).map((e) => find(e.shadowRoot)).find(Boolean);
        return new Function('audio', `return audio.${what}`)(find(document));
    }""",
        what,
    )


def until(holds, seconds: float = 20.0):
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.1)
    return found


def playing(page) -> None:
    """Playing, and the time goes on."""
    until(lambda: not sound(page, "paused"))
    at = sound(page, "currentTime")
    until(lambda: sound(page, "currentTime") > at)


def pause(page) -> None:
    sound(page, "pause()")
    until(lambda: sound(page, "paused"))


def to(page, seconds: float) -> None:
    page.evaluate("() => document.activeElement?.blur?.()")
    sound(page, f"currentTime = {seconds}")
    until(lambda: not sound(page, "seeking"))


def rows(desk: Desk, table, **where):
    with desk.site.store.read() as session:
        return session.scalars(select(table).filter_by(**where).order_by(table.id)).all()


@contextmanager
def reading(desk: Desk, login: str, language: str) -> Iterator[None]:
    """The person's language, until the end of the block; then Chinese again."""
    _set_language(desk, login, language)
    try:
        yield
    finally:
        _set_language(desk, login, "zh")


def _set_language(desk: Desk, login: str, language: str) -> None:
    with desk.site.store.write() as session:
        session.get_one(Account, login).language = language


def saved(page) -> None:
    page.locator(".state", has_text=re.compile("已保存|Saved")).wait_for()


def quiet(page) -> None:
    """Forget what was told, so that the next `saved` is the next."""
    page.locator(".state").evaluate("e => { e.textContent = '' }")


def top_of(page, number: int) -> float:
    return line(page, number).evaluate("e => e.getBoundingClientRect().top")


def in_sight(page, number: int) -> bool:
    return line(page, number).evaluate(
        "e => { const box = e.closest('ol').getBoundingClientRect(), own = e.getBoundingClientRect();"
        " return own.top >= box.top - 1 && own.bottom <= box.bottom + 1 }"
    )


def select_words(page, number: int, words: str) -> None:
    """Drag over words of a line, as a person would."""
    box = line(page, number).locator(".said").evaluate(
        """(said, words) => {
        const walker = document.createTreeWalker(said, NodeFilter.SHOW_TEXT);
        const range = document.createRange(), from = said.textContent.indexOf(words);
        let at = 0, node;
        const place = (offset, set) => { if (at <= offset && offset <= at + node.length) set(node, offset - at); };
        while ((node = walker.nextNode())) {
            if (at <= from && from < at + node.length) range.setStart(node, from - at);
            place(from + words.length, (n, o) => range.setEnd(n, o));
            at += node.length;
        }
        const rects = [...range.getClientRects()], first = rects[0], last = rects.at(-1);
        return [first.left + 1, first.top + first.height / 2, last.right - 1, last.top + last.height / 2];
    }""",
        words,
    )
    page.mouse.move(box[0], box[1])
    page.mouse.down()
    page.mouse.move(box[2], box[3], steps=5)
    page.mouse.up()


def sign_of(page) -> str:
    return page.locator(".bar .time").inner_text()


# --- the checklist


def test_point_01_a_click_on_a_line_plays_from_there(desk: Desk):
    page, turns = desk.open(REAL), real_transcript().turns
    for number in (4, 1):
        line(page, number).locator(".said").click()
        until(lambda number=number: turns[number].start <= sound(page, "currentTime") < turns[number].start + 4)
        playing(page)
        until(lambda number=number: "now" in line(page, number).get_attribute("class"))
    assert line(page, 1).get_attribute("aria-current") == "true"
    pause(page)


def test_point_02_the_line_stays_in_view_scrolling_pauses_it_and_a_click_moves_nothing(desk: Desk):
    page = desk.open(LONG)
    to(page, 1200.0 * 1.2 + 0.2)
    until(lambda: in_sight(page, 1200))
    to(page, 2400.2)
    until(lambda: in_sight(page, 2000))
    assert page.locator(".follow").is_hidden()
    page.locator(".transcript ol").hover()
    page.mouse.wheel(0, -4000)
    page.locator(".follow").wait_for()
    until(lambda: not in_sight(page, 2000))
    to(page, 120.2)
    page.wait_for_timeout(300)
    assert not in_sight(page, 100)  # it does not run away from who reads
    page.locator(".follow").click()
    until(lambda: in_sight(page, 100))
    page.locator(".follow").wait_for(state="hidden")
    before = top_of(page, 103)
    line(page, 103).click()
    pause(page)
    assert 103 * 1.2 <= sound(page, "currentTime") < 120 * 1.2  # from there on, and not from before
    assert top_of(page, 103) == pytest.approx(before, abs=1)


def test_point_03_keys_play_skip_and_change_speed_and_tell_themselves(desk: Desk):
    page = desk.open(REAL)
    to(page, 20)
    page.keyboard.press(" ")
    playing(page)
    page.keyboard.press(" ")
    until(lambda: sound(page, "paused"))
    to(page, 20)
    page.keyboard.press("ArrowRight")
    assert sound(page, "currentTime") == pytest.approx(25, abs=0.05)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert sound(page, "currentTime") == pytest.approx(15, abs=0.05)
    for _ in range(12):
        page.keyboard.press("]")
    assert sound(page, "playbackRate") == 3
    for _ in range(12):
        page.keyboard.press("[")
    assert sound(page, "playbackRate") == 0.5
    page.locator(".speed select").select_option("1")
    assert page.locator(".keys").is_hidden()
    page.evaluate("() => document.activeElement?.blur?.()")
    page.locator(".card").focus()
    page.keyboard.press("?")
    told = page.locator(".keys").inner_text()
    assert all(key in told for key in ("空格", "n p", "1 2 3", "[ ]"))
    page.keyboard.press("?")
    assert page.locator(".keys").is_hidden()


def test_point_04_keys_do_nothing_while_typing_nor_while_composing(desk: Desk):
    page = desk.open(REAL)
    to(page, 20)
    line(page, 2).focus()
    page.keyboard.press("c")
    field = page.locator(".panel textarea")
    field.wait_for()
    before = len(rows(desk, Verdict))
    field.press_sequentially("n p 1 2 3 ?", delay=15)
    page.keyboard.press("ArrowLeft")
    assert field.input_value() == "n p 1 2 3 ?"
    assert sound(page, "paused")
    assert sound(page, "currentTime") == pytest.approx(20, abs=0.05)
    assert page.locator(".keys").is_hidden()
    assert len(rows(desk, Verdict)) == before
    field.fill("")
    page.keyboard.press("Escape")
    page.locator(".panel").wait_for(state="hidden")
    # An input method that composes outside of a field: the keys that it eats are its own.
    line(page, 2).evaluate(
        "e => { for (const key of [' ', 'n', '1']) e.dispatchEvent(new KeyboardEvent('keydown',"
        " { key, bubbles: true, composed: true, isComposing: true, keyCode: 229 })) }"
    )
    page.wait_for_timeout(300)
    assert sound(page, "paused")
    assert len(rows(desk, Verdict)) == before


def test_point_05_resuming_steps_back_a_little(desk: Desk):
    page = desk.open(REAL)
    to(page, 20)
    page.keyboard.press(" ")
    until(lambda: sound(page, "currentTime") > 21)
    page.keyboard.press(" ")
    until(lambda: sound(page, "paused"))
    stopped = sound(page, "currentTime")
    page.evaluate(
        """() => { const find = (root) => root.querySelector('audio') ?? [...root.querySelectorAll('*')].filter((e) => e.shadowRoot).map((e) => find(e.shadowRoot)).find(Boolean);
        const audio = find(document); window.began = null; audio.addEventListener('play', () => { window.began = audio.currentTime; }, { once: true }); }"""
    )
    page.keyboard.press(" ")
    began = until(lambda: page.evaluate("() => window.began"))
    assert 1 <= stopped - began <= 3
    pause(page)


def test_point_06_one_key_repeats_the_line(desk: Desk):
    page, turns = desk.open(REAL), real_transcript().turns
    to(page, turns[3].start + 2.5)
    page.keyboard.press("r")
    until(lambda: sound(page, "currentTime") < turns[3].start + 2)
    assert sound(page, "currentTime") >= turns[3].start
    playing(page)
    pause(page)


def test_point_07_a_finding_is_looped_with_three_seconds_around(desk: Desk):
    page = desk.open(REAL)
    page.locator(".card").focus()
    page.keyboard.press("n")
    page.locator(".here").first.wait_for()
    at = sound(page, "currentTime")
    page.keyboard.press("l")
    loop = page.locator(".loop[aria-pressed=true]")
    loop.wait_for()
    begin, end = (int(m) * 60 + int(s) for m, s in re.findall(r"(\d+):(\d\d)", loop.inner_text()))
    assert begin <= max(0, at + 0.3 - 3) <= begin + 1.01
    assert end - begin >= 3
    playing(page)
    to(page, end + 0.9)
    until(lambda: sound(page, "currentTime") < end - 1)
    page.keyboard.press("l")
    page.locator(".loop[aria-pressed=false]").wait_for()
    pause(page)


def test_point_08_n_and_p_go_from_finding_to_finding_and_then_to_the_next_call(desk: Desk):
    page = desk.open("refund", query="&view=all&team=north&sort=score")
    page.locator(".card").focus()
    wanted = {item.get_attribute("data-rule") for item in page.locator(".item.faults, .item.to_judge").all()}
    assert len(wanted) >= 2
    seen = []
    for _ in range(40):
        page.keyboard.press("n")
        page.wait_for_timeout(120)
        if "id=refund" not in page.url or not page.locator(".here").count():
            break
        seen.append(page.locator(".item.here, .item:has(.here)").first.get_attribute("data-rule"))
    assert wanted <= set(seen)
    page.wait_for_url(lambda url: "id=refund" not in url)
    assert "team=north" in page.url  # in the same list
    ready(page)
    page = desk.open("refund", query="&view=all&team=north&sort=score")
    page.locator(".card").focus()
    page.keyboard.press("n")
    page.keyboard.press("n")
    second = page.locator(".here").first.inner_text()
    page.keyboard.press("n")
    page.keyboard.press("p")
    assert page.locator(".here").first.inner_text() == second
    page.keyboard.press("p")
    page.keyboard.press("p")
    page.wait_for_url(lambda url: "id=refund" not in url)  # before the first finding, the call before
    assert "team=north" in page.url
    page = desk.open("refund", query="&view=all&team=north&sort=newest")  # where it is the last
    page.keyboard.press("N")
    page.locator(".state", has_text="列表到头了").wait_for()  # told, and the call stays
    assert "id=refund" in page.url


def test_point_09_the_timeline_shows_names_and_seeks(desk: Desk):
    page, heard = desk.open(REAL), real_transcript()
    canvas = page.locator("canvas")
    width = canvas.evaluate("e => e.clientWidth")
    legend = page.locator(".legend").inner_text()
    for word in ("坐席", "客户", "扣分处", "疑似", "静音", "同时说话", "负面情绪"):
        assert word in legend
    x = heard.turns[5].start / heard.duration * width + 3
    canvas.click(position={"x": x, "y": 60})
    assert sound(page, "currentTime") == pytest.approx(x / width * heard.duration, abs=0.2)
    assert sound(page, "paused")
    finding = page.locator(".item.faults .finding .hit .at", has_text=":").last
    minutes, seconds = finding.inner_text().replace("▶", "").strip().split(":")
    name = finding.locator("xpath=ancestor::article//*[@class='name']").inner_text()[2:]
    told = ""
    for step in range(12):  # the label tells whole seconds
        canvas.hover(position={"x": (int(minutes) * 60 + int(seconds) + step / 10) / heard.duration * width, "y": 6})
        told = page.locator(".tip").inner_text()
        if name in told:
            break
    assert name in told
    assert re.match(r"\d+:\d\d", told)
    # Each thing has a mark of its own there: flags above, turns of each side in their lanes, anger below.
    canvas.evaluate("e => e.dispatchEvent(new MouseEvent('mouseleave'))")
    painted = pixels(page, "#c2410c")
    assert any(y < 13 for _, y in painted), "flags"
    assert any(y >= 118 for _, y in painted), "anger"
    assert {"#0072b2", "#c77700"} <= {colour for colour in ("#0072b2", "#c77700") if pixels(page, colour)}


def pixels(page, colour: str) -> list[tuple[int, int]]:
    """Where the timeline has a colour, in CSS pixels."""
    return [
        tuple(one)
        for one in page.locator("canvas").evaluate(
            """(e, colour) => {
            const ratio = e.width / e.clientWidth, data = e.getContext('2d').getImageData(0, 0, e.width, e.height).data;
            const [r, g, b] = [1, 3, 5].map((n) => parseInt(colour.slice(n, n + 2), 16)), found = [];
            for (let y = 0; y < e.height; y++) for (let x = 0; x < e.width; x++) {
                const i = 4 * (y * e.width + x);
                if (data[i] === r && data[i + 1] === g && data[i + 2] === b && data[i + 3] === 255) found.push([x / ratio, y / ratio]);
            }
            return found;
        }""",
            colour,
        )
    ]


def test_point_10_the_waveform_is_aligned_at_minute_29(desk: Desk):
    page = desk.open(LONG)
    peaks = json.loads(page.request.get(f"{desk.server.base}/api/peaks/{LONG}").text())
    loud = [n for n, peak in enumerate(peaks["channels"][1]) if peak > 128]
    assert loud[0] * peaks["seconds"] == pytest.approx(burst().start, abs=0.1)
    assert (loud[-1] + 1) * peaks["seconds"] == pytest.approx(burst().end, abs=0.1)
    width = page.locator("canvas").evaluate("e => e.clientWidth")
    # The second channel's lane lies in the lower half of the waves, and the burst alone stands high in it.
    high = until(lambda: [x for x, y in pixels(page, "#c77700") if 54 < y < 62])
    seconds = sum(high) / len(high) / width * LONG_TURNS * 1.2
    pixel = LONG_TURNS * 1.2 / width
    assert seconds == pytest.approx(BURST_AT, abs=2 * pixel)
    # And what is heard there is the burst: the sound's own time is the waveform's.
    level = page.evaluate(
        """async ([address, at]) => {
        const head = await fetch(address, { headers: { Range: 'bytes=0-43' } }).then((a) => a.arrayBuffer());
        const view = new DataView(head), rate = view.getUint32(24, true), block = view.getUint16(32, true);
        const from = 44 + Math.round(at * rate) * block;
        const bytes = new Uint8Array(await fetch(address, { headers: { Range: `bytes=${from}-${from + 800 * block - 1}` } }).then((a) => a.arrayBuffer()));
        let top = 0;
        for (let i = 1; i < bytes.length; i += block) top = Math.max(top, Math.abs(bytes[i] - 128));
        return top;
    }""",
        [f"{desk.server.base}/api/sound/{LONG}", BURST_AT + 0.1],
    )
    assert level > 100


def test_point_11_a_finding_is_seen_in_its_context(desk: Desk):
    page = desk.open(LONG)
    page.locator(".card").focus()
    mark = page.locator("mark.here", has_text="没办法").first
    for _ in range(60):  # what else the machine saw comes first
        page.keyboard.press("n")
        page.wait_for_timeout(60)
        if mark.count():
            break
    number = int(mark.evaluate("e => e.closest('li').dataset.turn"))
    until(lambda: all(in_sight(page, near) for near in (number - 1, number, number + 1)))
    assert "没办法" in page.locator(".here .hit, .hit:has(.here), .finding.here").first.inner_text()
    turn = long_transcript().turns[number]
    first = turn.words[turn.text.index(mark.inner_text())]  # a phrase, or the whole turn
    assert sound(page, "currentTime") == pytest.approx(first.start - 0.3, abs=0.1)
    assert mark.get_attribute("title")


def test_point_12_an_hour_of_3000_lines_is_usable_at_once_and_verdicts_are_saved_fast(desk: Desk):
    page = desk.open("thanks")  # the app is open; somebody goes to the long call
    times = []
    for _ in range(3):
        began = time.monotonic()
        page.goto(f"{desk.server.base}/call?id={LONG}&view=all")
        ready(page)
        line(page, 5).wait_for()
        line(page, 5).click()
        until(lambda: not sound(page, "paused"), 10)
        times.append(time.monotonic() - began)
        pause(page)
        page.goto(f"{desk.server.base}/call?id=thanks&view=all")
        ready(page)
    assert page.locator(".transcript li").count() == len(transcript("thanks").turns)
    page.goto(f"{desk.server.base}/call?id={LONG}&view=all")
    ready(page)
    assert page.locator(".transcript li").count() == LONG_TURNS
    # From the list, without loading the app anew, as people do.
    inside = page.evaluate("() => performance.getEntriesByType('resource').filter((e) => e.name.includes('/api/call?')).map((e) => e.duration)")
    saves = []
    buttons = page.locator(".item.faults .verdicts").first.locator("button.right, button.wrong")
    for number in range(6):
        quiet(page)
        began = time.monotonic()
        buttons.nth(number % 2).click()
        saved(page)
        saves.append(time.monotonic() - began)
    print(f"\nhour's call, whole page load to sound: {sorted(round(t, 2) for t in times)} s; its data {inside} ms; verdicts saved {[round(s, 2) for s in saves]} s")
    assert sorted(saves)[len(saves) // 2] < allowed(SAVED_SECONDS)
    assert min(times) < allowed(3 * USABLE_SECONDS)  # with the app's own start; test_point_12b measures the call alone


def test_point_12b_the_hours_call_from_the_call_before(desk: Desk):
    page = desk.open("number", query="&view=all&agent=A2&sort=newest")
    times = []
    for _ in range(3):
        page.goto(f"{desk.server.base}/call?id=number&view=all&agent=A2&sort=newest")
        ready(page)
        page.locator(".card").focus()
        way = "P" if page.locator(".previous").is_enabled() else "N"
        began = time.monotonic()
        page.keyboard.press(way)
        page.wait_for_url(lambda url: f"id={LONG}" in url)
        line(page, 3).click()  # of the long call: the one before has three lines
        until(lambda: not sound(page, "paused"), 10)
        times.append(time.monotonic() - began)
        pause(page)
    print(f"\nhour's call, from the call before to sound: {sorted(round(t, 2) for t in times)} s")
    assert min(times) < allowed(USABLE_SECONDS)


def test_point_13_verdicts_and_comments_never_stop_the_sound_and_can_be_undone(desk: Desk):
    page = desk.open(REAL)
    line(page, 0).click()
    playing(page)
    page.evaluate(
        """() => { const find = (root) => root.querySelector('audio') ?? [...root.querySelectorAll('*')].filter((e) => e.shadowRoot).map((e) => find(e.shadowRoot)).find(Boolean);
        window.stopped = 0; for (const name of ['pause', 'emptied', 'waiting', 'stalled']) find(document).addEventListener(name, () => { window.stopped += 1; }); }"""
    )
    first = page.locator(".item.faults .verdicts").first
    before = first.locator("button.wrong").bounding_box()["y"]
    first.locator("button.wrong").click()
    saved(page)
    first.locator("button.wrong[aria-pressed=true]").wait_for()
    level = page.locator(".level.inspector strong")
    machine = float(page.locator(".level.machine strong").inner_text())
    until(lambda: level.inner_text() != "—")
    assert float(level.inner_text()) > machine  # rescored at once, the machine's beside it
    assert first.locator("button.wrong").bounding_box()["y"] == pytest.approx(before, abs=1)  # what is pressed stays put
    line(page, 1).focus()
    page.keyboard.press("c")
    page.locator(".panel textarea").fill("客户已经等了八天")
    quiet(page)
    page.keyboard.press("Control+Enter")
    saved(page)
    assert "客户已经等了八天" in line(page, 1).inner_text()
    assert not sound(page, "paused")
    assert page.evaluate("() => window.stopped") == 0
    page.locator(".undo").click()
    page.locator(".state", has_text="已撤销").wait_for()
    assert "客户已经等了八天" not in line(page, 1).inner_text()
    page.locator(".card").focus()
    page.keyboard.press("u")
    until(lambda: level.inner_text() == "—")
    assert first.locator("button[aria-pressed=true]").count() == 0
    last = rows(desk, Verdict, call_id=REAL)[-1]
    assert (last.who, last.verdict) == ("inspector", "withdrawn")
    assert [row.withdraws is None for row in rows(desk, Comment, call_id=REAL)] == [True, False]
    assert not sound(page, "paused")
    pause(page)


def test_point_14_reopening_returns_to_the_last_place_and_the_lists_filter(desk: Desk):
    page = desk.open(LONG, query="&view=all&agent=A2")
    to(page, 2000.0)
    page.wait_for_timeout(400)
    page.locator(".list").click()
    page.wait_for_url(lambda url: "/queue" in url)
    assert "agent=A2" in page.url
    assert "view=all" in page.url
    page.goto(f"{desk.server.base}/call?id={LONG}&view=all&agent=A2")
    ready(page)
    until(lambda: abs(sound(page, "currentTime") - 2000) < 1)
    until(lambda: in_sight(page, int(2000 / 1.2)))


def test_point_15_two_reviewers_on_one_finding_the_second_is_told(desk: Desk):
    first, second = desk.open("refund"), desk.open("refund", "second")
    own = ".item[data-rule='neg.cannot'] .verdicts"
    first.locator(f"{own} button.right").first.click()
    saved(first)
    second.locator(f"{own} button.wrong").first.click()
    told = second.locator(".state.problem")
    told.wait_for()
    assert "inspector" in told.inner_text()
    assert "没有保存" in told.inner_text()
    assert [row.who for row in rows(desk, Verdict, call_id="refund", rule="neg.cannot")] == ["inspector"]
    assert second.locator(".item[data-rule='neg.cannot'] .given", has_text="inspector").count() == 1
    second.locator(f"{own} button.wrong").first.click()  # knowing of the other
    saved(second)
    assert [row.who for row in rows(desk, Verdict, call_id="refund", rule="neg.cannot")] == ["inspector", "second"]
    second.locator(".level.inspector .badge.warn").wait_for()  # they disagree, and that is told


def test_point_16_machine_inspector_and_lead_stand_side_by_side_with_who_when_why(desk: Desk):
    page = desk.open(REAL)
    item = page.locator(".item.faults:has(.verdicts)").first
    rule = item.get_attribute("data-rule")
    item.locator(".verdicts button.wrong").first.click()
    saved(page)
    item = page.locator(f".item[data-rule='{rule}']")
    item.locator(".verdicts button.why").first.click()
    page.locator(".panel textarea").fill("他已经道歉过了")
    quiet(page)
    page.locator(".panel button.primary").click()
    saved(page)
    lead = desk.open(REAL, "lead")
    lead.locator(f".item[data-rule='{rule}'] .verdicts button.right").first.click()
    saved(lead)
    given = lead.locator(f".item[data-rule='{rule}'] .given").all_inner_texts()
    assert len(given) == 2
    assert re.search(r"质检员 inspector 错 · \d\d-\d\d \d\d:\d\d — 他已经道歉过了", given[0])
    assert re.search(r"组长 lead 对 · \d\d-\d\d \d\d:\d\d", given[1])
    scores = [lead.locator(f".level.{level} strong").inner_text() for level in ("machine", "inspector", "lead")]
    assert float(scores[1]) > float(scores[0])
    assert scores[2] == scores[0]  # the lead's word is the machine's
    with desk.site.store.read() as session:
        kept = session.scalar(select(ScorecardRow.score).where(ScorecardRow.call_id == REAL, ScorecardRow.current))
    assert f"{kept:g}" == scores[0]  # the machine's own result is what it was


def test_point_17_personal_data_is_masked_and_unmasking_is_audited(desk: Desk):
    page = desk.open("number")
    said = line(page, 1).locator(".said")
    assert "***********" in said.inner_text()
    assert "hearing=masked" in sound(page, "src")
    span = number_span()
    to(page, span.start + 0.5)
    page.locator(".unmask").click()
    until(lambda: "一三八零零一三八零零零" in said.inner_text())
    page.locator(".original").click()
    until(lambda: "hearing=original" in sound(page, "src"))
    assert sound(page, "currentTime") == pytest.approx(span.start + 0.5, abs=0.3)
    page.locator(".card").focus()  # space would press the button that has the focus
    page.keyboard.press(" ")
    playing(page)
    pause(page)
    trail = {(row.who, row.action) for row in rows(desk, AuditEvent, call_id="number")}
    assert {("inspector", action) for action in ("see", "unmask", "play masked", "play original")} <= trail
    page = desk.open("number")  # masked again in every visit
    assert "***********" in line(page, 1).inner_text()
    trainer = desk.open("number", "trainer")
    assert trainer.locator(".unmask, .original").locator("visible=true").count() == 0
    answer = trainer.request.get(f"{desk.server.base}/api/call?call=number&unmasked=1")
    assert answer.status == 403


def test_point_18_sound_and_data_of_others_and_of_nobody_are_refused(desk: Desk):
    for path in ("/api/sound/number", "/api/peaks/number", "/api/call?call=number"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{desk.server.base}{path}")
    agent = desk.page("agent")  # whose call it is not
    for path in ("/api/sound/number", "/api/peaks/number", "/api/call?call=number", "/api/sound/refund?hearing=original"):
        assert agent.request.get(f"{desk.server.base}{path}").status == 403
    assert agent.request.get(f"{desk.server.base}/api/call?call=refund").status == 200
    for command in ("verdict", "comment", "mark", "correct", "draft"):
        body = {"call": "refund", "scorecard": 1, "rule": "neg.cannot", "verdict": "wrong", "known": 0, "turn": 0,
                "text": "x", "kind": "good", "field": "comment:0", "transcript": 1}  # fmt: skip
        sent = dict(body, kind="words") if command == "correct" else body
        assert agent.request.post(f"{desk.server.base}/api/call/{command}", data=sent).status == 403, command
    outside = desk.page("inspector").request.post(
        f"{desk.server.base}/api/call/comment", data={"call": "refund", "turn": 0, "text": "x"},
        headers={"Origin": "http://elsewhere.example"},
    )  # fmt: skip
    assert outside.status == 403


def test_point_19_the_other_language_leaves_nothing_behind_and_all_is_done_by_keys(desk: Desk):
    with reading(desk, "second", "en"):
        page = desk.open(LONG, "second")
        page.keyboard.press("?")
        page.locator(".card details summary").first.click()
        texts = page.locator(".player").evaluate(
            """(player) => {
        const said = new Set([...player.querySelectorAll('.said, .hit, option')]);
        const walk = (node) => said.has(node) ? [] : node.nodeType === 3 ? [node.textContent] : [
            ...(node.getAttribute ? ['aria-label', 'title', 'placeholder'].map((n) => node.getAttribute(n) ?? '') : []),
            ...[...node.childNodes].flatMap(walk)];
        return walk(player).filter(Boolean);
    }"""
        )
    # What was said is quoted as it was said, and a rule's English name may name a Chinese word ("你 instead of 您").
    heard = {turn.text for turn in long_transcript().turns}
    english = [rule.name["en"] for rule in desk.site.desk.pack.rules if "en" in rule.name]
    own = [re.sub("“([^”]+)”", lambda quote: "" if any(quote[1] in said for said in heard) else quote[0], text) for text in texts]
    own = [reduce(lambda left, name: left.replace(name, ""), english, text) for text in own]
    chinese = [text for text in own if re.search(r"[\u4e00-\u9fff]", text)]
    assert chinese == []
    assert not [text for text in texts if re.match(r"(call|app)\.\w+", text)]
    page = desk.open(LONG, "second")
    assert page.locator(".finish").inner_text().endswith("下一条")
    # By keys alone: to a finding, judge it, comment, mark, undo.
    page.evaluate("() => document.activeElement?.blur?.()")
    page.keyboard.press("n")
    page.locator(".here").first.wait_for()
    for _ in range(4):  # held down for a while: judged once, not withdrawn and judged again
        page.keyboard.down("2")
    page.keyboard.up("2")
    saved(page)
    page.locator("button.wrong[aria-pressed=true]").wait_for()
    assert [row.verdict for row in rows(desk, Verdict, call_id=LONG, who="second")] == ["wrong"]
    page.locator(".transcript li[tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    focused = page.evaluate(
        "() => { let e = document.activeElement; while (e.shadowRoot?.activeElement) e = e.shadowRoot.activeElement; return e.dataset.turn }"
    )
    page.keyboard.press("g")
    page.locator(".panel").wait_for()
    quiet(page)
    page.keyboard.press("Control+Enter")
    saved(page)
    mark = rows(desk, Mark, call_id=LONG)[-1]
    assert (mark.who, mark.kind, str(mark.first_turn)) == ("second", "good", focused)
    page.keyboard.press("u")
    page.keyboard.press("u")
    until(lambda: rows(desk, Verdict, call_id=LONG, who="second")[-1].verdict == "withdrawn")
    # Nothing is told by colour alone: every status has a word, every flag and note a sign.
    assert all(text.strip() for text in page.locator(".item .badge").all_text_contents())
    assert all(text.strip() for text in page.locator(".legend .sign").all_text_contents())
    assert page.locator(".player button").evaluate_all("all => all.every((b) => b.textContent.trim() || b.ariaLabel)")


def test_point_20_nothing_is_asked_of_other_machines(desk: Desk):
    for call_id in (REAL, "refund", LONG):
        desk.open(call_id)
    assert desk.elsewhere == []
    assert desk.errors == []


# --- what else people do on a call


def test_a_missed_fault_is_added_by_selecting_words_and_costs_points(desk: Desk):
    page = desk.open("thanks")
    before = page.locator(".level.machine strong").inner_text()
    select_words(page, 2, "六点都营业")
    page.locator(".selection button", has_text="补充漏判").click()
    assert page.locator(".panel textarea").first.input_value() == "六点都营业"
    page.locator(".panel select").select_option("lang.vague")
    page.locator(".panel textarea").last.fill("没说节假日")
    page.locator(".panel button.primary").click()
    saved(page)
    assert page.locator("mark.missed").all_inner_texts() == ["六点都营业"]
    row = rows(desk, Verdict, call_id="thanks")[-1]
    said = transcript("thanks").turns[2].text
    assert (row.verdict, row.rule, row.turn, said[row.start_char : row.end_char]) == ("missed", "lang.vague", 2, "六点都营业")
    assert float(page.locator(".level.inspector strong").inner_text()) < float(before)
    page.locator(".undo").click()
    page.locator("mark.missed").wait_for(state="detached")


def test_words_are_corrected_the_call_is_scored_again_and_the_original_stays(desk: Desk):
    page = desk.open("refund", "second")
    with desk.site.store.read() as session:
        machine = session.scalar(select(TranscriptRow.id).where(TranscriptRow.call_id == "refund", TranscriptRow.current))
        card = session.scalar(select(ScorecardRow.id).where(ScorecardRow.call_id == "refund", ScorecardRow.current))
    line(page, 2).focus()
    page.keyboard.press("e")
    field = page.locator(".panel textarea")
    assert field.input_value() == "这个我没办法，你自己去问银行。"
    field.fill("这个我来办，我帮您去问银行。")
    page.locator(".panel button.primary").click()
    page.locator(".state", has_text="重新评分").wait_for()
    assert "我来办，我帮您" in line(page, 2).inner_text()
    assert page.locator(".item.faults[data-rule='neg.cannot']").count() == 0
    with desk.site.store.read() as session:
        now = session.scalars(select(TranscriptRow).where(TranscriptRow.call_id == "refund", TranscriptRow.current)).one()
        assert (now.made_by, now.id != machine) == ("second", True)
        assert session.get(TranscriptRow, machine).made_by is None
        new = session.scalars(select(ScorecardRow).where(ScorecardRow.call_id == "refund", ScorecardRow.current)).one()
        assert (new.transcript_id, new.id != card) == (now.id, True)
    [told] = rows(desk, Correction, call_id="refund")
    assert (told.kind, told.turn, told.from_transcript) == ("words", 2, machine)
    line(page, 2).locator(".note.corrected button").click()
    until(lambda: "没办法" in line(page, 2).inner_text())
    page.locator(".item.faults[data-rule='neg.cannot']").wait_for()
    with desk.site.store.read() as session:
        now = session.scalars(select(TranscriptRow).where(TranscriptRow.call_id == "refund", TranscriptRow.current)).one()
        assert now.id == machine


def test_finishing_goes_to_the_next_and_leaves_the_list(desk: Desk):
    page = desk.open("stray", query="&view=all&sort=newest")
    page.locator(".finish").click()
    page.wait_for_url(lambda url: "id=stray" not in url)
    ready(page)
    assert "view=all" in page.url
    [review] = rows(desk, Review, call_id="stray")
    assert review.who == "inspector"
    with desk.site.store.read() as session:
        assert session.get_one(Call, "stray").review == "done"


# Last: it kills the server.


def test_point_21_killed_in_the_middle_only_the_last_seconds_of_typing_are_lost(desk: Desk):
    page = desk.open("number")
    quiet(page)
    page.locator(".item .verdicts button").first.click()
    saved(page)
    judged = rows(desk, Verdict, call_id="number")[-1].verdict
    line(page, 0).focus()
    page.keyboard.press("c")
    field = page.locator(".panel textarea")
    field.press_sequentially("开头没有自报姓名", delay=20)
    until(lambda: drafts(desk) == {"comment:0": "开头没有自报姓名"}, 5)
    field.press_sequentially("，还", delay=20)
    desk.server.kill()
    field.press_sequentially("少了", delay=20)
    page.wait_for_timeout(1500)
    page.keyboard.press("Control+Enter")
    page.locator(".state.problem").wait_for()  # told, and what is typed is still there
    assert field.input_value() == "开头没有自报姓名，还少了"
    desk.server.start()
    with desk.site.store.read() as session:
        assert session.scalar(select(func.count()).select_from(Comment).where(Comment.call_id == "number")) == 0
    page = desk.open("number")
    pressed = page.locator(".verdicts button[aria-pressed=true]").first
    assert judged in pressed.get_attribute("class")
    page.locator(".drafts").click()
    kept = page.locator(".panel textarea").input_value()
    assert "开头没有自报姓名，还少了".startswith(kept)
    assert kept.startswith("开头没有自报姓名")
    page.keyboard.press("Control+Enter")
    saved(page)
    assert [row.text for row in rows(desk, Comment, call_id="number")] == [kept]
    assert drafts(desk) == {}


def drafts(desk: Desk) -> dict[str, str]:
    with desk.site.store.read() as session:
        return {row.field: row.text for row in session.scalars(select(Draft).where(Draft.call_id == "number"))}
