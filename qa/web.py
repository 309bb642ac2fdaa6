"""The app's own routes beside the pages: signing in and out, a new password, sound and its peaks; and the guard.

The guard stands before everything, Streamlit's own addresses and its websocket included: who has no session is sent to
sign in, or refused.
"""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import lru_cache
from http import HTTPStatus
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote, urlsplit

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import Route

from qa import accounts
from qa.access import AccessDenied, Identity, Right
from qa.accounts import AccountError, Refusal, SignInRefused
from qa.call_api import call_routes
from qa.coaching_routes import routes as coaching_routes
from qa.desk import COOKIE, Desk
from qa.figures_files import routes as board_routes
from qa.media import (
    COPY_TYPE,
    Hearing,
    RecordingGone,
    copy_for_browser,
    peaks,
    personal_spans,
    playable,
)
from qa.messages import DEFAULT_LANGUAGE, LANGUAGES, in_language, text
from qa.origin import same_origin
from qa.review import audit_look, recording_of
from qa.store.schema import Recording
from qa.store.transcripts import current_transcript_id, load_transcript
from speech.types import Span

log = structlog.get_logger("huiting.app")

SIGN_IN, SIGN_OUT, PASSWORD = "/sign-in", "/sign-out", "/password"
OPEN_PATHS = frozenset({SIGN_IN, SIGN_OUT, "/_stcore/health", "/favicon.png"})
OPEN_FOLDERS = ("/static/",)  # Streamlit's scripts and styles: public software
PAGES = frozenset(
    {"", "home", "nowhere", "today", "queue", "mine", "search", "board", "rules", "coaching", "call", "files", "settings",
     "accounts", "audit"}
)  # fmt: skip  # the addresses that app.py knows
NOWHERE = "/nowhere"  # the page of all others: Streamlit's own word for them is English
NO_PAGES = ("/_stcore/", "/api/", "/component/", "/media/", *OPEN_FOLDERS)  # what scripts ask for
LANGUAGE_COOKIE = "huiting_language"
MAX_FORM_BYTES = 8_192
REMEMBERED_CALLS = 256
PRIVATE = {"Cache-Control": "private, no-store"}
RIGHT_TO = {Hearing.MASKED: Right.PLAY_MASKED, Hearing.ORIGINAL: Right.PLAY_ORIGINAL}
SECURITY_HEADERS = {
    # The browser itself refuses to ask any other machine for anything.
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' 'wasm-unsafe-eval' blob: data:; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        "media-src 'self' blob:; connect-src 'self'; worker-src 'self' blob:; frame-ancestors 'none'; "
        "form-action 'self'; base-uri 'self'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
}

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def application(desk: Desk, script: Path, *, https: bool = False) -> Any:
    """The whole app as an ASGI application; `script` is the Streamlit router, app.py."""
    import streamlit as st

    return st.App(script, routes=routes(desk, https=https), middleware=[Middleware(Guard, desk=desk)])


def routes(desk: Desk, *, https: bool = False) -> list[Route]:
    """The routes of our own; `https`: the cookie is sent over TLS only."""
    pages = _SignInPages(desk, https)
    sound = _Sound(desk)
    return [
        Route(SIGN_IN, pages.sign_in, methods=["GET", "POST"]),
        Route(SIGN_OUT, pages.sign_out, methods=["GET", "POST"]),
        Route(PASSWORD, pages.password, methods=["GET", "POST"]),
        Route("/api/sound/{call_id:path}", sound.sound, methods=["GET", "HEAD"]),
        Route("/api/peaks/{call_id:path}", sound.peaks, methods=["GET"]),
        *call_routes(desk),
        *board_routes(desk),
        *coaching_routes(desk),
    ]


class Guard:
    """Lets nobody past without a session, and nobody with a one-time password past the page for a new one."""

    def __init__(self, app: Any, desk: Desk) -> None:
        self._app, self._desk = app, desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if path in OPEN_PATHS or path.startswith(OPEN_FOLDERS):
            await self._app(scope, receive, _with_headers(send))
            return
        cookies = HTTPConnection(scope).cookies
        identity = await run_in_threadpool(self._desk.identity, cookies)
        if identity is None:
            await self._refuse(scope, receive, send, SIGN_IN)
        elif identity.must_change and path != PASSWORD:
            await self._refuse(scope, receive, send, PASSWORD)
        elif _is_visit(scope) and path.strip("/") not in PAGES and path != PASSWORD and not path.startswith(NO_PAGES):
            await RedirectResponse(NOWHERE, HTTPStatus.SEE_OTHER)(scope, receive, _with_headers(send))
        else:
            scope.setdefault("state", {})["identity"] = identity
            await self._app(scope, receive, _with_headers(send))

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, to: str) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        if _is_visit(scope):
            query = scope["query_string"].decode("latin-1")
            wanted = scope["path"] + (f"?{query}" if query else "")
            address = to if wanted == "/" else f"{to}?next={quote(wanted)}"
            response: Response = RedirectResponse(address, HTTPStatus.SEE_OTHER)
        else:
            response = PlainTextResponse("forbidden", HTTPStatus.FORBIDDEN)
        await response(scope, receive, _with_headers(send))


