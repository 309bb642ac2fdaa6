"""One TOML file and environment variables, validated into one frozen object.

Order, later wins: defaults, the file, `HUITING_SECTION__KEY` variables, the command line. Relative paths in the file
and in the defaults count from the file's folder (without a file: from the working folder), so that a timer that
starts elsewhere finds the same data; relative paths in variables and on the command line count from the working
folder. docs/settings.md names every key.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_origin
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import re2
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, ValidationError
from pydantic_core import PydanticCustomError

from qa.messages import language_code, text
from qa.toml_lines import key_lines
from speech.options import SpeechOptions

DEFAULT_FILE = Path("huiting.toml")
FILE_VARIABLE = "HUITING_SETTINGS"
VARIABLE_PREFIX = "HUITING_"
SEPARATOR = "__"
HIDDEN = "***"
SHORTEST_CALL_SECONDS = 5.0  # a site's default: what is shorter is a misdial and has nothing to judge


class Problem(NamedTuple):
    """One fault: where (file:line, a variable's name …), which key, and what to do."""

    where: str
    key: str
    message: str


class SettingsError(ValueError):
    """Settings that cannot be used; lists every fault found, not only the first."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(
            "\n".join(
                f"{p.where}: {p.key}: {p.message}" if p.key else f"{p.where}: {p.message}" for p in problems
            )
        )
        self.problems = problems


class Provenance(NamedTuple):
    """A setting in force. `source` is `default`, `file:line`, a variable's name or `command line`."""

    key: str
    value: str
    source: str


def _check(test: Callable[[Any], bool], message_id: str) -> AfterValidator:
    def validate(value: Any) -> Any:
        if not test(value):
            raise PydanticCustomError("huiting", "{id}", {"id": message_id})  # worded by `_explain`
        return value

    return AfterValidator(validate)


def _is_pattern(value: str) -> bool:
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(value, options)
    except re2.error:
        return False
    return True


def _is_time_zone(value: str) -> bool:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # unknown; no name at all; a folder of names
        return False
    return True


def _is_language(value: str) -> bool:
    try:
        language_code(value)
    except ValueError:
        return False
    return True


def _is_clock(value: str) -> bool:
    hours, _, minutes = value.partition(":")
    return not value or (
        hours.isdecimal()
        and minutes.isdecimal()
        and len(minutes) == 2
        and int(hours) < 24
        and int(minutes) < 60
    )


TimeZone = Annotated[str, _check(_is_time_zone, "settings.expected_time_zone")]
Language = Annotated[str, _check(_is_language, "settings.expected_language")]
Clock = Annotated[str, _check(_is_clock, "settings.expected_clock")]
Pattern = Annotated[str, _check(_is_pattern, "settings.expected_pattern")]
Seconds = Annotated[float, Field(ge=0)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Site(Section):
    company: str = ""
    time_zone: TimeZone = "Asia/Shanghai"
    language: Language = "zh"


class Data(Section):
    folder: Path = Path("var")


class StoreSettings(Section):
    url: str = ""


class Intake(Section):
    folder: Path | None = None
    manifest: Path | None = None
    file_pattern: Pattern = ""
    allow_absolute_paths: bool = False
    settle_seconds: Seconds = 30.0


DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


class _SpeechBounds(BaseModel):
    """Bounds of the speech section, which itself is the speech package's dataclass and checks types only."""

    device: Annotated[str, _check(lambda name: bool(DEVICE.fullmatch(name)), "settings.expected_device")] = (
        "auto"
    )
    compute_type: Literal[
        "auto", "int8", "int8_float16", "int8_bfloat16", "float16", "bfloat16", "float32"
    ] = "auto"
    cpu_threads: Annotated[int, Field(ge=0)] = 0
    beam_size: Annotated[int, Field(ge=1)] = 1
    batch_windows: Annotated[int, Field(ge=0)] = 0
    agent_channel: Annotated[int, Field(ge=-1)] = 0
    min_seconds: Seconds = 0
    max_seconds: Annotated[float, Field(ge=1)] = 1
    min_speech_seconds: Seconds = 0


class _Bounds(BaseModel):
    speech: _SpeechBounds = Field(default_factory=_SpeechBounds)


class Rules(Section):
    languages: tuple[str, ...] = ("zh", "en")
    overlays: tuple[Path, ...] = ()
    slots: dict[str, str] = Field(default_factory=dict)


class Night(Section):
    until: Clock = ""
    order: Literal["newest", "riskiest", "oldest"] = "newest"
    workers: Annotated[int, Field(ge=0)] = 0
    max_attempts: Annotated[int, Field(ge=1)] = 3
    recycle_after: Annotated[int, Field(ge=1)] = 200


class Gates(Section):
    min_free_gigabytes: Annotated[float, Field(ge=0)] = 2.0


class Log(Section):
    folder: Path | None = None
    level: Literal["debug", "info", "warning", "error"] = "info"


class Privacy(Section):
    mask_logs: bool = True


class Settings(Section):
    """Everything that is in force. Build it with `Settings.load`."""

    site: Site = Field(default_factory=Site)
    data: Data = Field(default_factory=Data)
    store: StoreSettings = Field(default_factory=StoreSettings)
    intake: Intake = Field(default_factory=Intake)
    speech: SpeechOptions = Field(default_factory=SpeechOptions)
    rules: Rules = Field(default_factory=Rules)
    night: Night = Field(default_factory=Night)
    gates: Gates = Field(default_factory=Gates)
    log: Log = Field(default_factory=Log)
    privacy: Privacy = Field(default_factory=Privacy)

    _sources: dict[tuple[str, ...], str] = PrivateAttr(default_factory=dict)
    _file: Path | None = PrivateAttr(default=None)

    @classmethod
    def load(
        cls,
        path: Path | None = None,
        env: Mapping[str, str] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> Settings:
        """Read the settings in force.

        `path` comes from `--settings`; else `HUITING_SETTINGS` names the file, else ./huiting.toml where there is one.
        `overrides` are the command line's, as `{"night.until": "07:00"}`. Raises SettingsError with every fault.
        """
        env = os.environ if env is None else env
        file = _find_file(path, env)
        problems: list[Problem] = []
        layers = _Layers()
        if file is not None:
            _read_file(file, layers, problems)
        _read_variables(env, layers)
        for key, value in (overrides or {}).items():
            layers.put(tuple(key.split(".")), value, text("settings.source_command_line"), Path.cwd())
        problems += _unknown_keys(cls, layers)
        for model in (cls, _Bounds):
            try:
                model.model_validate(layers.values)
            except ValidationError as error:
                problems += [told for told in _explain(error, layers) if told not in problems]  # both may refuse it
        if problems:
            raise SettingsError(problems)
        settings = cls.model_validate(layers.values)
        settings = _resolve_paths(settings, layers, file.parent if file else Path.cwd())
        speech = settings.speech
        if ("speech", "models_folder") not in layers.sources:
            speech = dataclasses.replace(speech, models_folder=settings.data.folder / "models")
        if ("speech", "min_seconds") not in layers.sources:
            speech = dataclasses.replace(speech, min_seconds=SHORTEST_CALL_SECONDS)
        settings = settings.model_copy(update={"speech": speech})
        settings._sources = layers.sources
        settings._file = file
        return settings

    @property
    def file(self) -> Path | None:
        """The settings file that was read, if any."""
        return self._file

    @property
    def time_zone(self) -> ZoneInfo:
        return ZoneInfo(self.site.time_zone)

    @property
    def sound_folder(self) -> Path:
        """Copies of recordings for the browser, and their waveforms."""
        return self.data.folder / "sound"

    @property
    def store_url(self) -> str:
        """The database: `store.url`, else SQLite in the data folder."""
        return self.store.url or f"sqlite:///{self.data.folder / 'huiting.db'}"

    @property
    def log_folder(self) -> Path:
        return self.log.folder or self.data.folder / "logs"

    def speech_options(self) -> SpeechOptions:
        """The options of the speech stages; weights live in the data folder unless a folder was named."""
        return self.speech

    def provenance(self) -> list[Provenance]:
        """Every setting with its value (secrets hidden) and where it comes from, in the order of docs/settings.md."""
        default = text("settings.source_default")
        rows = []
        for path, value in leaves(self):
            source = next(
                (self._sources[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self._sources),
                default,
            )
            rows.append(Provenance(".".join(path), _show(path, value), source))
        return rows


def leaves(node: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """(path, value) of every setting under a section; free maps such as `rules.slots` are one setting."""
    fields = _fields(type(node))
    if fields is None:
        return [(path, node)]
    return [leaf for name in fields for leaf in leaves(getattr(node, name), (*path, name))]


def _fields(kind: Any) -> dict[str, Any] | None:
    """Names and types of a section, or None for a plain value."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return typing.get_type_hints(kind)
    return None


class _Layers:
    """The merged raw values, with the source and the base folder of each key that was set."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.sources: dict[tuple[str, ...], str] = {}
        self.bases: dict[tuple[str, ...], Path] = {}

    def put(self, path: tuple[str, ...], value: Any, source: str, base: Path) -> None:
        if isinstance(value, dict) and _fields(_kind_at(path)) is not None:
            for name, inner in value.items():
                self.put((*path, name), inner, source, base)
            return
        node = self.values
        for name in path[:-1]:
            inner = node.get(name)
            if not isinstance(
                inner, dict
            ):  # a section given as a plain value: validation has named it already
                inner = node[name] = {}
            node = inner
        node[path[-1]] = value
        self.sources[path], self.bases[path] = source, base

    def source(self, path: tuple[str, ...]) -> str:
        for length in range(len(path), 0, -1):
            if path[:length] in self.sources:
                return self.sources[path[:length]]
        return next((s for key, s in self.sources.items() if key[: len(path)] == path), "settings")


def _kind_at(path: tuple[str, ...]) -> Any:
    kind: Any = Settings
    for name in path:
        fields = _fields(kind)
        if fields is None or name not in fields:
            return None
        kind = fields[name]
    return kind


def _find_file(path: Path | None, env: Mapping[str, str]) -> Path | None:
    named, by = (
        (path, "--settings")
        if path
        else (Path(env[FILE_VARIABLE]), FILE_VARIABLE)
        if env.get(FILE_VARIABLE)
        else (None, "")
    )
    if named is not None:
        if not named.is_file():
            raise SettingsError([Problem(by, "", text("settings.no_such_file", path=named))])
        return named.absolute()
    return DEFAULT_FILE.absolute() if DEFAULT_FILE.is_file() else None


def _read_file(file: Path, layers: _Layers, problems: list[Problem]) -> None:
    try:
        source = file.read_text("utf-8-sig")
        values = tomllib.loads(source)
    except UnicodeDecodeError as error:
        problems.append(Problem(str(file), "", text("settings.not_utf8", byte=error.start)))
        return
    except tomllib.TOMLDecodeError as error:
        problems.append(Problem(str(file), "", text("settings.not_toml", detail=error)))
        return
    lines = key_lines(source)

    def put(path: tuple[str, ...], value: Any) -> None:
        if isinstance(value, dict) and value and _fields(_kind_at(path)) is not None:
            for name, inner in value.items():
                put((*path, name), inner)
            return
        line = next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), 1)
        layers.put(path, value, f"{file}:{line}", file.parent)

    for name, value in values.items():
        put((name,), value)


def _read_variables(env: Mapping[str, str], layers: _Layers) -> None:
    for name in sorted(env):
        if not name.startswith(VARIABLE_PREFIX) or SEPARATOR not in name:
            continue
        path = tuple(part.lower() for part in name.removeprefix(VARIABLE_PREFIX).split(SEPARATOR))
        layers.put(path, _parse_variable(_kind_at(path), env[name]), name, Path.cwd())


def _parse_variable(kind: Any, value: str) -> Any:
    """Lists and maps are JSON, lists also `a, b, c`; everything else is for the validator to read."""
    if get_origin(kind) in (tuple, list, dict) or kind is None:
        try:
            return json.loads(value)
        except ValueError:
            if get_origin(kind) in (tuple, list):
                return [part.strip() for part in value.split(",") if part.strip()]
    if value == "" and get_origin(kind) in (types.UnionType, typing.Union):
        return None
    return value


def _unknown_keys(model: Any, layers: _Layers) -> list[Problem]:
    problems = []

    def walk(kind: Any, node: Any, path: tuple[str, ...]) -> None:
        fields = _fields(kind)
        if fields is None or not isinstance(node, dict):
            return
        for name in list(node):
            if name in fields:
                walk(fields[name], node[name], (*path, name))
                continue
            del node[name]
            close = difflib.get_close_matches(name, fields, n=1, cutoff=0.6)
            elsewhere = [".".join(key) for key, _ in leaves(Settings()) if key[-1] == name]
            guess = [".".join((*path, close[0]))] if close else elsewhere
            message = (
                text("settings.unknown_key_close", guess=guess[0])
                if guess
                else text("settings.unknown_key", known=", ".join(fields))
            )
            problems.append(Problem(layers.source((*path, name)), ".".join((*path, name)), message))

    walk(model, layers.values, ())
    return problems


_EXPECTED = {
    "int_parsing": "settings.expected_integer",
    "int_type": "settings.expected_integer",
    "int_from_float": "settings.expected_integer",
    "float_parsing": "settings.expected_number",
    "float_type": "settings.expected_number",
    "finite_number": "settings.expected_number",
    "bool_parsing": "settings.expected_boolean",
    "bool_type": "settings.expected_boolean",
    "string_type": "settings.expected_text",
    "path_type": "settings.expected_path",
    "tuple_type": "settings.expected_list",
    "list_type": "settings.expected_list",
    "dict_type": "settings.expected_table",
    "model_type": "settings.expected_table",
    "model_attributes_type": "settings.expected_table",
    "dataclass_type": "settings.expected_table",
}
_BOUNDS = {
    "greater_than_equal": ("settings.expected_at_least", "ge"),
    "less_than_equal": ("settings.expected_at_most", "le"),
}


def _explain(error: ValidationError, layers: _Layers) -> list[Problem]:
    problems = []
    for fault in error.errors():
        path = tuple(str(part) for part in fault["loc"])
        kind, context = fault["type"], fault.get("ctx", {})
        if kind == "huiting":
            expected = text(context["id"])
        elif kind == "literal_error":
            choices = re.findall(r"'([^']*)'", context["expected"])
            close = difflib.get_close_matches(str(fault["input"]), choices, n=1)
            expected = text("settings.expected_choice", choices=" | ".join(choices))
            expected += text("settings.did_you_mean", guess=close[0]) if close else ""
        elif kind in _BOUNDS:
            message_id, name = _BOUNDS[kind]
            expected = text(message_id, bound=context[name])
        elif kind in _EXPECTED:
            expected = text(_EXPECTED[kind])
        else:
            expected = fault["msg"]
        given = HIDDEN if _is_secret(path) else repr(fault["input"])
        problems.append(
            Problem(
                layers.source(path), ".".join(path), text("settings.expected", expected=expected, given=given)
            )
        )
    return problems


def _resolve_paths(settings: Settings, layers: _Layers, home: Path) -> Settings:
    def resolve(node: Any, path: tuple[str, ...]) -> Any:
        base = layers.bases.get(path, home)
        if isinstance(node, Path):
            return base / node.expanduser()
        if isinstance(node, tuple) and node and isinstance(node[0], Path):
            return tuple(base / item.expanduser() for item in node)
        fields = _fields(type(node))
        if fields is None:
            return node
        values = {name: resolve(getattr(node, name), (*path, name)) for name in fields}
        return node.model_copy(update=values) if isinstance(node, BaseModel) else type(node)(**values)

    return resolve(settings, ())


def _is_secret(path: tuple[str, ...]) -> bool:
    return any(word in path[-1] for word in ("password", "secret", "token")) if path else False


def _show(path: tuple[str, ...], value: Any) -> str:
    if _is_secret(path) and value:
        return HIDDEN
    if path == ("store", "url") and value:
        from qa.store.engine import hide_password

        return hide_password(value)
    if isinstance(value, tuple):
        return json.dumps([str(item) for item in value], ensure_ascii=False)
    if isinstance(value, Path):
        return json.dumps(str(value), ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False)
