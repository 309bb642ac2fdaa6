"""The call page's own requests: a call as data, and every command on it.

    GET  /api/call?call=ID[&unmasked=1]     sheet and state (qa/player_data.py)
    POST /api/call/COMMAND                  a JSON object with `call` and the command's fields

A command answers with the state as it is by then, and with the sheet where the transcript is another than the one that
the page has. So a page never waits for a rerun, and the sound plays on. What cannot be done answers with a status and a
message in the reader's language: 403 not allowed, 404 not there, 409 somebody or something was first, 422 not like that.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any

import structlog
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from qa.access import AccessDenied, Identity
from qa.call_view import open_call
from qa.comments import NothingWritten, comment, withdraw_comment
from qa.corrections import (
    Masked,
    NothingChanged,
    correct_role,
    correct_words,
    score_again,
    swap_channels,
    undo_correction,
)
from qa.desk import Desk
from qa.drafts import forget_draft, save_draft
from qa.judging import BadPlace, JudgedMeanwhile, Judgement, judge, take_back
from qa.marks import Kind, mark, withdraw_mark
from qa.messages import LANGUAGES, in_language, text
from qa.origin import same_origin
from qa.player_data import Reader, sheet, state
from qa.review import Conflict
from qa.rulebook import scoring_in_force
from qa.scoring import Scoring
from qa.verdicts import Place, Verdict
from speech.types import Role

log = structlog.get_logger("huiting.call")

MAX_BODY_BYTES = 64 * 1024
PRIVATE = {"Cache-Control": "private, no-store"}
Body = Mapping[str, Any]
Undo = tuple[str, int]  # the command that takes it back, and the id of what is taken back


class BadField(ValueError):
    """A field of a command that is missing or of the wrong kind."""


def call_routes(desk: Desk) -> list[Route]:
    api = _CallApi(desk)
    return [
        Route("/api/call", api.read, methods=["GET"]),
        Route("/api/call/{command}", api.command, methods=["POST"]),
    ]


class _CallApi:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._scoring: tuple[str, Scoring] | None = None  # by the rules' fingerprint; takes a while to load
        self._scoring_lock = threading.Lock()
        self._commands: Mapping[str, Callable[[Identity, Body], Undo | None]] = {
            "verdict": self._verdict,
            "take_back_verdict": self._by_id(take_back),
            "withdraw_verdict": self._by_id(partial(take_back, restore=False)),
            "comment": self._comment,
            "withdraw_comment": self._by_id(withdraw_comment),
            "mark": self._mark,
            "withdraw_mark": self._by_id(withdraw_mark),
            "correct": self._correct,
            "undo_correction": self._by_id(undo_correction),
            "draft": self._draft,
            "state": lambda identity, body: None,
        }

    async def read(self, request: Request) -> Response:
        return await run_in_threadpool(self._read, request)

    async def command(self, request: Request) -> Response:
        if not same_origin(request):
            return JSONResponse({"error": "denied"}, HTTPStatus.FORBIDDEN, headers=PRIVATE)
        if int(request.headers.get("content-length") or MAX_BODY_BYTES + 1) > MAX_BODY_BYTES:
            return JSONResponse({"error": "too_long"}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, headers=PRIVATE)
        body = await request.body()
        return await run_in_threadpool(self._command, request, body)

    def _read(self, request: Request) -> Response:
        identity: Identity = request.state.identity
        call_id = request.query_params.get("call", "")
        unmasked = request.query_params.get("unmasked") == "1"
        with in_language(self._language(identity)):
            try:
                view = open_call(self._desk.store, identity, call_id, self._desk.pack, unmasked=unmasked)
            except AccessDenied:
                return self._refused("denied", HTTPStatus.FORBIDDEN, text("app.no_such_call"))
            except KeyError:
                return self._refused("not_heard", HTTPStatus.NOT_FOUND, text("app.not_heard"))
            reader = self._reader(identity)
            shown = {"sheet": sheet(view, reader), "state": state(view, self._desk.pack, reader)}
        # A correction whose scoring died with the server is taken up by whoever looks next.
        return JSONResponse(shown, headers=PRIVATE, background=self._to_score(call_id) if view.scoring else None)

    def _command(self, request: Request, raw: bytes) -> Response:
        identity: Identity = request.state.identity
        name = request.path_params["command"]
        with in_language(self._language(identity)):
            try:
                body = _read_body(raw)
                act = self._commands[name]
            except (BadField, KeyError):
                return self._refused("bad_request", HTTPStatus.BAD_REQUEST, text("call.bad_request"))
            try:
                undo = act(identity, body)
            except AccessDenied:
                return self._refused("denied", HTTPStatus.FORBIDDEN, text("call.denied"))
            except JudgedMeanwhile as first:
                told = text(
                    "call.meanwhile", who=first.by.who, role=text(f"app.role_{first.by.role}"),
                    when=self._reader(identity).at(first.by.at),
                )  # fmt: skip
                return self._answer(identity, body, error="meanwhile", message=told, status=HTTPStatus.CONFLICT)
            except Conflict:
                told = text("app.conflict")
                return self._answer(identity, body, error="conflict", message=told, status=HTTPStatus.CONFLICT)
            except Masked:
                return self._refused("masked", HTTPStatus.UNPROCESSABLE_ENTITY, text("call.unmask_first"))
            except NothingChanged:
                return self._refused("nothing", HTTPStatus.UNPROCESSABLE_ENTITY, text("call.nothing_changed"))
            except NothingWritten:
                return self._refused("empty", HTTPStatus.UNPROCESSABLE_ENTITY, text("call.nothing_written"))
            except (BadField, BadPlace, ValueError, KeyError) as error:
                log.warning("a command that cannot be", command=name, error=repr(error))
                return self._refused("bad_request", HTTPStatus.UNPROCESSABLE_ENTITY, text("call.bad_request"))
            if name == "draft":
                return JSONResponse({"saved": True}, headers=PRIVATE)
            return self._answer(identity, body, undo=undo)

    def _answer(
        self,
        identity: Identity,
        body: Body,
        *,
        undo: Undo | None = None,
        error: str = "",
        message: str = "",
        status: HTTPStatus = HTTPStatus.OK,
    ) -> Response:
        unmasked = body.get("unmasked") is True
        pack, reader = self._desk.pack, self._reader(identity)
        view = open_call(self._desk.store, identity, str(body["call"]), pack, unmasked=unmasked)
        answer: dict[str, Any] = {"state": state(view, pack, reader)}
        if view.transcript_id != body.get("transcript"):
            answer["sheet"] = sheet(view, reader)
        if error:
            answer |= {"error": error, "message": message}
        elif undo is not None:
            answer["undo"] = {"command": undo[0], "id": undo[1]}
        background = self._to_score(view.row.id) if view.scoring and not error else None
        return JSONResponse(answer, status, headers=PRIVATE, background=background)

    def _refused(self, error: str, status: HTTPStatus, message: str) -> Response:
        return JSONResponse({"error": error, "message": message}, status, headers=PRIVATE)

    def _language(self, identity: Identity) -> str:
        chosen = identity.language or self._desk.settings.site.language[:2]
        return chosen if chosen in LANGUAGES else "zh"

    def _reader(self, identity: Identity) -> Reader:
        return Reader(identity, self._language(identity), self._desk.settings.time_zone)

    # --- the commands

    def _verdict(self, identity: Identity, body: Body) -> Undo:
        place = body.get("place")
        given = Judgement(
            _string(body, "call"),
            _number(body, "scorecard"),
            _string(body, "rule"),
            Verdict(_string(body, "verdict")),
            finding=None if body.get("finding") is None else _number(body, "finding"),
            place=None if place is None else Place(*(_number(place, key) for key in ("turn", "from", "to"))),
            note=_string(body, "note", ""),
            known=_number(body, "known"),
            event_id=_string(body, "event", "")[:64],
        )
        saved = judge(self._desk.store, identity, given)
        self._sent(identity, body)
        return "take_back_verdict", saved

    def _comment(self, identity: Identity, body: Body) -> Undo:
        saved = comment(
            self._desk.store, identity, _string(body, "call"), _number(body, "turn"), _string(body, "text")
        )
        self._sent(identity, body)
        return "withdraw_comment", saved

    def _mark(self, identity: Identity, body: Body) -> Undo:
        turns = None if body.get("first") is None else (_number(body, "first"), _number(body, "last"))
        saved = mark(
            self._desk.store, identity, _string(body, "call"), Kind(_string(body, "kind")), turns, _string(body, "note", "")
        )
        self._sent(identity, body)
        return "withdraw_mark", saved

    def _correct(self, identity: Identity, body: Body) -> Undo:
        store, call_id, seen = self._desk.store, _string(body, "call"), _number(body, "transcript")
        kind = _string(body, "kind")
        if kind == "words":
            unmasked = body.get("unmasked") is True
            saved = correct_words(
                store, identity, call_id, seen, _number(body, "turn"), _string(body, "text"), unmasked=unmasked
            )
        elif kind == "role":
            saved = correct_role(store, identity, call_id, seen, _number(body, "turn"), Role(_string(body, "role")))
        elif kind == "channels":
            saved = swap_channels(store, identity, call_id, seen)
        else:
            raise BadField("kind")
        self._sent(identity, body)
        return "undo_correction", saved

    def _draft(self, identity: Identity, body: Body) -> None:
        save_draft(
            self._desk.store, identity, _string(body, "call"), _string(body, "field"), _string(body, "text", "")
        )

    def _by_id(self, act: Callable[..., object]) -> Callable[[Identity, Body], None]:
        def taken_back(identity: Identity, body: Body) -> None:
            act(self._desk.store, identity, _number(body, "id"))

        return taken_back

    def _sent(self, identity: Identity, body: Body) -> None:
        """What was a draft has been sent."""
        if field := _string(body, "draft", ""):
            with self._desk.store.write() as session:
                forget_draft(session, identity, _string(body, "call"), field)

    # --- scoring a corrected call, after the answer has gone out

    def _to_score(self, call_id: str) -> BackgroundTask:
        return BackgroundTask(self._score, call_id)

    def _score(self, call_id: str) -> None:
        try:
            with self._scoring_lock:
                score_again(self._desk.store, self._rules(), call_id)
        except Exception:
            log.exception("a corrected call was not scored; the next night tries again", call=call_id)

    def _rules(self) -> Scoring:
        pack = self._desk.pack
        if self._scoring is None or self._scoring[0] != pack.fingerprint:
            self._scoring = pack.fingerprint, scoring_in_force(self._desk.settings, self._desk.store)
        return self._scoring[1]


def _read_body(raw: bytes) -> Body:
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise BadField("body") from error
    if not isinstance(body, dict):
        raise BadField("body")
    _string(body, "call")
    return body


def _string(body: Body, field: str, default: str | None = None) -> str:
    value = body.get(field, default)
    if not isinstance(value, str) or "\0" in value:
        raise BadField(field)
    return value


def _number(body: Body, field: str) -> int:
    value = body.get(field)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise BadField(field)
    return value
