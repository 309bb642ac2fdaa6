"""A site's pack under pytest, without a line of Python: `pytest -p scoring_rules.pytest_plugin mysite`.

Every example of the folder is a test of its own, named by its rule and line; `pack.yaml` is one more, which fails with every
error of the pack as file:line:column and remedy.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scoring_rules.checks import Case, cases_of
from scoring_rules.load import PACK_FILE, load_pack
from scoring_rules.model import Pack
from scoring_rules.problems import PackError, Problem, Problems, Severity
from scoring_rules.source import read_file


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.suffix == ".yaml" and _extends(file_path.parent):
        return PackFile.from_parent(parent, path=file_path)
    return None


def _extends(folder: Path) -> bool:
    """Whether a folder is an overlay: other YAML files are none of ours."""
    head = folder / PACK_FILE
    if not head.is_file():
        return False
    root = read_file(head, PACK_FILE, Problems())
    # A pack.yaml that cannot be read is taken for one, so that it is told.
    return root is None or (root.kind == "mapping" and "extends" in root.mapping())


class PackFile(pytest.File):
    def collect(self) -> Iterator[pytest.Item]:
        folder = self.path.parent
        if self.path.name == PACK_FILE:
            yield LoadsItem.from_parent(self, name="loads", folder=folder)
            return
        for case in cases_of(_pack(folder)):
            if Path(case.example.origin.file).resolve() == self.path.resolve():
                yield ExampleItem.from_parent(self, name=str(case), case=case)


def _pack(folder: Path) -> Pack:
    return load_pack(overlays=[folder], collect=True)


class LoadsItem(pytest.Item):
    def __init__(self, *, folder: Path, **options) -> None:
        super().__init__(**options)
        self._folder = folder

    def runtest(self) -> None:
        here = self._folder.resolve()
        errors = [p for p in _pack(self._folder).problems if p.severity is Severity.ERROR and _in(p, here)]
        if errors:
            raise PackError(errors)

    def repr_failure(self, excinfo, style=None):  # type: ignore[override]
        return str(excinfo.value) if excinfo.errisinstance(PackError) else super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.name


def _in(problem: Problem, folder: Path) -> bool:
    return Path(problem.origin.file).resolve().is_relative_to(folder)


class ExampleItem(pytest.Item):
    def __init__(self, *, case: Case, **options) -> None:
        super().__init__(**options)
        self._case = case

    def runtest(self) -> None:
        if self._case.run().skipped:
            pytest.skip("needs a sentence model")
        self._case.check()

    def repr_failure(self, excinfo, style=None):  # type: ignore[override]
        return str(excinfo.value) if excinfo.errisinstance(AssertionError) else super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self._case.example.origin.line - 1, self.name