def _is_visit(scope: Scope) -> bool:
    """Whether somebody opens an address, and no script asks for it."""
    return (
        scope["type"] == "http"
        and scope["method"] in ("GET", "HEAD")
        and "text/html" in Headers(scope=scope).get("accept", "")
    )


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending


# --- signing in ------------------------------------------------------------------------------------------------


class _SignInPages:
    """Plain forms, without Streamlit: an HttpOnly cookie can be set by an answer to a request only."""

    def __init__(self, desk: Desk, https: bool) -> None:
        self._desk, self._https = desk, https

    async def sign_in(self, request: Request) -> Response:
        if request.method != "POST":
            return self._form(request, "sign_in")
        form = await _form(request)
        if form is None:
            return PlainTextResponse("forbidden", HTTPStatus.FORBIDDEN)
        login, password = form.get("login", ""), form.get("password", "")
        try:
            identity, token = await run_in_threadpool(
                accounts.sign_in, self._desk.store, login, password, client=_client(request)
            )
        except SignInRefused as refused:
            return self._form(request, "sign_in", refused=refused, login=login)
        to = PASSWORD if identity.must_change else _local(request.query_params.get("next", "/"))
        return self._with_session(RedirectResponse(to, HTTPStatus.SEE_OTHER), token)

    async def sign_out(self, request: Request) -> Response:
        token = self._desk.token(request.cookies)
        if token is not None and same_origin(request):
            await run_in_threadpool(accounts.sign_out, self._desk.store, token)
        response = RedirectResponse(SIGN_IN, HTTPStatus.SEE_OTHER)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax", secure=self._https)
        return response

    async def password(self, request: Request) -> Response:
        identity: Identity = request.state.identity
        if request.method != "POST":
            return self._form(request, "password")
        form = await _form(request)
        if form is None:
            return PlainTextResponse("forbidden", HTTPStatus.FORBIDDEN)
        old, new, again = (form.get(name, "") for name in ("old", "new", "again"))
        try:
            if new != again:
                return self._form(request, "password", fault="password_differs")
            await run_in_threadpool(accounts.change_password, self._desk.store, identity, old, new)
        except SignInRefused as refused:
            return self._form(request, "password", refused=refused)
        except AccountError as error:
            return self._form(request, "password", fault=error.fault.value)
        token = await run_in_threadpool(
            accounts.begin_session, self._desk.store, identity, client=_client(request)
        )
        return self._with_session(RedirectResponse("/", HTTPStatus.SEE_OTHER), token)

    def _with_session(self, response: Response, token: str) -> Response:
        response.set_cookie(
            COOKIE,
            self._desk.cookie(token),
            max_age=int(accounts.SESSION_TIME.total_seconds()),
            httponly=True,
            samesite="lax",
            secure=self._https,
            path="/",
        )
        return response

    def _form(
        self,
        request: Request,
        page: str,
        *,
        refused: SignInRefused | None = None,
        fault: str = "",
        login: str = "",
    ) -> Response:
        language = _language(request, self._desk.settings.site.language)
        other = next(code for code in LANGUAGES if code != language)
        with in_language(language):
            problem = self._problem(refused, fault)
            fields = _form_fields(page, login)
            body = _TEMPLATE.substitute(
                language="zh-CN" if language == "zh" else language,
                title=_text(f"app.{page}_title"),
                product=_text("app.product"),
                hint=_text(f"app.{page}_hint", count=accounts.MIN_PASSWORD),
                problem=f'<p role="alert">{html.escape(problem)}</p>' if problem else "",
                fields=fields,
                button=_text(f"app.{page}_button"),
                action=html.escape(_address(request)),
                other=html.escape(_address(request, lang=other)),
                other_name=_text("app.other_language"),
            )
        response = HTMLResponse(body, HTTPStatus.UNAUTHORIZED if problem else HTTPStatus.OK, headers=PRIVATE)
        if language != request.cookies.get(LANGUAGE_COOKIE):
            response.set_cookie(LANGUAGE_COOKIE, language, samesite="lax", httponly=True, secure=self._https)
        return response

    def _problem(self, refused: SignInRefused | None, fault: str) -> str:
        if refused is not None and refused.reason is Refusal.LOCKED and refused.until is not None:
            until = refused.until.astimezone(self._desk.settings.time_zone)
            return text("app.locked_until", time=f"{until:%H:%M}")
        if refused is not None:
            return text("app.wrong_password")
        return text(f"account.{fault}", count=accounts.MIN_PASSWORD) if fault else ""


def _form_fields(page: str, login: str) -> str:
    if page == "sign_in":
        return _field("login", "text", "username", login) + _field("password", "password", "current-password")
    return (
        _field("old", "password", "current-password")
        + _field("new", "password", "new-password")
        + _field("again", "password", "new-password")
    )


def _field(name: str, kind: str, complete: str, value: str = "") -> str:
    focus = " autofocus" if name in ("login", "old") else ""
    return (
        f'<label for="{name}">{_text(f"app.field_{name}")}</label>'
        f'<input id="{name}" name="{name}" type="{kind}" autocomplete="{complete}" '
        f'value="{html.escape(value)}" required maxlength="{accounts.MAX_PASSWORD}"{focus}>'
    )


