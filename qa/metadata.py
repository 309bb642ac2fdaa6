"""What is known of a call from outside, field by field: names of columns, and values as sites write them."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from qa.messages import text
from qa.store.schema import MAX_ID

# Field → the names that columns, sidecar keys and pattern groups may have (compared without case, spaces, _ and -).
NAMES: dict[str, tuple[str, ...]] = {
    "call_id": (
        "call_id",
        "id",
        "通话编号",
        "通话ID",
        "通话流水号",
        "流水号",
        "录音编号",
        "会话编号",
        "编号",
    ),
    "file": (
        *("file", "path", "file_name", "file_path", "recording", "audio"),
        *("文件", "文件名", "文件路径", "路径", "录音", "录音文件", "录音路径"),
    ),
    "agent": (
        "agent",
        "agent_id",
        "坐席",
        "座席",
        "坐席工号",
        "座席工号",
        "客服",
        "客服工号",
        "工号",
        "员工工号",
    ),
    "team": ("team", "班组", "小组", "团队", "组别"),
    "queue": ("queue", "skill", "skill_group", "队列", "技能组", "业务线"),
    "direction": ("direction", "方向", "呼叫方向", "呼入呼出"),
    "started_at": (
        "started_at",
        "start",
        "start_time",
        "begin_time",
        "开始时间",
        "通话时间",
        "通话开始时间",
        "录音时间",
    ),
    "kind": ("kind", "type", "service_kind", "类型", "服务类型", "业务类型", "通话类型"),
    "customer_key": ("customer_key", "customer", "customer_id", "客户", "客户号", "客户编号", "客户标识"),
    "agent_channel": ("agent_channel", "channel_roles", "坐席声道", "座席声道", "客服声道", "声道"),
    "tags": ("tags", "tag", "标签"),
    "elderly": ("elderly", "老年", "老年客户", "是否老年"),
    "ended_by": ("ended_by", "挂断方", "结束方", "先挂断"),
}
KINDS = {
    "咨询": ("咨询", "enquiry", "inquiry"),
    "查询": ("查询", "look-up", "lookup", "query"),
    "投诉": ("投诉", "complaint"),
    "建议": ("建议", "suggestion"),
    "办理": ("办理", "业务办理", "transaction"),
}
DIRECTIONS = {
    "inbound": ("inbound", "in", "呼入", "来电"),
    "outbound": ("outbound", "out", "呼出", "外呼", "去电"),
}
ENDERS = {
    "agent": ("agent", "坐席", "座席", "客服"),
    "customer": ("customer", "客户", "用户"),
    "line": ("line", "断线", "掉线", "系统"),
}
TRUTHS = {True: ("true", "yes", "y", "1", "是", "真"), False: ("false", "no", "n", "0", "否", "假")}
CHANNELS = {0: ("0", "left", "左", "左声道"), 1: ("1", "right", "右", "右声道")}
AGENT_WORDS, CUSTOMER_WORDS = ENDERS["agent"], ENDERS["customer"]

EXCEL_EPOCH = datetime(1899, 12, 30)
EXCEL_DAYS = (20_000, 80_000)  # 1954 to 2119: a bare number in this range is a day of a spreadsheet
LARGEST_EXACT_NUMBER = 2**53  # a spreadsheet's numbers are doubles: longer ids have lost digits


class FieldError(ValueError):
    """A value that cannot be read; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class Fault:
    column: str  # as the source names it
    message: str


def field_of(name: str) -> str | None:
    """The field that a column stands for, or None: a further column, kept as an attribute."""
    return _FIELDS.get(_plain(name))


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-]", "", unicodedata.normalize("NFKC", name)).casefold()


_FIELDS = {_plain(name): field for field, names in NAMES.items() for name in names}


def read_fields(raw: Mapping[str, tuple[str, Any]], zone: ZoneInfo) -> tuple[dict[str, Any], list[Fault]]:
    """Raw values, field → (column name, value), to typed ones; empty values fall out. Faults name the column."""
    fields: dict[str, Any] = {}
    faults: list[Fault] = []
    for field, (column, value) in raw.items():
        if is_empty(value):
            continue
        try:
            fields[field] = READERS[field](value, zone)
        except FieldError as error:
            faults.append(Fault(column, str(error)))
    return fields, faults


