"""The app: its own routes behind the guard, and every page for every role in both languages."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest
from appsite import DIALOGUES, PASSWORD, AppSite, build
from google.protobuf.json_format import MessageToDict
from sqlalchemy import select, update
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from streamlit.runtime.context import ContextProxy
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

import qa
from qa import accounts, desk
from qa.access import MATRIX, Identity, Reach, Right, Role
from qa.call_view import open_call
from qa.commands.app import close_demo_accounts, demo_accounts, ensure_admin
from qa.file_messages import keep, keep_refusal
from qa.judging import Judgement, judge
from qa.media import Hearing
from qa.messages import catalogue
from qa.pages.audit import _value as audit_value
from qa.store.accounts import Account
from qa.store.coaching import ClipPack, CoachingAssignment
from qa.store.schema import AuditEvent, NightFile
from qa.verdicts import Place, Verdict
from qa.web import PAGES, RIGHT_TO, Guard, _local, routes

APP = Path(__file__).resolve().parent.parent / "app.py"
HTML = {"accept": "text/html"}
ORIGIN = {"origin": "http://testserver"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[AppSite]:
    made = build(tmp_path)
    yield made
    made.store.close()


@pytest.fixture
def client(site: AppSite) -> Iterator[TestClient]:
    """The app's routes behind its guard, with a page and a websocket in the place of Streamlit's."""

    async def page(request):
        return PlainTextResponse("page")

    async def socket(websocket):
        await websocket.accept()
        await websocket.send_text("open")
        await websocket.close()

    inner = [*routes(site.desk), WebSocketRoute("/_stcore/stream", socket), Route("/{rest:path}", page)]
    app = Starlette(routes=inner, middleware=[Middleware(Guard, desk=site.desk)])
    with TestClient(app, follow_redirects=False) as made:
        yield made


def sign_in(client: TestClient, login: str, password: str = PASSWORD, **query: str):
    return client.post("/sign-in", params=query, data={"login": login, "password": password}, headers=ORIGIN)


def actions(site: AppSite) -> list[tuple[str, str, str | None]]:
    with site.store.read() as session:
        rows = session.execute(select(AuditEvent.who, AuditEvent.action, AuditEvent.call_id).order_by(AuditEvent.id))
        return [tuple(row) for row in rows]


# The guard


def test_nobody_gets_past_without_a_session(client: TestClient):
    sent = client.get("/queue?agent=A1&view=all", headers=HTML)
    assert sent.status_code == 303
    assert sent.headers["location"] == "/sign-in?next=" + quote("/queue?agent=A1&view=all")
    for path in ("/api/sound/number", "/api/peaks/number", "/media/x.png", "/_stcore/host-config", "/api/sound/none"):
        assert client.get(path).status_code == 403
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/_stcore/stream"):
        pass
    assert client.get("/_stcore/health").text == "page"


def test_an_address_that_is_no_page_is_told_in_the_readers_language(client: TestClient, site: AppSite):
    cookie = {"cookie": "; ".join(f"{name}={value}" for name, value in site.cookies(Role.LEAD).items())}
    for path in ("/no-such-page", "/queue/extra", "/Queue"):
        sent = client.get(path, headers={**HTML, **cookie})
        assert (sent.status_code, sent.headers["location"]) == (303, "/nowhere"), path
    for path in (f"/{address}" for address in PAGES):
        assert client.get(path, headers={**HTML, **cookie}).text == "page", path
    assert client.get("/media/x.png", headers={**HTML, **cookie}).status_code != 303
    assert client.get("/no-such-script.js", headers=cookie).text == "page"  # a script's request is answered as Streamlit does


def test_the_guard_knows_the_pages_of_the_app():
    own = re.findall(r'url_path="(\w+)"', APP.read_text("utf-8"))
    folder = APP.parent / "qa" / "pages"
    named = [found for path in folder.glob("*.py") for found in re.findall(r'^ADDRESS = "(\w+)"', path.read_text("utf-8"), re.M)]
    assert {"", *own, *named} == PAGES


def test_a_forged_or_changed_cookie_is_nobodys(client: TestClient, site: AppSite):
    [(name, good)] = site.cookies(Role.LEAD).items()
    token = site.desk.token({name: good})
    assert token is not None
    # not the last character: two of its bits are padding, and another letter there can spell the same signature
    body, signature = good.rsplit(".", 1)
    changed = f"{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    for forged in (changed, token, f"{token}.x.y", "", "x" * 5_000):
        assert client.get("/api/sound/number", headers={"cookie": f"{name}={forged}"}).status_code == 403
    assert client.get("/api/sound/number", headers={"cookie": f"{name}={good}"}).status_code == 200


def test_signing_in_sets_a_cookie_that_scripts_cannot_read(client: TestClient):
    answer = sign_in(client, "lead", next="/call?id=refund")
    assert (answer.status_code, answer.headers["location"]) == (303, "/call?id=refund")
    cookie = next(c for c in answer.headers.get_list("set-cookie") if c.startswith("huiting_session"))
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert client.get("/queue", headers=HTML).text == "page"
    with client.websocket_connect("/_stcore/stream") as socket:
        assert socket.receive_text() == "open"
    assert client.get("/sign-out").headers["location"] == "/sign-in"
    assert client.get("/queue", headers=HTML).status_code == 303


@pytest.mark.parametrize(
    "address",
    ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "evil", "/a\r\nX: y", ""],
)
def test_after_signing_in_one_stays_in_the_app(address: str):
    assert _local(address) == "/"


def test_a_wrong_password_and_a_locked_name_are_told_in_both_languages(client: TestClient):
    for language, wrong, locked in (("zh", "不对", "锁定"), ("en", "wrong", "locked")):
        for _ in range(accounts.MAX_FAILURES):
            answer = sign_in(client, f"nobody-{language}", "<script>x", lang=language)
            assert answer.status_code == 401
            assert wrong in answer.text
        assert locked in sign_in(client, f"nobody-{language}", "x", lang=language).text
    assert "<script>x" not in sign_in(client, "<script>x", "y").text


def test_forms_from_elsewhere_are_refused(client: TestClient):
    form = {"login": "lead", "password": PASSWORD}
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        assert client.post("/sign-in", data=form, headers=headers).status_code == 403
    assert client.post("/sign-in", data={**form, "x": "y" * 10_000}, headers=ORIGIN).status_code == 403


def test_a_one_time_password_leads_to_the_page_for_a_new_one_and_nowhere_else(client: TestClient, site: AppSite):
    with site.store.write() as session:
        once = accounts.reset_password(session, "test", "lead")
    assert sign_in(client, "lead", once).headers["location"] == "/password"
    assert client.get("/queue", headers=HTML).headers["location"].startswith("/password")
    assert client.get("/api/sound/number").status_code == 403
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/_stcore/stream"):
        pass
    new = {"old": once, "new": "a new long passphrase", "again": "a new long passphrase"}
    assert client.post("/password", data={**new, "again": "other"}, headers=ORIGIN).status_code == 401
    assert client.post("/password", data=new, headers=ORIGIN).status_code == 303
    assert client.get("/queue", headers=HTML).text == "page"


def test_every_answer_forbids_other_machines(client: TestClient):
    for path in ("/sign-in", "/queue", "/api/sound/number"):
        policy = client.get(path, headers=HTML).headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "http" not in policy


# Sound


REACHED = {
    Reach.NONE: set(),
    Reach.OWN: {"refund"},  # agent A1's, in team north
    Reach.TEAMS: {"refund", "number"},  # north
    Reach.ALL: set(DIALOGUES),
}


@pytest.mark.parametrize("hearing", Hearing)
@pytest.mark.parametrize("role", Role)
def test_every_cell_of_the_matrix_on_the_sound_route(client: TestClient, site: AppSite, role: Role, hearing: Hearing):
    """Calls of one's own, of a team, of others, of nobody; `number` alone has a recording, the others answer 404 to
    who may hear them and 403 to who may not.
    """
    allowed = REACHED[MATRIX[role][RIGHT_TO[hearing]]]
    client.cookies.update(site.cookies(role))
    for call in DIALOGUES:
        answer = client.get(f"/api/sound/{call}", params={"hearing": hearing.value})
        expected = (200 if call == "number" else 404) if call in allowed else 403
        assert answer.status_code == expected, call
    played = [(who, call) for who, action, call in actions(site) if action == f"play {hearing.value}"]
    assert played == ([(role.value, "number")] if "number" in allowed else [])


def test_sound_comes_in_ranges_and_one_sitting_is_one_play(client: TestClient, site: AppSite):
    client.cookies.update(site.cookies(Role.LEAD))
    whole = client.get("/api/sound/number")
    assert whole.headers["content-type"] == "audio/ogg"
    assert whole.headers["cache-control"] == "private, no-store"
    part = client.get("/api/sound/number", headers={"range": "bytes=100-299"})
    assert part.status_code == 206
    assert part.content == whole.content[100:300]
    assert [a for a in actions(site) if a[1].startswith("play")] == [("lead", "play masked", "number")]
    original = client.get("/api/sound/number?hearing=original")
    assert original.content == (site.folder / "number.wav").read_bytes()
    assert client.head("/api/sound/number").status_code == 200


def test_calls_without_a_recording_and_recordings_that_are_gone(client: TestClient, site: AppSite):
    client.cookies.update(site.cookies(Role.INSPECTOR))
    assert client.get("/api/sound/refund").status_code == 404
    assert client.get("/api/sound/none").status_code == 403
    assert client.get("/api/sound/number?hearing=../../etc/passwd").status_code == 403
    (site.folder / "number.wav").unlink()
    assert client.get("/api/sound/number").status_code == 410
    assert client.get("/api/sound/number?hearing=original").status_code == 410


def test_peaks_are_those_of_the_masked_copy(client: TestClient, site: AppSite):
    client.cookies.update(site.cookies(Role.TRAINER))
    peaks = client.get("/api/peaks/number").json()
    assert len(peaks["channels"]) == 2
    client.cookies.update(site.cookies(Role.AGENT))
    assert client.get("/api/peaks/number").status_code == 403


# Pages

OPENS = {
    "today": {Role.INSPECTOR, Role.LEAD, Role.TRAINER, Role.ADMIN},
    "queue": {Role.INSPECTOR, Role.LEAD, Role.TRAINER, Role.ADMIN},
    "mine": {Role.AGENT},
    "search": set(Role) - {Role.OPERATOR},
    "call": set(Role) - {Role.OPERATOR},
    "files": set(Role) - {Role.AGENT},
    "settings": {Role.OPERATOR, Role.ADMIN},
    "accounts": {Role.ADMIN},
    "audit": {Role.ADMIN},
    "board": {Role.INSPECTOR, Role.LEAD, Role.TRAINER, Role.ADMIN},
    "coaching": {Role.AGENT, Role.LEAD, Role.TRAINER},
}
QUERIES = {"call": {"id": "refund"}, "search": {"q": "您好"}, "queue": {"view": "all"}}
# Other faces of a page, beside the one above.
FACES: dict[str, list[dict[str, str]]] = {
    "board": [{"result": "reviewed", "measure": "score"}],
    "queue": [{"view": "all", "result": "reviewed", "fatal_class": "customer-critical"}, {"view": "mine"}],
    "rules": [{"view": name} for name in ("try", "accuracy", "change", "versions")],
    "files": [{"night": "1", "outcome": "quarantined"}, {"night": "1", "outcome": "skipped"}],
    "coaching": [{"part": "packs"}, {"part": "find"}],
    "mine": [{"unread": "1"}],
}


@pytest.fixture
def visitor(site: AppSite, monkeypatch: pytest.MonkeyPatch):
    """Opens app.py as a role: `visitor(role, address, language, query)`."""
    monkeypatch.setenv("HUITING_SETTINGS", str(site.settings_file))
    desk.desk.cache_clear()

    def visit(role: Role | None, address: str = "", language: str = "zh", query: dict[str, str] | None = None):
        cookies = {} if role is None else site.cookies(role)
        monkeypatch.setattr(ContextProxy, "cookies", property(lambda self: cookies))
        if role is not None:
            with site.store.write() as session:
                session.get_one(Account, role.value).language = language
        app = AppTest.from_file(str(APP), default_timeout=60)
        if address:
            app._page_hash = calc_hash(address)
        for name, value in (query or {}).items():
            app.query_params[name] = value
        return app.run()

    yield visit
    desk.desk.cache_clear()


def strings(value: object) -> Iterator[str]:
    """Every text in what a page sends: of protocol messages, of components' data, of mark-up in them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from strings(inner)


