"""Settings: order of sources, validation with the place named, and where a value comes from."""

from __future__ import annotations

import re
import string
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa.messages import in_language
from qa.settings import Settings, SettingsError, leaves
from qa.store.engine import hide_password
from qa.toml_lines import key_lines
from speech.options import SpeechOptions

DOCUMENT = Path(__file__).parents[1] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "huiting.toml") -> Path:
    path = Path(name).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def faults(env: dict[str, str] | None = None, path: Path | None = None, **overrides: object) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        Settings.load(path, env or {}, overrides)
    return str(caught.value).splitlines()


# Order of sources


def test_without_a_file_the_defaults_are_in_force(tmp_path: Path):
    settings = Settings.load(env={})
    assert settings.file is None
    assert settings.site.time_zone == "Asia/Shanghai"
    assert settings.store_url == f"sqlite:///{tmp_path / 'var' / 'huiting.db'}"
    assert settings.speech_options().models_folder == tmp_path / "var" / "models"
    assert settings.log_folder == tmp_path / "var" / "logs"


def test_the_defaults_of_the_speech_section_are_the_speech_packages_own():
    ours, theirs = Settings.load(env={}).speech_options(), SpeechOptions()
    changed = {name for name in SpeechOptions.__slots__ if getattr(ours, name) != getattr(theirs, name)}
    assert changed == {"models_folder", "min_seconds"}


def test_file_then_variable_then_command_line():
    write('[night]\nuntil = "05:00"\norder = "oldest"\nworkers = 2\n')
    env = {"HUITING_NIGHT__UNTIL": "06:00", "HUITING_NIGHT__WORKERS": "3"}
    night = Settings.load(env=env, overrides={"night.until": "07:00"}).night
    assert (night.until, night.order, night.workers) == ("07:00", "oldest", 3)


def test_a_named_file_wins_over_the_variable_wins_over_the_working_folder():
    write('[site]\ncompany = "here"\n')
    by_variable = write('[site]\ncompany = "variable"\n', "v.toml")
    by_option = write('[site]\ncompany = "option"\n', "o.toml")
    env = {"HUITING_SETTINGS": str(by_variable)}
    assert Settings.load(by_option, env).site.company == "option"
    assert Settings.load(None, env).site.company == "variable"
    assert Settings.load(None, {}).site.company == "here"


def test_paths_count_from_where_they_were_written(tmp_path: Path):
    file = write(
        '[data]\nfolder = "data"\n[intake]\nfolder = "~/calls"\n[rules]\noverlays = ["a", "/b"]\n',
        "site/huiting.toml",
    )
    settings = Settings.load(file, {"HUITING_LOG__FOLDER": "logs"})
    assert settings.data.folder == tmp_path / "site" / "data"
    assert settings.intake.folder == Path.home() / "calls"
    assert settings.rules.overlays == (tmp_path / "site" / "a", Path("/b"))
    assert settings.log_folder == tmp_path / "logs"
    assert settings.speech.models_folder == tmp_path / "site" / "data" / "models"


def test_lists_and_maps_in_variables():
    env = {
        "HUITING_SPEECH__HOTWORDS": "晨星, 分期",
        "HUITING_RULES__LANGUAGES": '["zh", "en"]',
        "HUITING_RULES__SLOTS": '{"company": "晨星"}',
        "HUITING_SPEECH__MODELS__RECOGNISER": "/m/belle",
        "HUITING_SPEECH__EMOTION": "false",
    }
    settings = Settings.load(env=env)
    assert settings.speech.hotwords == ("晨星", "分期")
    assert settings.rules.languages == ("zh", "en")
    assert settings.rules.slots == {"company": "晨星"}
    assert settings.speech.models.recogniser == "/m/belle"
    assert settings.speech.models.diarizer == SpeechOptions().models.diarizer
    assert settings.speech.emotion is False


def test_settings_do_not_change():
    settings = Settings.load(env={})
    with pytest.raises(ValueError, match="frozen"):
        settings.site.company = "x"  # pyright: ignore[reportAttributeAccessIssue]


# Faults


def test_every_fault_is_told_with_file_line_and_key():
    file = write(
        "[site]\n"
        'compny = "晨星"\n'
        'time_zone = "Asia/Shangai"\n'
        "[night]\n"
        'order = "newst"\n'
        'until = "25:00"\n'
        "workers = -1\n"
        "[speech]\n"
        "beam_size = 0\n"
        'hotwords = "a"\n'
        'compute_type = "int4"\n'
        "[speech.models]\n"
        'recognizer = "x"\n'
        "[intake]\n"
        'file_pattern = "(?P<a"\n'
        "[nigth]\n"
        'until = "07:00"\n'
    )
    told = faults()
    assert sorted(tuple(line.split(": ")[:2]) for line in told) == sorted(
        (f"{file}:{line}", key)
        for line, key in [
            (2, "site.compny"),
            (3, "site.time_zone"),
            (5, "night.order"),
            (6, "night.until"),
            (7, "night.workers"),
            (9, "speech.beam_size"),
            (10, "speech.hotwords"),
            (11, "speech.compute_type"),
            (13, "speech.models.recognizer"),
            (15, "intake.file_pattern"),
            (16, "nigth"),
        ]
    )
    text = "\n".join(told)
    assert "是不是 site.company？" in text
    assert "是不是 newest？" in text
    assert "是不是 speech.models.recogniser？" in text
    assert "不小于 1 的数，实际是 0" in text


def test_an_unknown_section_is_told_with_the_nearest_name():
    file = write("\n[nigth]\nuntil = '07:00'\n")
    assert faults() == [f"{file}:2: nigth: 没有这个设置项。是不是 night？"]


