"""What the command's exit code tells a timer or a shell. docs/operations.md lists them; a test holds both equal."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    OK = 0  # done; quarantined and skipped files are in the summary
    ERROR = 1  # something broke that should not have: a bug, see the log
    USAGE = 2  # wrong arguments, settings, manifest or rules: the message names the place
    FAILED_CALLS = 3  # the night ended, but some calls failed on our side
    LOCKED = 4  # another night is running
    OUT_OF_TIME = 5  # stopped at --until with calls left
    DISK_FULL = 6  # stopped cleanly before the disk was full
    NOT_READY = 7  # models, database or device are missing: `huiting doctor` says what
    INTERRUPTED = 130  # stopped by a signal; the next run goes on
