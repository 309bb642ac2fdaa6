"""The nightly run: recordings in, scorecards out, every file accounted for.

    receive → hear (worker processes) → emotion where it is missing → score → account

Every step that is done is in the database before the next begins, so a run killed at any moment goes on where it was:
a night that never ended is taken up again under its own number.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from qa import ledger
from qa.file_messages import keep, keep_refusal
from qa.intake import Intake
from qa.ledger import Stage, State
from qa.lock import night_lock
from qa.receive import Received, counts, receive, set_outcome
from qa.scoring import Scoring, attributes
from qa.settings import Settings
from qa.states import STOPPING, Outcome, Reason, judge
from qa.store.engine import Store
from qa.store.queries import remember
from qa.store.schema import Call, LedgerRow, Night, Recording, now
from qa.store.transcripts import corrected_by_person, load_transcript, save_transcript
from speech.batch import Failed, Job, Refused
from speech.types import Transcript

if TYPE_CHECKING:
    from qa.executors.local import Crashed, LocalExecutor
    from speech.assemble import FeelsEmotion

log = structlog.get_logger("huiting.night")

GIGABYTE = 1_000_000_000
RISK_DAYS = 30  # of history that "riskiest first" looks back on


class StopReason(Exception):
    """The night ends before its work does; nothing is lost."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class NightResult:
    """How a night ended. `state` is finished, or stopped with why in `stopped`."""

    night_id: int
    state: str
    counts: dict[str, int]
    stopped: str = ""
    resumed: bool = False


