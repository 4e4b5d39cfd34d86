"""The directory in which the processes of one supervisor keep their measures."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client.multiprocess import mark_process_dead

from app.measures import DIRECTORY_VARIABLE, PROCESS_VARIABLE


class MeasureFiles:
    """Knows the directory, or that nothing is to be shown."""

    def __init__(self, directory: str | None) -> None:
        self._directory = directory

    def environment(self, process: str) -> dict[str, str]:
        """What the process in this place has to find in its environment."""
        if self._directory is None:
            return {}
        return {DIRECTORY_VARIABLE: self._directory, PROCESS_VARIABLE: process}

    def died(self, process: str) -> None:
        """What the process in this place held, such as sockets and connections, is gone; what it counted stays."""
        if self._directory is not None:
            # By its name the parameter is a number, but it is only looked for in the names of files.
            mark_process_dead(process, self._directory)  # type: ignore[arg-type]


@contextmanager
def measure_files(*, shown: bool) -> Iterator[MeasureFiles]:
    """An empty directory, which only this user can read, while the block runs; none when nothing is shown."""
    if not shown:
        yield MeasureFiles(None)
        return
    directory = tempfile.mkdtemp(prefix="taximeter-metrics-")
    try:
        yield MeasureFiles(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