def is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def as_text(value: Any) -> str:
    """A cell as text: 1027.0 is 1027. Raises FieldError where a spreadsheet has already lost digits."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        if abs(value) >= LARGEST_EXACT_NUMBER:
            raise FieldError(text("intake.lost_digits", value=value))
        return str(int(value)) if value == int(value) else str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if not isinstance(value, str):
        raise FieldError(text("intake.expected_text", value=value))
    if "\0" in value:
        raise FieldError(text("intake.nul"))
    return value.strip()


def _read_key(value: Any, zone: ZoneInfo) -> str:
    key = as_text(value)
    if re.fullmatch(r"\d\.\d+[eE]\+\d+", key):
        raise FieldError(text("intake.lost_digits", value=key))
    if len(key) > MAX_ID:
        raise FieldError(text("intake.too_long", limit=MAX_ID))
    return key


def _read_text(value: Any, zone: ZoneInfo) -> str:
    return as_text(value)


def _choice(choices: Mapping[Any, tuple[str, ...]]) -> Callable[[Any, ZoneInfo], Any]:
    def read(value: Any, zone: ZoneInfo) -> Any:
        given = as_text(value)
        for meaning, names in choices.items():
            if given.casefold() in names:
                return meaning
        expected = " | ".join(names[0] for names in choices.values())
        raise FieldError(text("intake.expected_choice", expected=expected, value=given))

    return read


def _read_kind(value: Any, zone: ZoneInfo) -> str:
    try:
        return _choice(KINDS)(value, zone)
    except FieldError as error:
        raise FieldError(text("intake.unknown_kind", detail=error)) from None


def _read_channel(value: Any, zone: ZoneInfo) -> int:
    """0-based; a side by name; or the roles of the channels in order, such as `agent,customer`."""
    given = as_text(value).casefold()
    for number, names in CHANNELS.items():
        if given in names:
            return number
    roles = re.split(r"[,，;；/|、\s]+", given)
    agents = [number for number, role in enumerate(roles) if role in AGENT_WORDS]
    if len(roles) > 1 and len(agents) == 1 and all(role in AGENT_WORDS + CUSTOMER_WORDS for role in roles):
        return agents[0]
    raise FieldError(text("intake.expected_channel", value=given))


def _read_tags(value: Any, zone: ZoneInfo) -> tuple[str, ...]:
    parts = value if isinstance(value, list) else re.split(r"[;；,，、|]", as_text(value))
    return tuple(dict.fromkeys(_read_key(part, zone) for part in parts if not is_empty(part)))


_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})(?:[T_\-\s]?(\d{2})(\d{2})(\d{2})?)?")


def read_time(value: Any, zone: ZoneInfo) -> datetime:
    """An instant. Without an offset it is the site's time. Raises FieldError.

    Read are ISO 8601, 2026/11/20 9:04, 2026年11月20日 9时4分, 20261120090412, dates and day numbers of a spreadsheet,
    and seconds or milliseconds since 1970. Day-first and month-first dates are refused: nobody can tell them apart.
    """
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=zone)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=zone)
    given = as_text(value)
    try:
        moment = _parse_time(unicodedata.normalize("NFKC", given))
    except (ValueError, OverflowError):
        moment = None
    if moment is None:
        raise FieldError(text("intake.expected_time", value=given))
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def _parse_time(given: str) -> datetime | None:
    if re.fullmatch(r"\d{5}(\.\d+)?", given):
        days = float(given)
        return (
            EXCEL_EPOCH + timedelta(seconds=round(days * 86_400))
            if EXCEL_DAYS[0] <= days <= EXCEL_DAYS[1]
            else None
        )
    if re.fullmatch(r"\d{10}|\d{13}", given):
        return datetime.fromtimestamp(int(given) / (1000 if len(given) == 13 else 1), UTC)
    if match := _COMPACT.fullmatch(given):
        return _moment(match.groups())
    chinese = re.sub(r"[年月]", "-", given.replace("日", " ").replace("号", " "))
    chinese = re.sub(r"[时点分]", ":", chinese).replace("秒", "").strip().rstrip(":")
    match = re.fullmatch(
        r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})"
        r"(?:[T\s]+(\d{1,2})(?::(\d{1,2})(?::(\d{1,2})(?:[.,](\d{1,9}))?)?)?)?\s*(Z|[+-]\d{2}:?\d{2})?",
        chinese,
        re.IGNORECASE,
    )
    if match is None:
        return None
    *parts, fraction, offset = match.groups()
    moment = _moment(parts)
    if fraction:
        moment += timedelta(microseconds=round(float(f"0.{fraction}") * 1e6))
    if offset:
        moment = datetime.fromisoformat(moment.isoformat() + offset.upper())
    return moment


def _moment(parts: Sequence[str | None]) -> datetime:
    year, month, day, hour, minute, second = (int(part or 0) for part in parts)
    return datetime(year, month, day, hour, minute, second)


READERS: dict[str, Callable[[Any, ZoneInfo], Any]] = {
    "call_id": _read_key,
    "file": _read_text,
    "agent": _read_key,
    "team": _read_key,
    "queue": _read_key,
    "direction": _choice(DIRECTIONS),
    "started_at": read_time,
    "kind": _read_kind,
    "customer_key": _read_key,
    "agent_channel": _read_channel,
    "tags": _read_tags,
    "elderly": _choice(TRUTHS),
    "ended_by": _choice(ENDERS),
}


def as_attribute(value: Any) -> Any:
    """A further column's value as JSON keeps it. Raises FieldError for one it cannot."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        raise FieldError(text("intake.expected_text", value=value))
    if isinstance(value, float) and value == int(value) and abs(value) < LARGEST_EXACT_NUMBER:
        return int(value)
    if isinstance(value, str):
        return as_text(value)
    if isinstance(value, list):
        return [as_attribute(item) for item in value]
    if isinstance(value, dict):
        return {as_text(key): as_attribute(item) for key, item in value.items()}
    return value
