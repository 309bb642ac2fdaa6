"""On which line of a TOML file a key stands. The standard library's parser gives values without places."""

from __future__ import annotations

import re
import tomllib

Path = tuple[str, ...]

_STRINGS = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_KEY = re.compile(r"""(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*')""")
_KEY_PATH = re.compile(rf"{_KEY.pattern}(?:[ \t]*\.[ \t]*{_KEY.pattern})*")


def key_lines(source: str) -> dict[Path, int]:
    """Map every key and table header of a valid TOML text to its 1-based line; the first wins.

    Elements of arrays of tables share the path of their array; keys inside inline tables are not listed
    (their table's line is the place to look).
    """
    lines: dict[Path, int] = {}
    table: Path = ()
    position, line = 0, 1
    while position < len(source):
        character = source[position]
        if character == "\n":
            line += 1
            position += 1
        elif character in " \t\r":
            position += 1
        elif character == "#":
            position = _line_end(source, position)
        elif character == "[":
            end = _line_end(source, position)
            match = _KEY_PATH.search(source, position, end)
            table = _split(match.group()) if match else ()
            lines.setdefault(table, line)
            position = end
        elif match := _KEY_PATH.match(source, position):
            path = table + _split(match.group())
            for depth in range(len(table) + 1, len(path) + 1):
                lines.setdefault(path[:depth], line)
            end = _value_end(source, match.end())
            line += source.count("\n", position, end)
            position = end
        else:
            position += 1
    return lines


def _split(key: str) -> Path:
    parts = _KEY.findall(key)
    return tuple(tomllib.loads(f"k = {part}")["k"] if part[0] in "\"'" else part for part in parts)


def _line_end(source: str, position: int) -> int:
    end = source.find("\n", position)
    return len(source) if end < 0 else end


def _value_end(source: str, position: int) -> int:
    """The end of the value after a key: the first line end outside strings and brackets."""
    depth = 0
    while position < len(source):
        character = source[position]
        if character in "\"'":
            match = _STRINGS.match(source, position)
            position = match.end() if match else position + 1
            continue
        if character == "#":
            position = _line_end(source, position)
            continue
        if character == "\n" and depth <= 0:
            return position
        depth += (character in "[{") - (character in "]}")
        position += 1
    return position
