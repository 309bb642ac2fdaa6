"""Nothing is asked of any other machine, neither by the server nor by the browser: once, in a network namespace whose
every address leads to a listener of the test. Skipped, loudly, where such a namespace cannot be made.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from appsite import build

PROJECT = Path(__file__).resolve().parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def _skip(why: str) -> None:
    warnings.warn(f"NOT TESTED THAT THE APP ASKS NO OTHER MACHINE FOR ANYTHING: {why}", stacklevel=2)
    pytest.skip(why)


def _separated() -> list[str]:
    """The command that runs another in a network namespace of its own."""
    for command in (["unshare", "--net"], ["unshare", "--net", "--map-root-user"]):
        if shutil.which("unshare") and shutil.which("ip"):
            made = subprocess.run([*command, "ip", "link", "set", "lo", "up"], capture_output=True, check=False)
            if made.returncode == 0:
                return command
    _skip("no network namespaces here (Linux, `unshare` and `ip`, and the right to use them: Debian: apt install iproute2)")
    return []


def test_neither_server_nor_browser_asks_another_machine(tmp_path: Path):
    if CHROMIUM is None:
        _skip("no chromium (Debian: apt install chromium)")
    pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    command = _separated()
    site = build(tmp_path)
    site.store.close()
    ran = subprocess.run(
        [*command, sys.executable, PROJECT / "tests/offline_visit.py", site.settings_file],
        capture_output=True, text=True, cwd=PROJECT, check=False, env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = json.loads(ran.stdout.splitlines()[-1])
    assert len(told["visited"]) >= 20
    assert "name name.example" in told["would"]
    assert "connection to 192.0.2.1:80" in told["would"]
    assert told["would"][-1] != "refused 0"
    assert told["asked"] == []
    assert told["refused"] == 0
