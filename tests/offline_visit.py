"""Run inside a network namespace of its own (test_offline.py): every address in the world leads back here, to listeners
that write down who was asked for what. The app is started and every page of every role visited in chromium; prints what
was visited and what was asked for.

    unshare --net python tests/offline_visit.py SETTINGS_FILE
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

from appsite import PASSWORD

from qa.access import Role

PROJECT = Path(__file__).resolve().parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
APP_PORT = 8_851
# Chromium has errands of its own (updates, autofill): it may know no names at all, and what the pages ask for is
# taken down as they ask for it.
BROWSER = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--disable-component-update"]
WAIT = 120_000  # ms: a busy machine
DRAWN = "[data-testid='stApp'][data-test-script-state='notRunning'] [data-testid='stSidebar'] [data-testid='stHtml']"
START_SECONDS = 120
TCP_PORTS = (80, 443, 8_080, 8_443)
COUNTED = {"Tcp": ("AttemptFails",), "Udp": ("NoPorts",)}  # tries at ports where nobody listens


class World:
    """All that is not this machine: name servers and web servers that only take note."""

    def __init__(self) -> None:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        subprocess.run(["ip", "route", "add", "local", "default", "dev", "lo"], check=True)
        self.asked: list[str] = []
        names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        names.bind(("0.0.0.0", 53))
        threading.Thread(target=self._names, args=(names,), daemon=True).start()
        for port in TCP_PORTS:
            listener = socket.create_server(("0.0.0.0", port), backlog=50)
            threading.Thread(target=self._connections, args=(listener,), daemon=True).start()

    def _names(self, names: socket.socket) -> None:
        while True:
            question, _ = names.recvfrom(2_000)
            self.asked.append(f"name {_name(question)}")

    def _connections(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            address, port = connection.getsockname()
            self.asked.append(f"connection to {address}:{port}")
            connection.close()

    @staticmethod
    def refused() -> int:
        """Connections and packets so far to ports where nobody listens."""
        lines = Path("/proc/net/snmp").read_text("ascii").splitlines()
        found = 0
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            kind, *columns = names.split()
            row = dict(zip(columns, values.split()[1:], strict=True))
            found += sum(int(row[name]) for name in COUNTED.get(kind.rstrip(":"), ()))
        return found


def _name(question: bytes) -> str:
    """The name in a DNS question (RFC 1035, 4.1.2)."""
    parts, at = [], 12
    while at < len(question) and question[at]:
        parts.append(question[at + 1 : at + 1 + question[at]].decode("ascii", "replace"))
        at += 1 + question[at]
    return ".".join(parts)


def visit_all(base: str) -> tuple[list[str], list[str]]:
    """Every page of every role's navigation: (what was drawn, what the pages asked of other machines)."""
    from playwright.sync_api import sync_playwright

    visited, elsewhere = [], []

    def note(request) -> None:
        if not request.url.startswith((base, "data:", "blob:")):
            elsewhere.append(request.url)

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=BROWSER)
        for role in Role:
            page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
            page.set_default_timeout(WAIT)
            page.on("request", note)
            page.goto(f"{base}/sign-in")
            page.fill("#login", role.value)
            page.fill("#password", PASSWORD)
            page.click("button")
            page.locator(DRAWN).first.wait_for()
            links = page.locator("[data-testid='stSidebarNavLink']")
            addresses = links.evaluate_all("found => found.map(link => link.getAttribute('href'))")
            if role is Role.INSPECTOR:
                addresses += ["/call?id=number&view=all", "/search?q=%E6%82%A8%E5%A5%BD"]
            for address in addresses:
                page.goto(base + address if address.startswith("/") else address)
                page.locator(DRAWN).first.wait_for()
                visited.append(f"{role.value} {address} {page.title()}")
        browser.close()
    return visited, elsewhere


def main(settings_file: str) -> None:
    world = World()
    log = Path(settings_file).with_name("offline.log")
    base = f"http://127.0.0.1:{APP_PORT}"
    command = [sys.executable, "-m", "qa.cli", "app", "--port", str(APP_PORT)]
    environment = {**os.environ, "HUITING_SETTINGS": settings_file}
    with log.open("w") as file, subprocess.Popen(command, env=environment, stdout=file, stderr=file, cwd=PROJECT) as server:
        try:
            _wait(base, server, log)
            before = world.refused()
            visited, elsewhere = visit_all(base)
            refused = world.refused() - before
            asked = [*world.asked, *elsewhere]
        finally:
            server.terminate()
            server.wait(20)
    print(json.dumps({"visited": visited, "asked": asked, "refused": refused, "would": would_be_seen(world)}))


def would_be_seen(world: World) -> list[str]:
    """What is noted of somebody who does ask: without this, silence proves nothing."""
    before, refused = len(world.asked), world.refused()
    for address in ("http://name.example/", "http://192.0.2.1/", "http://192.0.2.1:8123/"):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(address, timeout=3)
    time.sleep(0.5)
    return [*world.asked[before:], f"refused {world.refused() - refused}"]


def _wait(base: str, server: subprocess.Popen, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"{base}/_stcore/health", timeout=2)
            return
        except OSError:
            time.sleep(0.5)
    raise RuntimeError(f"the app did not start:\n{log.read_text('utf-8')}")


if __name__ == "__main__":
    main(sys.argv[1])
