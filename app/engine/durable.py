"""Names and files that are still there after the power failed."""

import contextlib
import os
import tempfile
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, text: str) -> None:
    """Write a file whole or not at all, readable by everybody; raises ``OSError``."""
    descriptor, side = tempfile.mkstemp(prefix=f"{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(side, 0o644)
        os.replace(side, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(side)
        raise
    sync_directory(path.parent)
