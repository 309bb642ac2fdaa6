"""A pack of clips as one ZIP that opens in any browser without a server: index.html and the clips' masked sound."""

from __future__ import annotations

import html
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from zoneinfo import ZoneInfo

from qa.access import Identity
from qa.clips import ClipRow, sound_of
from qa.clips_sound import SUFFIX
from qa.coaching import PackClip, clips_of, pack_to_coach
from qa.messages import current_language, text
from qa.redact import mask, mask_identifier
from qa.store.coaching import Clip
from qa.store.engine import Store
from qa.store.queries import audit

INDEX = "index.html"
SOUND = "sound"  # the folder beside it
_PAGE = Template(resources.files("qa").joinpath("pages/coaching_pack.html").read_text("utf-8"))


@dataclass(frozen=True, slots=True)
class _Entry:
    file: str
    sound: Path
    clip: PackClip


def write_pack(
    store: Store, identity: Identity, folder: Path, out: Path, pack_id: int, zone: ZoneInfo, *, named: bool = False
) -> str:
    """Write a pack as a ZIP, after the export was written down. Returns the pack's name.

    `folder` holds the copies of sound. `named`: with the agents' numbers and the days of the calls; otherwise nothing
    says whose calls they are. Raises AccessDenied, RecordingGone, KeyError (a clip without recording).
    """
    with store.write() as session:
        pack = pack_to_coach(session, identity, pack_id)
        audit(session, identity.login, "export pack", pack=pack_id, named=named, clips=[e.clip_id for e in pack.entries])
    with store.read() as session:
        pack = pack_to_coach(session, identity, pack_id)
        clips = clips_of(session, pack, named=named)
        entries = [
            _Entry(f"{SOUND}/{place:02d}{SUFFIX}", sound_of(session, folder, session.get_one(Clip, clip.row.id)), clip)
            for place, clip in enumerate(clips, start=1)
        ]
        name, note = pack.name, pack.note
    with zipfile.ZipFile(out, "w") as archive:
        page = _page(name, note, entries, zone)
        archive.writestr(INDEX, page, zipfile.ZIP_DEFLATED)
        for entry in entries:
            archive.write(entry.sound, entry.file)
    return name


def _page(name: str, note: str, entries: Sequence[_Entry], zone: ZoneInfo) -> str:
    return _PAGE.substitute(
        language="zh-CN" if current_language() == "zh" else "en",
        title=_shown(name),
        note=_paragraphs(note),
        told=html.escape(text("coaching.zip_told", count=len(entries))),
        clips="\n".join(_clip(place, entry, zone) for place, entry in enumerate(entries, start=1)),
    )


def _clip(place: int, entry: _Entry, zone: ZoneInfo) -> str:
    row = entry.clip.row
    lines = "".join(
        f'<li class="{line.role or ""}"><b>{html.escape(text(f"role.{line.role}") if line.role else "")}</b> '
        f"{html.escape(line.text)}</li>"
        for line in entry.clip.lines
    )
    sign = "✓" if row.kind == "good" else "✗"
    kind = html.escape(text(f"coaching.kind_{row.kind}"))
    say = (
        f'<p class="say"><b>{html.escape(text("coaching.say_instead"))}</b> {_shown(row.say_instead)}</p>'
        if row.say_instead
        else ""
    )
    return (
        f'<article class="{row.kind}"><h2><span>{place}</span> {_shown(row.title)} '
        f"<small>{sign} {kind}{_whose(row, zone)}</small></h2>"
        f'<audio controls preload="metadata" src="{entry.file}"></audio>'
        f"<ol>{lines}</ol>{_paragraphs(row.note)}{say}</article>"
    )


def _whose(row: ClipRow, zone: ZoneInfo) -> str:
    if row.agent is None:
        return ""
    day = "" if row.started_at is None else f" · {row.started_at.astimezone(zone):%Y-%m-%d}"
    return f" · {html.escape(mask_identifier(row.agent))}{day}"


def _shown(source: str) -> str:
    """What a person wrote; they may have copied a number into it."""
    return html.escape(mask(source))


def _paragraphs(source: str) -> str:
    return "".join(f"<p>{_shown(line)}</p>" for line in source.splitlines() if line.strip())
