"""Limits of time on whatever machine runs the tests: stated for one machine, stretched on a slower or busier one."""

from __future__ import annotations

import time

WORK = 1_000_000
STATED_FOR = 0.11  # seconds that the work takes on the machine of bench/README.md's faster figures


def allowed(seconds: float) -> float:
    """The limit here and now: never below what is stated, longer by as much as a fixed piece of work takes longer."""
    took = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        total = 0
        for number in range(WORK):
            total += number * number % 7
        took = min(took, time.perf_counter() - start)
    return seconds * max(1.0, took / STATED_FOR)