def _text(message_id: str, **values: object) -> str:
    return html.escape(text(message_id, **values))


_TEMPLATE = Template(resources.files("qa").joinpath("pages/sign_in.html").read_text("utf-8"))


def _address(request: Request, **changes: str) -> str:
    query = {**request.query_params, **changes}
    return request.url.path + ("?" + "&".join(f"{k}={quote(v)}" for k, v in query.items()) if query else "")


def _language(request: Request, default: str) -> str:
    """The language that was asked for, else the one of before, else the site's."""
    for asked in (request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE), default[:2]):
        if asked in LANGUAGES:
            return asked
    return DEFAULT_LANGUAGE


def _local(address: str) -> str:
    """An address within the app; the start page for anything that leads elsewhere."""
    parts = urlsplit(address)
    strange = any(ord(character) < 33 or character == "\\" for character in address)
    if parts.scheme or parts.netloc or strange or not address.startswith("/") or address.startswith("//"):
        return "/"
    return address


async def _form(request: Request) -> Mapping[str, str] | None:
    """The fields of a form of ours; None for one from elsewhere or too long."""
    if not same_origin(request) or int(request.headers.get("content-length") or MAX_FORM_BYTES + 1) > MAX_FORM_BYTES:
        return None
    return {name: value for name, value in (await request.form()).items() if isinstance(value, str)}


def _client(request: Request) -> str:
    return request.client.host if request.client else ""


# --- sound -----------------------------------------------------------------------------------------------------


class _Sound:
    def __init__(self, desk: Desk) -> None:
        # Before requests come in several threads: its parts import each other, and a second thread may meet one half made.
        import av.error  # noqa: F401

        self._desk = desk
        # A browser asks for a recording piece by piece; a stored transcript never changes.
        self._beeps = lru_cache(maxsize=REMEMBERED_CALLS)(self._find_beeps)

    async def sound(self, request: Request) -> Response:
        return await run_in_threadpool(self._answer, request, self._file)

    async def peaks(self, request: Request) -> Response:
        return await run_in_threadpool(self._answer, request, self._peaks)

    def _answer(self, request: Request, make: Callable[[Request, Hearing], Response]) -> Response:
        try:
            return make(request, Hearing(request.query_params.get("hearing", Hearing.MASKED)))
        except (AccessDenied, ValueError):
            return PlainTextResponse("forbidden", HTTPStatus.FORBIDDEN, headers=PRIVATE)
        except KeyError:
            return PlainTextResponse("no recording", HTTPStatus.NOT_FOUND, headers=PRIVATE)
        except RecordingGone as error:
            log.error("recording cannot be played", call=request.path_params["call_id"], error=str(error))
            return PlainTextResponse("the recording is gone", HTTPStatus.GONE, headers=PRIVATE)

    def _file(self, request: Request, hearing: Hearing) -> Response:
        identity: Identity = request.state.identity
        call_id = request.path_params["call_id"]
        path, media_type = self._copy(identity, call_id, hearing)
        if request.method == "GET":
            audit_look(self._desk.store, identity, f"play {hearing.value}", call_id)
        return FileResponse(path, media_type=media_type, headers=PRIVATE)

    def _peaks(self, request: Request, hearing: Hearing) -> Response:
        """Always as the masked sound has them: a waveform is no reason to open the original."""
        found, beeps = self._recording(request.state.identity, request.path_params["call_id"], Hearing.MASKED)
        return JSONResponse(peaks(self._desk.sound_folder, Path(found.path), found.sha256, beeps), headers=PRIVATE)

    def _copy(self, identity: Identity, call_id: str, hearing: Hearing) -> tuple[Path, str]:
        """Raises AccessDenied; KeyError for a call without recording or transcript; RecordingGone."""
        found, beeps = self._recording(identity, call_id, hearing)
        recording = Path(found.path)
        as_it_is = None if beeps else playable(recording, found.size)
        if as_it_is is not None:
            return recording, as_it_is
        return copy_for_browser(self._desk.sound_folder, recording, found.sha256, hearing, beeps), COPY_TYPE

    def _recording(
        self, identity: Identity, call_id: str, hearing: Hearing
    ) -> tuple[Recording, tuple[Span, ...]]:
        """A call's recording and what of it is beeped. Raises AccessDenied; KeyError."""
        found = recording_of(self._desk.store, identity, RIGHT_TO[hearing], call_id)
        if found is None:
            raise KeyError(call_id)
        if hearing is Hearing.ORIGINAL:
            return found, ()
        with self._desk.store.read() as session:
            transcript_id = current_transcript_id(session, call_id)
        if transcript_id is None:
            raise KeyError(call_id)
        return found, self._beeps(call_id, transcript_id)

    def _find_beeps(self, call_id: str, transcript_id: int) -> tuple[Span, ...]:
        with self._desk.store.read() as session:
            return tuple(personal_spans(load_transcript(session, call_id, transcript_id)))
