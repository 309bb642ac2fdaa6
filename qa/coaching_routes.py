"""The addresses of coaching beside its page: the sound of a clip, and a pack as a ZIP; behind the same cookie."""

from __future__ import annotations

import tempfile
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

import structlog
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from qa.access import AccessDenied
from qa.clips import clip_sound, note_play
from qa.clips_sound import SOUND_TYPE
from qa.coaching_zip import write_pack
from qa.desk import Desk
from qa.media import RecordingGone
from qa.messages import LANGUAGES, in_language

log = structlog.get_logger("huiting.coaching")

PRIVATE = {"Cache-Control": "private, no-store"}


def routes(desk: Desk) -> list[Route]:
    """`/api/clip/ID` in ranges, audited; `/api/pack/ID.zip`, with `named=1` for agents' numbers."""

    async def sound(request: Request) -> Response:
        return await run_in_threadpool(_told, _sound, desk, request)

    async def pack(request: Request) -> Response:
        return await run_in_threadpool(_told, _pack, desk, request)

    return [
        Route("/api/clip/{clip_id:int}", sound, methods=["GET", "HEAD"]),
        Route("/api/pack/{pack_id:int}.zip", pack, methods=["GET"]),
    ]


def _told(answer, desk: Desk, request: Request) -> Response:
    try:
        return answer(desk, request)
    except AccessDenied:
        return PlainTextResponse("forbidden", HTTPStatus.FORBIDDEN, headers=PRIVATE)
    except KeyError:
        return PlainTextResponse("no recording", HTTPStatus.NOT_FOUND, headers=PRIVATE)
    except RecordingGone as error:
        log.error("clip cannot be played", path=request.url.path, error=str(error))
        return PlainTextResponse("the recording is gone", HTTPStatus.GONE, headers=PRIVATE)


def _sound(desk: Desk, request: Request) -> Response:
    clip_id, identity = request.path_params["clip_id"], request.state.identity
    path = clip_sound(desk.store, identity, desk.sound_folder, clip_id)
    if request.method == "GET":
        note_play(desk.store, identity, clip_id)
    return FileResponse(path, media_type=SOUND_TYPE, headers=PRIVATE)


def _pack(desk: Desk, request: Request) -> Response:
    pack_id, identity = request.path_params["pack_id"], request.state.identity
    language = request.query_params.get("lang", "")
    if language not in LANGUAGES:
        language = identity.language or desk.settings.site.language[:2]
    with tempfile.NamedTemporaryFile(suffix=".zip", delete=False) as file:
        out = Path(file.name)
    try:
        with in_language(language):
            name = write_pack(
                desk.store, identity, desk.sound_folder, out, pack_id, desk.settings.time_zone,
                named=request.query_params.get("named") == "1",
            )  # fmt: skip
    except BaseException:
        out.unlink(missing_ok=True)
        raise
    headers = {**PRIVATE, "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}.zip"}
    return FileResponse(out, media_type="application/zip", headers=headers, background=BackgroundTask(out.unlink))
