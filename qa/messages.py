"""Text that people read: looked up in gettext catalogues, Chinese by default, English by a switch.

Catalogues are the `.po` files under `qa/locale/<language>/LC_MESSAGES/`; all of a folder are read together, so each
part of the product keeps its own file. Messages are named by an id (`settings.unknown_key`) and filled with
`str.format` fields. Reading `.po` directly spares a compile step that an editable install could forget.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

LANGUAGES = {"zh": "zh_CN", "en": "en"}
DEFAULT_LANGUAGE = "zh"
LOCALE = Path(__file__).parent / "locale"

_process_language: str | None = None
_context_language: ContextVar[str | None] = ContextVar("huiting_language", default=None)


class CatalogueError(ValueError):
    """A `.po` file that cannot be read, with its file and line."""


def language_code(name: str) -> str:
    """`zh` or `en` for a language or locale name such as `zh_CN.UTF-8`, `zh-CN`, `en_US`; ValueError otherwise."""
    code = name.strip().replace("-", "_").split("_")[0].split(".")[0].lower()
    if code not in LANGUAGES:
        raise ValueError(f"no catalogue for language {name!r}; there are: {', '.join(LANGUAGES)}")
    return code


def set_language(name: str) -> None:
    """Set the language of this process. `HUITING_LANG` in the environment still wins, and `in_language` over both."""
    global _process_language
    _process_language = language_code(name)


@contextmanager
def in_language(name: str) -> Iterator[None]:
    """Use a language inside the block, in this thread or task only."""
    token = _context_language.set(language_code(name))
    try:
        yield
    finally:
        _context_language.reset(token)


def current_language() -> str:
    """The language in force: `in_language`, else `HUITING_LANG`, else `set_language`, else Chinese."""
    context = _context_language.get()
    if context is not None:
        return context
    named = os.environ.get("HUITING_LANG", "")
    if named:
        return language_code(named)
    return _process_language or DEFAULT_LANGUAGE


def text(message_id: str, /, **values: object) -> str:
    """The message in the language in force, its `{fields}` filled with `values`.

    An id that no catalogue has comes back as it stands, as gettext does; a test holds that there is none.
    """
    message = catalogue(current_language()).get(message_id, message_id)
    return message.format(**values) if values else message


@cache
def catalogue(language: str) -> dict[str, str]:
    """All messages of a language, id → text. Raises CatalogueError for a broken file or an id given twice."""
    messages: dict[str, str] = {}
    for path in sorted((LOCALE / LANGUAGES[language] / "LC_MESSAGES").glob("*.po")):
        for message_id, message, line in read_po(path):
            if message_id in messages:
                raise CatalogueError(f"{path}:{line}: {message_id!r} is already defined")
            messages[message_id] = message
    return messages


def read_po(path: Path) -> Iterator[tuple[str, str, int]]:
    """(msgid, msgstr, line) of every entry but the header. Plurals and contexts are not used and are refused."""
    fields: dict[str, str] = {}
    field, entry_line = "", 0

    def entry() -> Iterator[tuple[str, str, int]]:
        if fields.get("msgid"):
            yield fields["msgid"], fields.get("msgstr", ""), entry_line

    for number, raw in enumerate(path.read_text("utf-8").splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        keyword, _, rest = line.partition(" ")
        if keyword in ("msgid", "msgstr"):
            if keyword == "msgid":
                yield from entry()
                fields, entry_line = {}, number
            field, literal = keyword, rest.strip()
            fields[field] = ""
        elif line.startswith('"') and field:
            literal = line
        else:
            raise CatalogueError(
                f'{path}:{number}: expected msgid, msgstr or a "quoted" text, found {line[:40]!r}'
            )
        try:
            value = ast.literal_eval(literal)
        except (SyntaxError, ValueError) as error:
            raise CatalogueError(f"{path}:{number}: not a quoted text: {literal[:40]!r}") from error
        if not isinstance(value, str):
            raise CatalogueError(f"{path}:{number}: not a quoted text: {literal[:40]!r}")
        fields[field] += value
    yield from entry()