def shown(app: AppTest) -> list[str]:
    """All that a page sends to the browser to be read; of components their data, not their scripts."""
    found: list[str] = []
    for element in [*app.main, *app.sidebar]:
        proto = getattr(element, "proto", None)
        if element.type == "bidi_component":
            found += strings(json.loads(proto.json or "null"))  # the router's links have no data
        elif proto is not None:
            found += strings(MessageToDict(proto))
    return [piece for one in found for piece in readable(one)]


class _Reader(HTMLParser):
    """The texts of mark-up, and of the attributes that are read out or shown."""

    READ = ("aria-label", "title", "placeholder", "alt", "data-ask", "data-failed")

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in ("style", "script")
        self.texts += [value for name, value in attrs if name in self.READ and value]

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("style", "script")

    def handle_data(self, data: str) -> None:
        if not self._hidden and data.strip():
            self.texts.append(data.strip())


def readable(source: str) -> list[str]:
    reader = _Reader()
    reader.feed(source)
    reader.close()
    return reader.texts


def test_signed_out_the_router_shows_the_way_in_and_nothing_else(visitor):
    app = visitor(None)
    assert not app.exception
    assert [info.value for info in app.info] == [catalogue("zh")["app.signed_out"]]
    assert not app.title


@pytest.mark.parametrize("role", Role)
def test_every_role_opens_its_pages_and_no_other(visitor, role: Role):
    for address, roles in OPENS.items():
        app = visitor(role, address, query=QUERIES.get(address))
        assert not app.exception, (address, app.exception)
        assert (address in app.session_state["pages"]) == (role in roles), address


