"""What became of a file, kept as data and told in the reader's language.

A night writes down which message it is and its figures; who reads it, in the app or on a terminal, has it in their own
language. Messages of older nights, and those of libraries, come back as they stand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from qa.messages import text
from speech.types import Sign

SAY = "say"
BY_SOUND = (Sign.TOO_SHORT, Sign.NO_SPEECH, Sign.DEAD_CHANNEL)  # their messages tell all there is


def keep(message: str, **values: str | float) -> str:
    """A message `file.<message>` of the catalogues with its values, as it is stored."""
    return json.dumps({SAY: message, **values}, ensure_ascii=False)


def keep_refusal(sign: str, detail: Mapping[str, str | float], plain: str) -> str:
    """Why a recording cannot be used: the message of its sign and of what is told with it.

    `plain` is what stays where there is no such message.
    """
    return keep("_".join([sign, *sorted(detail)]), **detail) if detail or sign in BY_SOUND else plain


def retell(stored: str | None) -> str:
    """A stored message in the language in force; empty for none."""
    if not stored or not stored.startswith("{"):
        return _older(stored or "")
    try:
        values = json.loads(stored)
    except ValueError:
        return stored
    if not isinstance(values, dict) or SAY not in values:
        return stored
    return text(f"file.{values.pop(SAY)}", **values)


def _older(stored: str) -> str:
    """Nights before told what the sound is like by its signs: `name: dead_channel, clipped`."""
    found = [sign for sign in BY_SOUND if sign in stored.rpartition(": ")[2].split(", ")]
    return text(f"file.{found[0]}") if found else stored
