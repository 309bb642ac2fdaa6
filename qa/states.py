"""What becomes of a file in each state: the one table that the night, the documents and the app read.

docs/states.md shows it; a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from speech.types import Sign


class Outcome(StrEnum):
    """Every received file ends in exactly one: received = scored + quarantined + failed + skipped."""

    PENDING = "pending"  # only while a night runs
    SCORED = "scored"
    QUARANTINED = "quarantined"  # a person decides; `huiting retry` tries again
    FAILED = "failed"  # our side broke; tried again next night until max_attempts
    SKIPPED = "skipped"  # rightly left alone


class Reason(StrEnum):
    """Why a file was not scored, beside the signs of its sound and recognition."""

    STILL_COPYING = "still_copying"
    DUPLICATE = "duplicate"
    ALREADY_DONE = "already_done"
    ALREADY_QUARANTINED = "already_quarantined"
    OUT_OF_TIME = "out_of_time"
    STOPPED = "stopped"
    MISSING_FILE = "missing_file"
    BAD_ROW = "bad_row"
    NOT_LISTED = "not_listed"
    KILLS_WORKER = "kills_worker"
    ERROR = "error"


MARK = "mark"  # scored, with a mark that people see

CONSEQUENCE: dict[Sign | Reason, Outcome | str] = {
    # the file itself
    Sign.EMPTY: Outcome.QUARANTINED,
    Sign.NOT_AUDIO: Outcome.QUARANTINED,
    Sign.UNREADABLE: Outcome.QUARANTINED,
    Sign.TRUNCATED: Outcome.QUARANTINED,
    Sign.TOO_LONG: Outcome.QUARANTINED,
    # gate 1: the sound
    Sign.TOO_SHORT: Outcome.SKIPPED,
    Sign.NO_SPEECH: Outcome.QUARANTINED,
    Sign.DEAD_CHANNEL: Outcome.QUARANTINED,
    Sign.DUAL_MONO: MARK,
    Sign.CLIPPED: MARK,
    Sign.DAMAGED: MARK,
    # gate 2: what was recognised
    Sign.SWAPPED_CHANNELS: MARK,
    Sign.WRONG_LANGUAGE: Outcome.QUARANTINED,
    Sign.UNINTELLIGIBLE: Outcome.QUARANTINED,
    # the night's own
    Reason.STILL_COPYING: Outcome.SKIPPED,
    Reason.DUPLICATE: Outcome.SKIPPED,
    Reason.ALREADY_DONE: Outcome.SKIPPED,
    Reason.ALREADY_QUARANTINED: Outcome.SKIPPED,
    Reason.OUT_OF_TIME: Outcome.SKIPPED,
    Reason.STOPPED: Outcome.SKIPPED,
    Reason.MISSING_FILE: Outcome.FAILED,
    Reason.BAD_ROW: Outcome.FAILED,
    Reason.NOT_LISTED: Outcome.SKIPPED,
    Reason.KILLS_WORKER: Outcome.QUARANTINED,
    Reason.ERROR: Outcome.FAILED,
}

# Signs of the sound after which recognising is of no use: the worker stops there.
STOPPING = frozenset(
    sign for sign, consequence in CONSEQUENCE.items() if isinstance(sign, Sign) and consequence is not MARK
) - {Sign.WRONG_LANGUAGE, Sign.UNINTELLIGIBLE}


def judge(signs: Iterable[Sign]) -> tuple[Outcome, Sign | None]:
    """The outcome that a call's signs lead to, and the sign that decided; several signs: the worst consequence.

    A scored call keeps its remaining signs as marks.
    """
    order = (Outcome.QUARANTINED, Outcome.SKIPPED)
    found = list(signs)
    for outcome in order:
        for sign in found:
            if CONSEQUENCE[sign] == outcome:
                return outcome, sign
    return Outcome.SCORED, None
