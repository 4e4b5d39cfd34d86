"""The one exception of the embedded engine, and what a person can do about what PostgreSQL says."""

import re
from pathlib import Path


class EngineError(Exception):
    """The embedded server cannot be run; the message is a sentence for a person at a terminal."""


_FULL = "The disk of {directory} is full. Make room and start again: nothing that was acknowledged is lost."
_DAMAGED = (
    "Files in {directory} are damaged. Keep a copy of it, and restore a backup into another directory "
    "(docs/operating-backup.md)."
)
_ADVICE = (
    # Containers are given 64 MB of it, whatever their memory.
    ("could not resize shared memory segment", "Shared memory (/dev/shm) is full; docker's --shm-size gives more."),
    ("No space left on device", _FULL),
    ("Disk quota exceeded", _FULL),
    ("Read-only file system", "The file system of {directory} is mounted read-only; mount it for writing."),
    ("has invalid permissions", "Only its owner may see {directory}: chmod 700 {directory}"),
    ("Permission denied", "Files in {directory} belong to another account: chown -R {account} {directory}"),
    ("could not read file", _DAMAGED),
    ("invalid page in block", _DAMAGED),
    ("could not locate a valid checkpoint record", _DAMAGED),
    ("incorrect checksum in control file", _DAMAGED),
)
"""What the server or initdb says, and what to do about it; the first one that is found counts."""

_OUR_OWN_CALLS = re.compile(
    r"^.*FATAL:  the database system is (?:starting up|not yet accepting connections)\n(?:.* DETAIL: .*\n)?",
    re.MULTILINE,
)
_REASON = re.compile(r"^.*(?:PANIC|FATAL|ERROR|error): .*$", re.MULTILINE)


def advice(said: str, directory: Path, account: str) -> str:
    """What to do about what a program said, as a sentence with a space after it; empty when nothing is known."""
    return next((f"{text.format(directory=directory, account=account)} " for word, text in _ADVICE if word in said), "")


def without_our_calls(said: str) -> str:
    """The server's log without what it answered to us, who asked whether it is ready."""
    return _OUR_OWN_CALLS.sub("", said)


def reasons(said: str) -> str:
    """The lines of a program's output that say why it failed; all of it when none does."""
    return "\n".join(_REASON.findall(said)) or said