CJK = re.compile(r"[\u3400-\u9fff]+")
ENGLISH = re.compile(r"[A-Za-z]+(?:[’'][a-z]+)?(?: [a-z]+(?:[’'][a-z]+)?)+")  # two words of a sentence, or more
# Ours, and the same in both languages: the product's name, and the other language by its own name.
BOTH = {"回听", "中文", "English"}
MESSAGE_ID = re.compile(
    r"\b(?:app|desk|account|board|call|coaching|reason|outcome|role|summary|file|audits|rules_page|accuracy|replay|publish)"
    r"\.[a-z_]+\b"
)


def known_data() -> str:
    """What the calls of the site hold: it stays in its own language."""
    said = [text for _, _, kind, turns in DIALOGUES.values() for _, text, _ in turns]
    return "\n".join([*said, *(f"{agent} {team}" for agent, team, _, _ in DIALOGUES.values())])


def reviewed_and_coached(site: AppSite) -> None:
    """A fault of `refund` cancelled by a lead, another added, files with reasons, and coaching that is overdue."""
    lead = Identity("lead", "lead", Role.LEAD, teams=("north",))
    card = open_call(site.store, lead, "refund").scorecard_id
    assert card is not None
    judge(site.store, lead, Judgement("refund", card, "neg.cannot", Verdict.WRONG, finding=0))
    place = Place(turn=2, start_char=0, end_char=2)
    judge(site.store, lead, Judgement("refund", card, "lang.vague", Verdict.MISSED, place=place))
    with site.store.write() as session:
        told = keep_refusal("truncated", {"promised": 60.0, "there": 2.0}, "")
        session.execute(update(NightFile).where(NightFile.reason == "no_speech").values(message=told))
        session.execute(update(NightFile).where(NightFile.reason == "duplicate").values(message=keep("duplicate", twin="x")))
        pack = ClipPack(who="trainer", name="P1")
        session.add(pack)
        session.flush()
        session.add(CoachingAssignment(who="trainer", pack_id=pack.id, agent="A1", goal="G1", due=date(2026, 1, 1)))