@dataclass(slots=True)
class NightRun:
    """Everything one night works with. `executor` makes the workers; `deadline` is when to stop taking new calls."""

    store: Store
    settings: Settings
    scoring: Scoring
    stage_fingerprints: dict[str, str]
    meanings: dict[str, dict[str, Any]]
    make_executor: Callable[[Callable[[Crashed], bool]], LocalExecutor]
    make_emotion: Callable[[], FeelsEmotion] | None = None
    deadline: datetime | None = None
    order: str = "newest"
    refresh: bool = False
    on_total: Callable[[int], None] = lambda calls: None
    on_done: Callable[[str, Outcome], None] = lambda call, outcome: None
    _stop_signal: str = field(default="", init=False)

    def run(self, intake: Intake) -> NightResult:
        """Receive and work off an intake.

        Raises LockedError when a night is running, ModelError when the workers cannot load their models.
        """
        with night_lock(self.store, self.settings.data.folder), self._signals():
            night_id, resumed = self._open()
            stopped = ""
            try:
                self._room()
                with self._disk():
                    received = receive(self.store, night_id, intake, self.settings)
                self._work(night_id, received)
                state = "finished"
            except StopReason as stop:
                state, stopped = "stopped", stop.reason
                log.warning("night stopped", reason=stop.reason, message=str(stop))
            return self._close(night_id, state, stopped, resumed)

    # -- the stages ---------------------------------------------------------------------------------------------

    def _work(self, night_id: int, received: Sequence[Received]) -> None:
        pending = [one.call_id for one in received if one.outcome is Outcome.PENDING and one.call_id]
        to_hear, to_feel, to_score = self._plan(night_id, pending)
        self.on_total(len(to_hear) + len(to_feel) + len(to_score))
        if to_feel:
            self._feel(night_id, to_feel)
        for call_id in to_score:
            self._check_stop()
            self._score(night_id, call_id)
        if to_hear:
            self._hear(night_id, to_hear)

    def _plan(self, night_id: int, call_ids: list[str]) -> tuple[list[Job], list[str], list[str]]:
        """Which calls must be heard, which lack only their emotion or their score; what is done is closed here."""
        jobs: list[Job] = []
        to_feel: list[str] = []
        to_score: list[str] = []
        with self.store.write() as session:
            rows = ledger.states(session, call_ids)
            for call_id in call_ids:
                hear = rows.get((call_id, Stage.HEAR))
                outdated = self.refresh and hear is not None and hear.fingerprint != self._hear_fingerprint()
                if hear is None or hear.state != State.DONE or outdated:
                    if hear is not None and hear.attempts >= self.settings.night.max_attempts:
                        self._give_up(session, night_id, call_id, hear)
                        continue
                    jobs.append(_job(session, call_id))
                elif self.make_emotion is not None and not self._is_felt(rows.get((call_id, Stage.EMOTION))):
                    to_feel.append(call_id)
                elif self._is_scored(session, call_id, rows.get((call_id, Stage.SCORE))):
                    set_outcome(session, night_id, call_id, Outcome.SKIPPED, Reason.ALREADY_DONE)
                else:
                    to_score.append(call_id)
            jobs = self._ordered(session, jobs)
        return jobs, to_feel, to_score

    def _give_up(self, session: Session, night_id: int, call_id: str, hear: LedgerRow) -> None:
        reason = hear.reason or Reason.ERROR
        ledger.refuse(session, call_id, Stage.HEAR, State.QUARANTINED, reason, hear.message or "")
        set_outcome(session, night_id, call_id, Outcome.QUARANTINED, reason, hear.message)

    def _is_felt(self, entry: LedgerRow | None) -> bool:
        return entry is not None and entry.state == State.DONE and entry.fingerprint == self.stage_fingerprints["emotion"]

    def _is_scored(self, session: Session, call_id: str, score: LedgerRow | None) -> bool:
        return (
            score is not None
            and score.state == State.DONE
            and score.fingerprint == self.scoring.fingerprint(session, call_id)
        )

    def _feel(self, night_id: int, call_ids: Sequence[str]) -> None:
        """Emotion for calls that were heard without it, or by another model: from their words, without their sound."""
        assert self.make_emotion is not None
        feel = self.make_emotion()
        for call_id in call_ids:
            self._check_stop()
            self._room()
            with self._disk(), self.store.write() as session:
                heard = load_transcript(session, call_id)
                fingerprints = {**heard.fingerprints, "emotion": self.stage_fingerprints["emotion"]}
                felt = replace(heard, turns=feel(heard.turns, None), fingerprints=fingerprints)
                save_transcript(session, call_id, felt, corrected_by_person(session, call_id))
                self._remember(session)
                ledger.finish(session, call_id, Stage.EMOTION, fingerprints["emotion"], night_id)
            self._score(night_id, call_id)

    def _hear(self, night_id: int, jobs: list[Job]) -> None:
        by_id = {job.id: job for job in jobs}
        with self.store.write() as session:
            suspects = [
                by_id[call_id]
                for (call_id, stage), entry in ledger.states(session, list(by_id)).items()
                if stage is Stage.HEAR and entry.attempts
            ]
        suspect_ids = {job.id for job in suspects}
        executor = self.make_executor(lambda crash: self._crashed(night_id, crash))
        fresh = self._feed(night_id, [job for job in jobs if job.id not in suspect_ids])
        results = executor.run(fresh, suspects, lambda: self._check_stop(hard=True))
        try:
            for result in results:
                match result:
                    case Transcript():
                        self._heard(night_id, result)
                    case Refused():
                        self._refused(night_id, result)
                    case Failed():
                        log.error("call failed", call=result.id, error=result.message, trace=result.trace)
                        self._failed(night_id, result.id, Reason.ERROR, result.message)
        finally:
            results.close()

    def _feed(self, night_id: int, jobs: Sequence[Job]) -> Iterator[Job]:
        """Jobs for the workers, entered in the ledger as they go out; none after the deadline."""
        for job in jobs:
            if self._late():
                return
            with self.store.write() as session:
                ledger.start(session, job.id, Stage.HEAR, night_id, _owner())
            yield job

    def _heard(self, night_id: int, transcript: Transcript) -> None:
        outcome, sign = judge(transcript.signs)
        self._room()
        with self._disk(), self.store.write() as session:
            call = session.get_one(Call, transcript.id)
            if call.kind_source != "metadata":
                call.kind, call.kind_source = transcript.attributes.get("kind"), "inferred"
                call.kind_confidence = transcript.attributes.get("kind_confidence")
            if call.recording is not None:
                call.recording.duration, call.recording.state = transcript.duration, "heard"
            save_transcript(session, transcript.id, transcript)
            self._remember(session)
            if outcome is not Outcome.SCORED and sign is not None:
                state = State.QUARANTINED if outcome is Outcome.QUARANTINED else State.SKIPPED
                ledger.refuse(session, transcript.id, Stage.HEAR, state, sign, "")
                set_outcome(session, night_id, transcript.id, outcome, sign)
            else:
                ledger.finish(session, transcript.id, Stage.HEAR, self._hear_fingerprint(), night_id)
                if "emotion" in transcript.fingerprints:
                    ledger.finish(session, transcript.id, Stage.EMOTION, transcript.fingerprints["emotion"], night_id)
        if outcome is Outcome.SCORED:
            self._score(night_id, transcript.id)
            self._keep_peaks(transcript.id)
        else:
            self.on_done(transcript.id, outcome)

    def _keep_peaks(self, call_id: str) -> None:
        """The waveform that people will see; a recording that is gone by now has none, and is scored all the same."""
        from qa.media import RecordingGone, keep_peaks

        with self.store.read() as session:
            recording = session.get_one(Call, call_id).recording
        if recording is None:
            return
        try:
            with self._disk():
                keep_peaks(self.settings.sound_folder, Path(recording.path), recording.sha256)
        except RecordingGone as error:
            log.warning("no waveform", call=call_id, error=str(error))

    def _score(self, night_id: int, call_id: str) -> None:
        try:
            with self._disk(), self.store.write() as session:
                self.scoring.score(session, call_id, night_id)
                set_outcome(session, night_id, call_id, Outcome.SCORED)
        except (StopReason, OperationalError):
            raise
        except Exception as error:
            log.exception("scoring failed", call=call_id)
            with self.store.write() as session:
                ledger.refuse(session, call_id, Stage.SCORE, State.FAILED, Reason.ERROR, str(error))
                set_outcome(session, night_id, call_id, Outcome.FAILED, Reason.ERROR, str(error))
            self.on_done(call_id, Outcome.FAILED)
            return
        self.on_done(call_id, Outcome.SCORED)

    def _refused(self, night_id: int, refused: Refused) -> None:
        outcome, sign = judge(refused.signs)
        reason = sign or refused.signs[0]
        state = State.SKIPPED if outcome is Outcome.SKIPPED else State.QUARANTINED
        with self._disk(), self.store.write() as session:
            call = session.get_one(Call, refused.id)
            call.duration = refused.duration
            if call.recording is not None:
                call.recording.duration, call.recording.state = refused.duration, str(reason)
            message = keep_refusal(str(reason), refused.detail, refused.message)
            ledger.refuse(session, refused.id, Stage.HEAR, state, reason, message)
            set_outcome(session, night_id, refused.id, outcome, reason, message)
        self.on_done(refused.id, outcome)

    def _failed(self, night_id: int, call_id: str, reason: str, message: str) -> None:
        with self._disk(), self.store.write() as session:
            ledger.refuse(session, call_id, Stage.HEAR, State.FAILED, reason, message)
            set_outcome(session, night_id, call_id, Outcome.FAILED, reason, message)
        self.on_done(call_id, Outcome.FAILED)

    def _crashed(self, night_id: int, crash: Crashed) -> bool:
        """A worker died. Only a call that was alone in its hands is to blame; at the limit it is quarantined.

        Returns whether to try the call again.
        """
        log.error("worker died", call=crash.id, alone=crash.alone, message=crash.message)
        if not crash.alone:
            return True
        with self._disk(), self.store.write() as session:
            message = keep("worker_died", detail=crash.message)
            attempts = ledger.crashed(session, crash.id, Stage.HEAR, message)
            if attempts < self.settings.night.max_attempts:
                return True
            ledger.refuse(session, crash.id, Stage.HEAR, State.QUARANTINED, Reason.KILLS_WORKER, message)
            set_outcome(session, night_id, crash.id, Outcome.QUARANTINED, Reason.KILLS_WORKER, message)
        self.on_done(crash.id, Outcome.QUARANTINED)
        return False

    # -- order ----------------------------------------------------------------------------------------------------

    def _ordered(self, session: Session, jobs: list[Job]) -> list[Job]:
        calls = {job.id: session.get_one(Call, job.id) for job in jobs}
        beginning = datetime.min.replace(tzinfo=now().tzinfo)

        def started(job: Job) -> datetime:
            return calls[job.id].started_at or calls[job.id].created_at or beginning

        if self.order == "oldest":
            return sorted(jobs, key=started)
        newest = sorted(jobs, key=started, reverse=True)
        if self.order == "newest":
            return newest
        history = _history(session)
        return sorted(newest, key=lambda job: -risk(calls[job.id], history))  # stable: newest first within a risk

    # -- beginning, end, and what comes between --------------------------------------------------------------------

    def _open(self) -> tuple[int, bool]:
        """This night's number: a new one, or that of a night that was killed."""
        with self.store.write() as session:
            released = ledger.release(session)
            dead = session.scalar(select(Night).where(Night.state == "running").order_by(Night.id.desc()))
            night = dead or Night(state="running")
            night.host, night.pid = socket.gethostname(), os.getpid()
            night.options = {"order": self.order, "refresh": self.refresh}
            if dead is None:
                session.add(night)
            session.flush()
            log.info("night opened", night=night.id, resumed=dead is not None, released=released)
            return night.id, dead is not None

    def _close(self, night_id: int, state: str, stopped: str, resumed: bool) -> NightResult:
        with self.store.write() as session:
            night = session.get_one(Night, night_id)
            reason = Reason.OUT_OF_TIME if stopped in ("", "time") else Reason.STOPPED
            ledger.release(session)
            for line in night.files:
                if line.outcome == Outcome.PENDING:
                    line.outcome, line.reason = Outcome.SKIPPED, reason
            session.flush()
            told = counts(session, night)
            told.pop(Outcome.PENDING.value)
            if state == "finished" and any(line.reason == Reason.OUT_OF_TIME for line in night.files):
                state, stopped = "stopped", "time"
            night.state, night.finished_at, night.counts, night.message = state, now(), told, stopped
            log.info("night closed", night=night_id, state=state, **told)
            return NightResult(night_id, state, told, stopped, resumed)

    def _late(self) -> bool:
        return bool(self._stop_signal) or (self.deadline is not None and now() >= self.deadline)

    def _check_stop(self, *, hard: bool = False) -> None:
        if self._stop_signal:
            raise StopReason("signal", self._stop_signal)
        if not hard and self._late():
            raise StopReason("time", "the hour that --until named")

    def _room(self) -> None:
        """Stop before the disk is full: a database that cannot write its last page helps nobody."""
        need = self.settings.gates.min_free_gigabytes
        folder = self.settings.data.folder
        free = shutil.disk_usage(folder).free / GIGABYTE
        if free < need:
            raise StopReason("disk", f"{free:.1f} GB free in {folder}, {need:g} GB are kept")

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """Turns a full disk, however the database or the system words it, into a clean stop."""
        try:
            yield
        except OperationalError as error:
            if "full" in str(error.orig) or "No space left" in str(error.orig):
                raise StopReason("disk", str(error.orig)) from error
            raise
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StopReason("disk", str(error)) from error
            raise

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """The first SIGINT or SIGTERM lets what is being saved be saved; the run then stops."""

        def remember(number: int, frame: object) -> None:
            self._stop_signal = signal.Signals(number).name

        before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear_fingerprint(self) -> str:
        from speech.stages import HEARING, fingerprint

        return fingerprint({stage: self.stage_fingerprints[stage] for stage in HEARING})

    def _remember(self, session: Session) -> None:
        """What this night's fingerprints stand for."""
        for stage, meaning in self.meanings.items():
            remember(session, self.stage_fingerprints[stage], stage, meaning)


