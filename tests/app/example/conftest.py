"""A real service in a process of its own, for tests that drive it over the network."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

START_SECONDS = 90.0
"""Making the database takes seconds; a service that has not spoken by then never will."""

STOP_SECONDS = 60.0


@dataclass(frozen=True)
class RunningService:
    """Where a service listens, and the key of its first tenant."""

    base_url: str
    api_key: str


@contextmanager
def a_running_service() -> Iterator[RunningService]:
    """``taximeter serve`` on a free port, with an embedded database that is gone afterwards."""
    api_key = secrets.token_urlsafe(24)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TAXIMETER_")}
    environment = {**inherited, "TAXIMETER_API_KEY": api_key, "TAXIMETER_CLOSE_GRACE": "1h"}
    with tempfile.TemporaryDirectory(prefix="taximeter-test-") as home:
        command = [sys.executable, "-m", "app", "serve", "--port", "0", "--data", str(Path(home) / "data")]
        with (Path(home) / "errors").open("w+") as errors:
            with subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
            ) as process:
                try:
                    yield RunningService(_address(process), api_key)
                finally:
                    _stop(process)
            errors.seek(0)
            assert process.returncode == 0, errors.read()


@pytest.fixture(scope="session")
def running_service() -> Iterator[RunningService]:
    """One for all tests of a worker."""
    with a_running_service() as running:
        yield running


def _address(process: subprocess.Popen[str]) -> str:
    """The address that the service prints when it listens."""
    assert process.stdout is not None
    watchdog = threading.Timer(START_SECONDS, process.kill)
    watchdog.start()
    try:
        for line in process.stdout:
            if line.startswith("Taximeter serves at "):
                # Whatever it prints later must not fill the pipe.
                threading.Thread(target=process.stdout.read, daemon=True).start()
                return line.split()[3]
    finally:
        watchdog.cancel()
    raise AssertionError(f"the service ended before it listened, with status {process.wait()}")


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