def test_no_page_shows_the_other_language(visitor, site: AppSite):
    """Every page that any role opens, in both languages: in English no Chinese but data, in Chinese no English words of
    ours in a row, and no message without a text."""
    data, faults, seen = known_data(), [], set()
    reviewed_and_coached(site)
    for role in (Role.ADMIN, Role.LEAD, Role.AGENT):
        pages = set(visitor(role, "search").session_state["pages"]) - seen
        seen |= pages
        faces = [(a, q) for a in sorted(pages) for q in (QUERIES.get(a), *FACES.get(a, ()))]
        for address, query in faces:
            for language in ("zh", "en"):
                app = visitor(role, address, language, query)
                assert not app.exception, (address, app.exception)
                for text in shown(app):
                    plain = text
                    for turn in data.split("\n"):
                        plain = plain.replace(turn, "")
                    if MESSAGE_ID.search(plain):
                        faults.append((address, language, "no text", text))
                    pattern = CJK if language == "en" else ENGLISH
                    found = [hit for hit in pattern.findall(plain) if hit not in BOTH and hit not in data and not hit.startswith("huiting ")]
                    if found:
                        faults.append((address, language, found, text[:120]))
    assert not faults, "\n".join(map(str, faults))


def test_an_agent_sees_own_calls_only(visitor):
    told = catalogue("zh")["app.no_such_call"]
    assert told not in shown(visitor(Role.AGENT, "call", query={"id": "refund"}))
    for call_id in ("number", "thanks", "no such call"):
        texts = shown(visitor(Role.AGENT, "call", query={"id": call_id}))
        assert told in texts
        assert {"我的通话", "检索"} <= set(texts)  # where to go on from


