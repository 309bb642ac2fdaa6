"""A small site for the tests of the app: hand-written calls, scored by the rules that ship, in a database with a night,
a recording, and an account for each role.
"""

from __future__ import annotations

import wave
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from qa import accounts, scorecard
from qa.access import Identity, Role
from qa.accounts import NewAccount
from qa.call_filter import CallFilter
from qa.call_lists import list_calls
from qa.desk import Desk, open_desk
from qa.scoring import attributes
from qa.settings import Settings
from qa.store import Store
from qa.store.schema import Call, Night, NightFile, Recording
from qa.store.scorecards import save_scorecard
from qa.store.transcripts import save_transcript
from scoring_rules.evaluate import Evaluator
from scoring_rules.load import load_pack
from scoring_rules.model import Outcome
from speech.audio import content_hash
from speech.types import Emotion, Sign, Span, Transcript, Turn, Word
from speech.types import Role as Speaker

PASSWORD = "correct horse battery"
RATE = 8_000  # Hz
PERSON_TONE, REST_TONE = 300.0, 500.0  # Hz of the recording, where the number is read out and elsewhere
SECONDS_A_CHARACTER = 0.25
MONDAY = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)  # 09:30 in Shanghai

A, C = Speaker.AGENT, Speaker.CUSTOMER
# call → agent, team, kind, turns; written for these tests
DIALOGUES: dict[str, tuple[str | None, str | None, str, list[tuple[Speaker, str, str]]]] = {
    "refund": ("A1", "north", "投诉", [
        (A, "您好，这里是云帆客服，请问有什么可以帮您？", "neutral"),
        (C, "我的退款都两个星期了还没到账，你们到底管不管？", "angry"),
        (A, "这个我没办法，你自己去问银行。", "neutral"),
        (C, "你这是什么态度，我要投诉你们！", "angry"),
    ]),
    "number": ("A2", "north", "办理", [
        (A, "您好，麻烦报一下您的手机号。", "neutral"),
        (C, "一三八零零一三八零零零，你记一下。", "neutral"),
        (A, "好的，已经帮您登记好了，感谢您的来电，祝您生活愉快。", "neutral"),
    ]),
    "thanks": ("A3", "south", "咨询", [
        (A, "您好，很高兴为您服务，请问有什么可以帮您？", "neutral"),
        (C, "我想问一下周末营业吗？", "neutral"),
        (A, "周六周日早上九点到晚上六点都营业的，请问还有其他可以帮您的吗？", "neutral"),
        (C, "没有了，谢谢你。", "happy"),
        (A, "不客气，感谢您的来电，祝您生活愉快，再见。", "neutral"),
    ]),
    "stray": (None, None, "咨询", [(A, "您好，请讲。", "neutral"), (C, "打错了，不好意思。", "neutral")]),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class AppSite:
    folder: Path
    settings_file: Path
    desk: Desk

    @property
    def store(self) -> Store:
        return self.desk.store

    def cookies(self, role: Role) -> dict[str, str]:
        """A real session of the role's account."""
        identity, token = accounts.sign_in(self.store, role.value, PASSWORD)
        assert identity.role is role
        return {"huiting_session": self.desk.cookie(token)}


def transcript(call_id: str) -> Transcript:
    """The call spoken evenly, one word a character, channels as speakers."""
    turns, at = [], 0.0
    for role, text, feeling in DIALOGUES[call_id][3]:
        words = tuple(
            Word(c, at + n * SECONDS_A_CHARACTER, at + (n + 1) * SECONDS_A_CHARACTER, 0.95)
            for n, c in enumerate(text)
        )
        end = words[-1].end
        emotion = Emotion(feeling, 0.9) if role is C else None
        turns.append(Turn("agent" if role is A else "customer", text, at, end, words, role, emotion))
        at = end + 0.5
    return Transcript(call_id, "zh", tuple(turns), duration=at, signs=(Sign.CLIPPED,) if call_id == "stray" else ())


def number_span() -> Span:
    """Where the customer of `number` reads the phone number."""
    turn = transcript("number").turns[1]
    return Span(turn.words[0].start, turn.words[10].end)


@cache
def _evaluator() -> Evaluator:
    return Evaluator(load_pack(("zh",)))


def build(folder: Path) -> AppSite:
    settings_file = folder / "huiting.toml"
    settings_file.write_text('[data]\nfolder = "data"\n', "utf-8")
    desk = open_desk(Settings.load(settings_file, env={}))
    sound = write_sound(folder / "number.wav")
    with desk.store.write() as session:
        night = Night(started_at=MONDAY, finished_at=MONDAY + timedelta(hours=1), state="finished", host="h", pid=1)
        session.add(night)
        session.flush()
        for place, (call_id, (agent, team, kind, _)) in enumerate(DIALOGUES.items()):
            call = Call(id=call_id, agent=agent, team=team, kind=kind, started_at=MONDAY + timedelta(minutes=place))
            if call_id == "number":
                call.recording = Recording(
                    path=str(sound), sha256=content_hash(sound), size=sound.stat().st_size
                )
            session.add(call)
            session.flush()
            judge_anew(session, call)
            session.add(NightFile(night_id=night.id, path=f"/in/{call_id}.wav", call_id=call_id, outcome="scored"))
        for name, outcome, reason in (
            ("b1.wav", "quarantined", "no_speech"),
            ("b2.wav", "skipped", "duplicate"),
            ("customer-13800138000.wav", "failed", "error"),
        ):
            session.add(NightFile(night_id=night.id, path=f"/in/{name}", outcome=outcome, reason=reason, message=name))
        _add_accounts(session)
    return AppSite(folder, settings_file, desk)


def _add_accounts(session) -> None:
    """With a cheap hash: the hash itself is tested in test_access.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "SCRYPT_N", 2**8)
        for role in Role:
            wanted = NewAccount(
                role.value, role, name=role.value, agent="A1" if role is Role.AGENT else None,
                teams=["north"] if role in (Role.LEAD, Role.AGENT) else [], password=PASSWORD,
            )  # fmt: skip
            accounts.add_account(session, "test", wanted)


def judge_anew(session, call: Call, without: str = "") -> int:
    """Store the call's transcript and a scorecard for it, as a night does. Returns the scorecard's id.

    `without`: a rule that finds nothing this time, as if it had been changed.
    """
    heard = transcript(call.id)
    transcript_id = save_transcript(session, call.id, heard)
    session.refresh(call)
    conversation = replace(heard, attributes=attributes(call))
    evaluator = _evaluator()
    card = scorecard.build(evaluator.pack, evaluator.run(conversation), conversation)
    items = (replace(i, outcome=Outcome.PASS, findings=(), cost=0.0) if i.rule == without else i for i in card.items)
    card = replace(card, items=tuple(items))
    return save_scorecard(session, call.id, card, transcript_id)


def ids(site: AppSite, person: Identity, wanted: CallFilter) -> list[str]:
    """The calls of a list, as a person sees it."""
    return [row.id for row in list_calls(site.store, person, wanted, site.desk.site).rows]


def write_sound(path: Path) -> Path:
    """The recording of `number`, two channels: one tone while the number is read, another all the rest."""
    heard, span = transcript("number"), number_span()
    seconds = np.arange(int((heard.duration or 0) * RATE)) / RATE
    hertz = np.where((seconds >= span.start) & (seconds < span.end), PERSON_TONE, REST_TONE)
    tone = (0.4 * np.sin(2 * np.pi * np.cumsum(hertz) / RATE) * 32_767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.stack([tone, tone], axis=1).tobytes())
    return path
