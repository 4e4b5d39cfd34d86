"""The command line as a whole: how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

HEAVY = {"litestar", "uvicorn", "jinja2", "rich.progress"}
"""Packages that take long to import, and that only a web process or somebody at a terminal needs."""


@pytest.mark.parametrize(("module", "unneeded"), [("app.__main__", HEAVY - {"rich.progress"}), ("app.child", HEAVY)])
def test_a_process_does_not_wait_for_packages_that_it_does_not_use(module: str, unneeded: set[str]) -> None:
    """A killed one is gone for as long as its successor imports."""
    code = f"import {module}, sys; print(*sys.modules)"
    imported = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert unneeded.isdisjoint(imported.split())


def test_a_reader_that_has_seen_enough_is_no_failure_of_the_database(dsn: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "app", "check-ledgers", "--database-url", dsn]
    try:
        ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGPIPE, "")