@pytest.mark.parametrize(("role", "address"), [(Role.LEAD, "mine"), (Role.AGENT, "board"), (Role.OPERATOR, "queue"), (Role.INSPECTOR, "audit")])
def test_the_address_of_a_page_that_is_not_for_the_role_says_so(visitor, role: Role, address: str):
    assert catalogue("zh")["app.page_closed"] in shown(visitor(role, address))


def test_the_queue_takes_its_filter_from_the_address_and_tells_what_is_none(visitor):
    app = visitor(Role.INSPECTOR, "queue", query={"view": "all", "agent": "A3", "below": "low"})
    assert [warning.value for warning in app.warning] == [
        catalogue("zh")["app.bad_filter"].format(field="below", value="low")
    ]
    assert catalogue("zh")["app.row_count"].format(count=1, page=1, pages=1) in shown(app)


# The command's accounts


def test_the_first_start_makes_an_admin_and_the_next_does_not(tmp_path: Path):
    from qa.store import open_store

    store = open_store(f"sqlite:///{tmp_path / 'x.db'}")
    password = ensure_admin(store)
    assert password is not None
    assert accounts.sign_in(store, "admin", password)[0].must_change
    assert ensure_admin(store) is None
    store.close()


def test_demo_accounts_are_one_a_role_and_close_without_demo(site: AppSite):
    made = demo_accounts(site.store)
    assert {role for _, role, _ in made} == set(Role)
    for login, role, password in made:
        identity, _ = accounts.sign_in(site.store, login, password)
        assert (identity.role, identity.demo, identity.must_change) == (role, True, False)
    agent = accounts.sign_in(site.store, "demo-agent", made[0][2])[0]
    assert agent.agent in ("A1", "A2", "A3")
    again = demo_accounts(site.store)
    assert [p for _, _, p in again] != [p for _, _, p in made]
    close_demo_accounts(site.store)
    with pytest.raises(accounts.SignInRefused):
        accounts.sign_in(site.store, again[0][0], again[0][2])
    assert accounts.sign_in(site.store, "lead", PASSWORD)


def audits() -> Iterator[ast.Call]:
    """Where our sources write into the audit trail."""
    for path in sorted(Path(qa.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("audit", "audit_look"):
                yield node


def audited() -> Iterator[str]:
    """The actions, as far as they stand there in full."""
    for node in audits():
        for argument in node.args[2:3]:
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield argument.value


def test_every_detail_of_the_audit_trail_has_a_name_and_its_values_are_told_in_words():
    names = {keyword.arg for node in audits() for keyword in node.keywords if keyword.arg} - {"call_id"}
    assert {"account", "verdict", "unmasked"} <= names
    for language in ("zh", "en"):
        assert {name for name in names if f"desk.detail_{name}" not in catalogue(language)} == set()
        assert {one for one in accounts.Refusal if f"desk.refused_{one}" not in catalogue(language)} == set()
    assert (audit_value("demo", True), audit_value("role", "lead"), audit_value("turn", 3)) == ("是", "组长", "3")


def test_every_action_of_the_audit_trail_is_told_in_words():
    actions = set(audited()) | {f"play {hearing.value}" for hearing in Hearing} | {"see", "unmask"}
    assert {"sign in", "verdict", "acknowledged"} <= actions
    for language in ("zh", "en"):
        known = catalogue(language)
        assert {a for a in actions if f"desk.action_{a.replace(' ', '_')}" not in known} == set()


def test_every_right_is_somebodys():
    assert all(any(MATRIX[role][right] is not Reach.NONE for role in Role) for right in Right)