def test_a_key_that_stands_in_another_section_is_pointed_to():
    write("[night]\nbeam_size = 1\n")
    assert "是不是 speech.beam_size？" in faults()[0]


def test_faults_in_variables_name_the_variable():
    env = {"HUITING_NIGHT__WORKERS": "many", "HUITING_STORE__UR": "x"}
    assert [line.split(": ")[0] for line in faults(env)] == ["HUITING_STORE__UR", "HUITING_NIGHT__WORKERS"]


def test_faults_are_told_in_english():
    with in_language("en"):
        assert faults({"HUITING_NIGHT__WORKERS": "many"}) == [
            "HUITING_NIGHT__WORKERS: night.workers: expected an integer, found 'many'"
        ]


@pytest.mark.parametrize(
    ("content", "told"),
    [("[site\n", "TOML"), ("a = 1\na = 2\n", "TOML"), ("site = 3\n", "一节")],
)
def test_a_broken_file_is_told(content: str, told: str):
    file = write(content)
    (line,) = faults()
    assert line.startswith(str(file))
    assert told in line


def test_a_file_that_is_not_utf8_is_told():
    Path("huiting.toml").write_bytes('[site]\ncompany = "晨星"\n'.encode("gbk"))
    assert "UTF-8" in faults()[0]


def test_a_named_file_that_is_not_there_is_told():
    assert "--settings" in faults(path=Path("none.toml"))[0]
    assert "HUITING_SETTINGS" in faults({"HUITING_SETTINGS": "none.toml"})[0]


def test_a_secret_is_not_repeated_in_an_error():
    url = "postgresql://u:hunter2@h/d"
    assert "hunter2" not in str(Settings.load(env={"HUITING_STORE__URL": url}).provenance())


# Where values come from


def test_provenance_names_default_file_line_variable_and_command_line():
    file = write('[site]\n\ncompany = "晨星"\n[rules.slots]\ncompany = "晨星"\n')
    settings = Settings.load(env={"HUITING_NIGHT__WORKERS": "2"}, overrides={"night.until": "07:00"})
    rows = {row.key: (row.value, row.source) for row in settings.provenance()}
    assert rows["site.company"] == ('"晨星"', f"{file}:3")
    assert rows["rules.slots"] == ('{"company": "晨星"}', f"{file}:4")
    assert rows["night.workers"] == ("2", "HUITING_NIGHT__WORKERS")
    assert rows["night.until"] == ('"07:00"', "命令行")
    assert rows["night.order"] == ('"newest"', "默认")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@h/d",
        "postgresql://h/d?user=u&password=hunter2",
        "postgresql+psycopg://u:hunter2@h:5/d",
    ],
)
def test_passwords_in_database_urls_are_hidden(url: str):
    shown = hide_password(url)
    assert "hunter2" not in shown
    assert "***" in shown
    assert "/d" in shown


def test_every_setting_is_documented_with_its_default():
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| (.+?) \|", DOCUMENT.read_text("utf-8"), re.MULTILINE))
    in_words = {"data.folder", "intake.folder", "intake.manifest", "speech.models_folder", "log.folder"}
    settings = Settings.load(env={})
    shown = {row.key: row.value for row in settings.provenance()}
    assert set(rows) == {".".join(path) for path, _ in leaves(settings)}
    assert {key: value.strip("`") for key, value in rows.items() if key not in in_words} == {
        key: value for key, value in shown.items() if key not in in_words
    }


def test_the_sample_in_the_document_is_valid():
    (sample,) = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    assert Settings.load(write(sample), {}).night.order == "riskiest"


# Lines of a TOML file

SAMPLE = '''# comment with [brackets] and "quotes
top = 1

[a]
"quoted key" = "x # no comment"
dotted.key = [
  1, # one
  "]",
  2,
]
after_list = """
[not a table]
k = 1
\\""" still inside"""
literal = \'\'\'
x = "
\'\'\'
[ a . "b.c" ]
deep = {inline = [1, 2], k = "}"}
last = 2026-01-01T00:00:00Z
[[array]]
x = 1
[[array]]
x = 2
'''


def test_key_lines_of_a_file_with_every_kind_of_value():
    tomllib.loads(SAMPLE)
    assert key_lines(SAMPLE) == {
        ("top",): 2,
        ("a",): 4,
        ("a", "quoted key"): 5,
        ("a", "dotted"): 6,
        ("a", "dotted", "key"): 6,
        ("a", "after_list"): 11,
        ("a", "literal"): 15,
        ("a", "b.c"): 18,
        ("a", "b.c", "deep"): 19,
        ("a", "b.c", "last"): 20,
        ("array",): 21,
        ("array", "x"): 22,
    }


keys = st.text(string.ascii_letters + "-_", min_size=1, max_size=5)
values = st.sampled_from(
    ["1", '"a"', "'b'", '"""\n[x]\ny = 1\n"""', "[1,\n 2, # c\n]", "{k = 1}", "true", "'''\n'''"]
)


@given(st.dictionaries(keys, st.dictionaries(keys, values, max_size=4), max_size=4))
def test_key_lines_agree_with_the_parser(sections: dict[str, dict[str, str]]):
    source = "".join(
        f"[{name}]  # note\n" + "".join(f"{k} = {v}\n\n" for k, v in body.items())
        for name, body in sections.items()
    )
    found = key_lines(source)
    lines = source.split("\n")
    for name, body in tomllib.loads(source).items():
        assert lines[found[name,] - 1].startswith(f"[{name}]")
        for key in body:
            assert lines[found[name, key] - 1].startswith(f"{key} = ")
    assert len(found) == len(sections) + sum(map(len, sections.values()))
