"""Message catalogues: complete in both languages, with the same fields, and nothing asked for that is not there."""

from __future__ import annotations

import ast
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

import qa
from qa import messages
from qa.messages import CatalogueError, catalogue, in_language, language_code, read_po, set_language, text

SOURCES = sorted(Path(qa.__file__).parent.rglob("*.py"))


def fields(message: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(message) if name is not None}


def asked_for(path: Path) -> Iterator[tuple[str, int]]:
    """Ids given as literals to `text` (under whatever name it was imported) and the line."""
    tree = ast.parse(path.read_text("utf-8"))
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "qa.messages"
        for alias in node.names
        if alias.name == "text"
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in names
            and node.args
        ):
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value, node.lineno


def test_both_languages_have_the_same_messages_with_the_same_fields():
    chinese, english = catalogue("zh"), catalogue("en")
    assert chinese.keys() == english.keys()
    assert {key for key in chinese if fields(chinese[key]) != fields(english[key])} == set()
    assert {key for key in chinese if not chinese[key] or not english[key]} == set()


def test_every_message_asked_for_is_in_the_catalogue():
    missing = {
        f"{path.name}:{line}: {message_id}"
        for path in SOURCES
        for message_id, line in asked_for(path)
        if message_id not in catalogue("zh")
    }
    assert missing == set()


def test_a_message_is_chinese_by_default_and_english_on_request(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(messages, "_process_language", None)
    assert text("settings.source_default") == "默认"
    with in_language("en"):
        assert text("settings.source_default") == "default"
    set_language("en_US.UTF-8")
    assert text("settings.source_default") == "default"
    monkeypatch.setenv("HUITING_LANG", "zh-CN")
    assert text("settings.source_default") == "默认"


def test_fields_are_filled_and_an_unknown_id_comes_back():
    with in_language("en"):
        assert text("settings.not_toml", detail="line 3") == "not valid TOML: line 3"
    assert text("no.such.message") == "no.such.message"


@pytest.mark.parametrize("name", ["fr", "", "english"])
def test_a_language_without_catalogue_is_refused(name: str):
    with pytest.raises(ValueError, match="zh, en"):
        language_code(name)


def test_a_catalogue_is_read_as_gettext_writes_it(tmp_path: Path):
    path = tmp_path / "x.po"
    path.write_text(
        '# note\nmsgid ""\nmsgstr "Language: zh\\n"\n\n#, fuzzy\nmsgid "a"\nmsgstr ""\n"one "\n"\\"two\\"\\n"\n',
        "utf-8",
    )
    assert list(read_po(path)) == [("a", 'one "two"\n', 6)]


@pytest.mark.parametrize("line", ['msgctxt "x"', "msgid unquoted", 'msgid_plural "x"', "msgstr 3"])
def test_what_a_catalogue_must_not_hold_is_named_by_line(tmp_path: Path, line: str):
    path = tmp_path / "x.po"
    path.write_text(f'msgid "a"\nmsgstr "b"\n{line}\n', "utf-8")
    with pytest.raises(CatalogueError, match=r"x\.po:3"):
        list(read_po(path))