def _job(session: Session, call_id: str) -> Job:
    call = session.get_one(Call, call_id)
    recording = session.get_one(Recording, call.recording_id)
    known = attributes(call)
    if call.kind_source != "metadata":
        known.pop("kind", None)  # to be inferred anew from what is heard
    return Job(call_id, Path(recording.path), known, call.agent_channel, STOPPING)


def _owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _history(session: Session) -> dict[str, tuple[int, int, float]]:
    """Per agent over the last `RISK_DAYS`: calls, fatal calls, summed score."""
    history: dict[str, tuple[int, int, float]] = {}
    since = now() - timedelta(days=RISK_DAYS)
    rows = session.execute(
        select(Call.agent, Call.fatal, Call.score).where(Call.started_at >= since, Call.score.is_not(None))
    )
    for agent, fatal, score in rows:
        calls, fatals, total = history.get(agent or "", (0, 0, 0.0))
        history[agent or ""] = (calls + 1, fatals + bool(fatal), total + (score or 0.0))
    return history


def risk(call: Call, history: dict[str, tuple[int, int, float]]) -> float:
    """How likely a call is worth hearing first, before anything is known of its sound.

    A complaint counts 3; the agent's share of fatal calls up to 3 and a mean score below 100 up to 2; an agent nobody
    has heard yet 1. The weights order a queue and nothing else; they are no measurement.
    """
    calls, fatals, total = history.get(call.agent or "", (0, 0, 0.0))
    complaint = 3.0 * (call.kind == "投诉" or any("投诉" in tag.tag for tag in call.tags))
    if not calls:
        return complaint + 1.0
    return complaint + 3.0 * fatals / calls + 2.0 * max(0.0, 100 - total / calls) / 100

