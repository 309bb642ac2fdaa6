"""What became of a file, kept as data and told in the reader's language.

A night writes down which message it is and its figures; who reads it, in the app or on a terminal, has it in their own
language. Messages of older nights, and those of libraries, come back as they stand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from qa.messages import text

SAY = "say"


def keep(message: str, **values: str | float) -> str:
    """A message `file.<message>` of the catalogues with its values, as it is stored."""
    return json.dumps({SAY: message, **values}, ensure_ascii=False)


def keep_refusal(sign: str, detail: Mapping[str, str | float], plain: str) -> str:
    """Why a recording cannot be used: the message of its sign and of what is told with it.

    `plain` is what stays where nothing is told.
    """
    return keep("_".join([sign, *sorted(detail)]), **detail) if detail else plain


def retell(stored: str | None) -> str:
    """A stored message in the language in force; empty for none."""
    if not stored or not stored.startswith("{"):
        return stored or ""
    try:
        values = json.loads(stored)
    except ValueError:
        return stored
    if not isinstance(values, dict) or SAY not in values:
        return stored
    return text(f"file.{values.pop(SAY)}", **values)
