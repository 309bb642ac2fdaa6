"""What is wrong in a pack, each with its place and its remedy; all problems are collected before any is raised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from scoring_rules.messages import message


class Severity(StrEnum):
    ERROR = "error"  # the rule is not loaded
    WARNING = "warning"  # it works, but not as its author may think


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """Where something stands in a pack; line and column count from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem; `code` names its text in data/messages.yaml, `values` fill it in."""

    origin: Origin
    code: str
    severity: Severity = Severity.ERROR
    values: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))

    def text(self, locale: str = "en") -> str:
        """`file:line:column: severity: what is wrong → what to do`."""
        values = dict(self.values)
        if "hint" in values:
            values["hint"] = message("hint", locale, hint=values["hint"]) if values["hint"] else ""
        told = message(f"problem.{self.code}", locale, **values)
        return f"{self.origin}: {message(self.severity.value, locale)}: {told}"


class PackError(Exception):
    """A pack that cannot be used as it stands; `problems` holds everything that was found."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problem.text() for problem in self.problems))


class Problems:
    """Collects problems while a pack is read."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def error(self, origin: Origin, code: str, **values: object) -> None:
        self.found.append(Problem(origin, code, Severity.ERROR, MappingProxyType(values)))

    def warning(self, origin: Origin, code: str, **values: object) -> None:
        self.found.append(Problem(origin, code, Severity.WARNING, MappingProxyType(values)))

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.found if problem.severity is Severity.ERROR]
