"""Clips, packs and assignments: who may, what is shown and heard, and the pack that leaves as a ZIP."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from appsite import (
    DIALOGUES,
    MONDAY,
    PERSON_TONE,
    REST_TONE,
    build,
    judge_anew,
    number_span,
    transcript,
    write_sound,
)
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from qa import clips, coaching
from qa.access import AccessDenied, Identity, Role
from qa.clips import ClipDraft, ClipFilter, CoachingError, Fault, lines_between, read_tags, save_clip
from qa.clips_sound import cut_sound
from qa.coaching import State
from qa.coaching_zip import INDEX, write_pack
from qa.marks import Kind
from qa.media import BEEP_HERTZ, RecordingGone, personal_spans
from qa.messages import in_language
from qa.review import Conflict
from qa.store import Store
from qa.store.accounts import Account
from qa.store.coaching import CoachingAssignment
from qa.store.schema import AuditEvent, Call, Recording
from qa.web import Guard, routes
from speech.audio import SAMPLE_RATE, content_hash, decode
from speech.types import Span

ZONE = ZoneInfo("Asia/Shanghai")
TODAY = date(2026, 3, 2)
TRAINER = Identity("trainer", "t", Role.TRAINER)
NORTH = Identity("north", "n", Role.LEAD, teams=("north",))
SOUTH = Identity("south", "s", Role.LEAD, teams=("south",))
A1 = Identity("a1", "a", Role.AGENT, agent="A1", teams=("north",))
A3 = Identity("a3", "a", Role.AGENT, agent="A3", teams=("south",))
OTHERS = (Identity("i", "i", Role.INSPECTOR), Identity("o", "o", Role.OPERATOR), Identity("ad", "ad", Role.ADMIN))


@dataclass(frozen=True)
class Place:
    store: Store
    folder: Path
    sound: Path


@pytest.fixture
def place(store: Store, tmp_path: Path) -> Place:
    """The calls of the test site, each with a recording but `stray`; agents A1 (north), A2 (north), A3 (south)."""
    sound = write_sound(tmp_path / "number.wav")
    with store.write() as session:
        recording = Recording(path=str(sound), sha256=content_hash(sound), size=sound.stat().st_size)
        for call_id, (agent, team, kind, _) in DIALOGUES.items():
            call = Call(id=call_id, agent=agent, team=team, kind=kind, started_at=MONDAY)
            call.recording = None if call_id == "stray" else recording
            session.add(call)
            session.flush()
            judge_anew(session, call)
        for person in (A1, A3):
            session.add(
                Account(
                    login=person.login, name="", role="agent", agent=person.agent, teams=list(person.teams), password="x"
                )
            )
    return Place(store, tmp_path / "sound", sound)


def draft(call_id: str = "number", start: float = 3.0, end: float = 8.0, **more) -> ClipDraft:
    return ClipDraft(call_id, start, end, more.pop("kind", Kind.GOOD), more.pop("title", "登记号码"), **more)


def audited(store: Store) -> list[tuple[str, str, str | None]]:
    with store.read() as session:
        rows = session.execute(select(AuditEvent.who, AuditEvent.action, AuditEvent.call_id).order_by(AuditEvent.id))
        return [tuple(row) for row in rows]


def refused(fault: Fault):
    return pytest.raises(CoachingError, check=lambda error: error.fault is fault)


# Clips


def test_a_clip_is_made_found_changed_and_taken_out(place: Place):
    store = place.store
    made = save_clip(store, TRAINER, draft(rule="neg.cannot", note="语气平稳", tags=read_tags("登记，号码 登记")))
    [row], total = clips.list_clips(store, TRAINER, ClipFilter())
    assert (total, row.id, row.tags, row.agent, row.seconds) == (1, made, ("号码", "登记"), "A2", 5.0)
    save_clip(store, TRAINER, draft(title="改过", tags=("登记",)), made, row.version)
    [changed], _ = clips.list_clips(store, TRAINER, ClipFilter(tag="登记"))
    assert (changed.title, changed.tags, changed.rule) == ("改过", ("登记",), None)
    clips.retire_clip(store, TRAINER, made)
    assert clips.list_clips(store, TRAINER, ClipFilter())[1] == 0
    assert clips.list_clips(store, TRAINER, ClipFilter(retired=True))[1] == 1
    clips.retire_clip(store, TRAINER, made, back=True)
    assert clips.list_clips(store, TRAINER, ClipFilter())[1] == 1
    assert [action for _, action, _ in audited(store)] == ["clip made", "clip changed", "clip retired", "clip put back"]


def test_who_comes_second_is_told_and_overwrites_nothing(place: Place):
    made = save_clip(place.store, TRAINER, draft())
    [seen], _ = clips.list_clips(place.store, TRAINER, ClipFilter())
    save_clip(place.store, NORTH, draft(title="先"), made, seen.version)
    with pytest.raises(Conflict):
        save_clip(place.store, TRAINER, draft(title="后"), made, seen.version)
    assert clips.list_clips(place.store, TRAINER, ClipFilter())[0][0].title == "先"


@pytest.mark.parametrize(
    ("given_", "fault"),
    [
        (draft(title="  "), Fault.TITLE),
        (draft(title="长" * 101), Fault.TITLE),
        (draft(note="长" * 2_001), Fault.TEXT_LONG),
        (draft(tags=tuple("abcdefghijk")), Fault.TAGS),
        (draft(tags=("长" * 31,)), Fault.TAGS),
        (draft(start=5.0, end=5.2), Fault.SPAN),
        (draft(start=8.0, end=3.0), Fault.SPAN),
        (draft(start=-1.0), Fault.SPAN),
        (draft(end=999.0), Fault.SPAN),
        (draft("stray", 0.0, 1.0), Fault.NO_RECORDING),
    ],
)
def test_what_is_no_clip_is_refused_and_nothing_is_saved(place: Place, given_: ClipDraft, fault: Fault):
    with refused(fault):
        save_clip(place.store, TRAINER, given_)
    assert clips.list_clips(place.store, TRAINER, ClipFilter())[1] == 0


def test_clips_reach_as_far_as_the_right_to_coach(place: Place):
    store = place.store
    north, south = save_clip(store, TRAINER, draft("refund", 0, 4)), save_clip(store, TRAINER, draft("thanks", 0, 4))
    assert [row.id for row in clips.list_clips(store, NORTH, ClipFilter())[0]] == [north]
    assert [row.id for row in clips.list_clips(store, SOUTH, ClipFilter())[0]] == [south]
    with pytest.raises(AccessDenied):
        save_clip(store, NORTH, draft("thanks", 0, 4))
    with pytest.raises(AccessDenied):
        clips.retire_clip(store, NORTH, south)
    for person in (A1, *OTHERS):
        for ask in (
            lambda p: clips.list_clips(store, p, ClipFilter()),
            lambda p: clips.known_tags(store, p),
            lambda p: save_clip(store, p, draft("refund", 0, 4)),
            lambda p: clips.retire_clip(store, p, north),
            lambda p: clips.clip_sound(store, p, place.folder, north),
            lambda p: clips.note_play(store, p, north),
            lambda p: coaching.list_packs(store, p),
            lambda p: coaching.save_pack(store, p, "x", "", [north]),
            lambda p: coaching.list_assignments(store, p, TODAY),
            lambda p: coaching.agents_to_coach(store, p),
        ):
            with pytest.raises(AccessDenied):
                ask(person)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (ClipFilter(kind="bad"), ["b"]),
        (ClipFilter(rule="neg.cannot"), ["b"]),
        (ClipFilter(words="银行 100%"), ["b"]),
        (ClipFilter(words="a"), ["a"]),
        (ClipFilter(tag="x"), ["b", "a"]),
        (ClipFilter(tag="y"), []),
        (ClipFilter(page=2), []),
    ],
)
def test_the_library_is_searched(place: Place, wanted: ClipFilter, found: list[str]):
    save_clip(place.store, TRAINER, draft(title="a", tags=("x",)))
    save_clip(place.store, TRAINER, draft("refund", 0, 4, title="b", kind=Kind.BAD, rule="neg.cannot", tags=("x",),
                                          say_instead="我帮您问银行，100%给您答复"))  # fmt: skip
    assert [row.title for row in clips.list_clips(place.store, TRAINER, wanted)[0]] == found
    assert clips.known_tags(place.store, TRAINER) == ["x"]


# What is said and heard


def test_a_clips_words_are_masked_and_cut_where_it_cuts():
    heard = transcript("number")
    span = number_span()
    whole = lines_between(heard, 0, 99)
    assert [line.text for line in whole][1] == "***********，你记一下。"
    amid = lines_between(heard, span.start + 1.0, span.end + 0.25)  # four characters in, one beyond
    assert [line.text for line in amid] == ["…*******，…"]
    assert lines_between(heard, heard.turns[1].end + 0.1, heard.turns[2].start - 0.1) == ()
    untimed = replace(heard, turns=tuple(replace(turn, words=()) for turn in heard.turns))
    assert [line.text[:3] for line in lines_between(untimed, span.start, span.end)] == ["***"]


@given(st.floats(0, 20), st.floats(0, 20))
def test_whatever_is_cut_no_number_comes_out(start: float, length: float):
    text = "".join(line.text for line in lines_between(transcript("number"), start, start + length))
    assert not set(text) & set("一三八零") - {"一"}  # 你记一下
    assert "一三" not in text


def loudest(samples: np.ndarray, start: float, end: float) -> float:
    part = samples[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)]
    return float(np.argmax(np.abs(np.fft.rfft(part * np.hanning(len(part)))))) * SAMPLE_RATE / len(part)


def test_a_cut_has_its_exact_length_and_the_beep_in_its_place(tmp_path: Path):
    sound = write_sound(tmp_path / "number.wav")
    beeps = personal_spans(transcript("number"))
    for start, end in ((0.0, 2.0), (3.0, 7.5), (5.111, 6.222), (8.0, 9.0)):
        cut = decode(cut_sound(tmp_path, sound, content_hash(sound), beeps, Span(start, end)))
        assert cut.channels == 2
        assert cut.duration == pytest.approx(end - start, abs=0.005)
        for at in np.arange(start, end - 0.2, 0.1):
            beeped = beeps[0].start <= at and at + 0.1 <= beeps[0].end
            clear = at + 0.1 <= beeps[0].start or at >= beeps[0].end
            hertz = loudest(cut.samples[0], at - start, at - start + 0.1)
            if beeped or clear:
                assert hertz == pytest.approx(BEEP_HERTZ if beeped else REST_TONE, abs=15), (start, at)
            assert abs(hertz - PERSON_TONE) > 50
    with pytest.raises(RecordingGone):
        cut_sound(tmp_path, sound, content_hash(sound), beeps, Span(500, 510))


# Packs


def test_a_pack_keeps_its_order_and_is_another_version_when_it_changes(place: Place):
    store = place.store
    one, two = save_clip(store, TRAINER, draft("refund", 0, 4)), save_clip(store, TRAINER, draft("number", 0, 3))
    pack = coaching.save_pack(store, TRAINER, "说不", "先听再说", [two, one, two])
    row, held = coaching.open_pack(store, TRAINER, pack)
    assert ([clip.row.id for clip in held], row.clips, row.seconds) == ([two, one], 2, 7.0)
    assert held[1].lines[0].text.startswith("您好")
    coaching.save_pack(store, TRAINER, "说不", "", [one, two], pack, row.version)
    assert [clip.row.id for clip in coaching.open_pack(store, TRAINER, pack)[1]] == [one, two]
    with pytest.raises(Conflict):
        coaching.save_pack(store, TRAINER, "迟", "", [one], pack, row.version)
    with refused(Fault.TITLE):
        coaching.save_pack(store, TRAINER, " ", "", [one])


def test_a_lead_works_with_packs_of_own_teams_only(place: Place):
    store = place.store
    north, south = save_clip(store, TRAINER, draft("refund", 0, 4)), save_clip(store, TRAINER, draft("thanks", 0, 4))
    mixed = coaching.save_pack(store, TRAINER, "mixed", "", [north, south])
    pure = coaching.save_pack(store, TRAINER, "pure", "", [north])
    empty = coaching.save_pack(store, TRAINER, "empty", "", [])
    assert [row.id for row in coaching.list_packs(store, NORTH)] == [pure]
    assert [row.id for row in coaching.list_packs(store, TRAINER)] == [empty, pure, mixed]
    for pack in (mixed, empty, 999):
        with pytest.raises(AccessDenied):
            coaching.open_pack(store, NORTH, pack)
    with pytest.raises(AccessDenied):
        coaching.save_pack(store, NORTH, "x", "", [south])
    own = coaching.save_pack(store, NORTH, "own", "", [])
    assert coaching.open_pack(store, NORTH, own)[0].clips == 0


# Assignments


@pytest.fixture
def pack(place: Place) -> int:
    one = save_clip(place.store, TRAINER, draft("refund", 0, 4, title="不说没办法", say_instead="我帮您问一下"))
    two = save_clip(place.store, TRAINER, draft("number", 3, 8))
    return coaching.save_pack(place.store, TRAINER, "三月 & <练习>", "先听\n再说", [one, two])


def test_an_agent_gets_a_pack_listens_and_acknowledges(place: Place, pack: int):
    store = place.store
    assert coaching.agents_to_coach(store, TRAINER) == ["A1", "A2", "A3"]
    assert coaching.assign(store, TRAINER, pack, ["A1", "A3"], "少说没办法", TODAY, TODAY) == 2
    [mine] = coaching.own_assignments(store, A1, TODAY)
    assert (mine.pack, mine.state, mine.clips, mine.heard) == ("三月 & <练习>", State.OPEN, 2, 0)
    row, note, held = coaching.open_assignment(store, A1, mine.id, TODAY)
    assert note == "先听\n再说"
    assert {(clip.row.call_id, clip.row.agent) for clip in held} == {(None, None)}
    assert clips.clip_sound(store, A1, place.folder, held[1].row.id).suffix == ".mp3"  # a clip of A2's call
    clips.note_play(store, A1, held[1].row.id)
    clips.note_play(store, A1, held[1].row.id)
    assert ("a1", "play clip", "number") in audited(store)
    assert coaching.open_assignment(store, A1, row.id, TODAY)[0].heard == 1
    coaching.acknowledge(store, A1, row.id, "明白了")
    coaching.acknowledge(store, A1, row.id, "又一次")
    tomorrow = TODAY + timedelta(days=1)
    told = [(one.agent, one.state, one.heard, one.reply) for one in coaching.list_assignments(store, TRAINER, tomorrow)]
    assert told == [("A3", State.OVERDUE, 0, ""), ("A1", State.DONE, 1, "明白了")]
    assert [(row.assigned, row.acknowledged) for row in coaching.list_packs(store, TRAINER)] == [(2, 1)]


def test_nobody_opens_what_is_not_theirs(place: Place, pack: int):
    store = place.store
    coaching.assign(store, TRAINER, pack, ["A3"], "x", TODAY, TODAY)
    with store.read() as session:
        given_ = session.scalars(select(CoachingAssignment)).one().id
    clip = coaching.open_pack(store, TRAINER, pack)[1][0].row.id
    for person in (A1, TRAINER, NORTH, replace(A3, agent=None)):
        for ask in (
            lambda p: coaching.open_assignment(store, p, given_, TODAY),
            lambda p: coaching.acknowledge(store, p, given_),
        ):
            with pytest.raises(AccessDenied):
                ask(person)
    assert coaching.own_assignments(store, A1, TODAY) == []
    with pytest.raises(AccessDenied):
        clips.clip_sound(store, A1, place.folder, clip)
    assert clips.clip_sound(store, A3, place.folder, clip)
    coaching.withdraw_assignment(store, TRAINER, given_)
    with pytest.raises(AccessDenied):
        clips.clip_sound(store, A3, place.folder, clip)
    with pytest.raises(AccessDenied):
        coaching.open_assignment(store, A3, given_, TODAY)


def test_assigning_asks_for_agents_a_goal_and_a_day_to_come(place: Place, pack: int):
    store = place.store
    for agents, goal, due, fault in (
        ([], "x", TODAY, Fault.NO_AGENT),
        (["A1"], " ", TODAY, Fault.GOAL),
        (["A1"], "x", TODAY - timedelta(days=1), Fault.DUE),
    ):
        with refused(fault):
            coaching.assign(store, TRAINER, pack, agents, goal, due, TODAY)
    with refused(Fault.EMPTY_PACK):
        coaching.assign(store, TRAINER, coaching.save_pack(store, TRAINER, "e", "", []), ["A1"], "x", TODAY, TODAY)
    with pytest.raises(AccessDenied):
        coaching.assign(store, TRAINER, pack, ["nobody"], "x", TODAY, TODAY)
    assert coaching.assign(store, TRAINER, pack, ["A1"], "x", TODAY, TODAY) == 1
    assert coaching.assign(store, TRAINER, pack, ["A1", "A2"], "x", TODAY, TODAY) == 1  # A1 has it


def test_a_lead_assigns_to_own_agents(place: Place, pack: int):
    store = place.store
    assert coaching.agents_to_coach(store, NORTH) == ["A1", "A2"]
    assert coaching.assign(store, NORTH, pack, ["A1"], "x", TODAY, TODAY) == 1
    with pytest.raises(AccessDenied):
        coaching.assign(store, NORTH, pack, ["A3"], "x", TODAY, TODAY)
    [seen] = coaching.list_assignments(store, NORTH, TODAY)
    assert coaching.list_assignments(store, SOUTH, TODAY) == []
    with pytest.raises(AccessDenied):
        coaching.withdraw_assignment(store, SOUTH, seen.id)


# The ZIP


def test_a_pack_leaves_masked_and_without_names(place: Place, pack: int, tmp_path: Path):
    out = tmp_path / "pack.zip"
    with in_language("zh"):
        write_pack(place.store, TRAINER, place.folder, out, pack, ZONE)
    with zipfile.ZipFile(out) as archive:
        assert archive.namelist() == [INDEX, "sound/01.mp3", "sound/02.mp3"]
        page = archive.read(INDEX).decode()
        archive.extract("sound/02.mp3", tmp_path)
    assert decode(tmp_path / "sound/02.mp3").duration == pytest.approx(5.0, abs=0.005)
    assert "***********" in page
    assert "一三八" not in page
    assert "三月 &amp; &lt;练习&gt;" in page
    assert "我帮您问一下" in page
    assert not [name for name in ("A1", "A2", "refund", "2026-03-02", "http") if name in page]
    assert ("trainer", "export pack", None) in audited(place.store)
    with in_language("en"):
        write_pack(place.store, TRAINER, place.folder, out, pack, ZONE, named=True)
    with zipfile.ZipFile(out) as archive:
        page = archive.read(INDEX).decode()
    assert "A1 · 2026-03-02" in page
    assert "A2 · 2026-03-02" in page
    with pytest.raises(AccessDenied):
        write_pack(place.store, SOUTH, place.folder, out, pack, ZONE)


# The addresses


@pytest.fixture
def client(tmp_path: Path) -> Iterator[tuple[TestClient, object]]:
    site = build(tmp_path)
    app = Starlette(routes=routes(site.desk), middleware=[Middleware(Guard, desk=site.desk)])
    with TestClient(app, follow_redirects=False) as made:
        yield made, site
    site.store.close()


def test_the_addresses_open_to_who_may_and_to_nobody_else(client):
    web, site = client
    clip = save_clip(site.store, TRAINER, draft())
    pack = coaching.save_pack(site.store, TRAINER, "包", "", [clip])
    clip_at, pack_at, board_at = f"/api/clip/{clip}", f"/api/pack/{pack}.zip", "/api/board/board.xlsx"
    for address in (clip_at, pack_at, board_at):
        assert web.get(address).status_code == 403
    expected = {  # number is agent A2's in team north: the lead's team
        Role.AGENT: (403, 403, 403), Role.INSPECTOR: (403, 403, 403), Role.LEAD: (200, 200, 200),
        Role.TRAINER: (200, 200, 403), Role.OPERATOR: (403, 403, 403), Role.ADMIN: (403, 403, 200),
    }  # fmt: skip
    for role, codes in expected.items():
        web.cookies.update(site.cookies(role))
        assert tuple(web.get(address).status_code for address in (clip_at, pack_at, board_at)) == codes, role
    web.cookies.update(site.cookies(Role.TRAINER))
    whole, part = web.get(clip_at), web.get(clip_at, headers={"range": "bytes=100-299"})
    assert (part.status_code, part.content) == (206, whole.content[100:300])
    assert whole.headers["content-type"] == "audio/mpeg"
    assert web.get(pack_at).headers["content-type"] == "application/zip"
    assert web.get("/api/clip/999").status_code == web.get("/api/pack/999.zip").status_code == 403
    assert [a for _, a, _ in audited(site.store)].count("play clip") == 2  # lead, trainer
    (site.folder / "number.wav").unlink()
    for copy in (site.folder / "data" / "sound").rglob("*.*"):
        copy.unlink()
    assert web.get(clip_at).status_code == 410


def test_the_boards_tables_leave_with_their_filter_and_are_written_down(client):
    import io

    import openpyxl

    web, site = client
    web.cookies.update(site.cookies(Role.LEAD))
    book = openpyxl.load_workbook(io.BytesIO(web.get("/api/board/board.xlsx?lang=zh").content))
    assert book.sheetnames == ["汇总", "评分项", "得分分布"]
    assert [cell.value for cell in book["汇总"][2]][:3] == ["total", None, 2]  # of team north
    lines = web.get("/api/board/groups.csv?agent=A2").content.decode("utf-8-sig").splitlines()
    assert lines[0].startswith("of,name,calls,few_calls,mean_score")
    assert [line.split(",")[:3] for line in lines[1:4]] == [["total", "", "1"], ["team", "north", "1"], ["agent", "A2", "1"]]
    assert web.get("/api/board/groups.csv?since=never").status_code == 400
    assert web.get("/api/board/secrets.csv").status_code == 404
    with site.store.read() as session:
        told = [row.detail for row in session.scalars(select(AuditEvent).where(AuditEvent.action == "export board"))]
    assert told == [{"form": "xlsx", "what": "board", "filter": {}}, {"form": "csv", "what": "groups", "filter": {"agent": "A2"}}]
