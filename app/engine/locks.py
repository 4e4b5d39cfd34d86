"""File locks that the kernel drops by itself when their holder dies."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path

from app.engine.problems import EngineError

POLL_SECONDS = 0.02
"""How often a waiting lock is tried again: short for a person, and free for the machine."""


class FileLock:
    """One open lock file (flock).

    A flock belongs to the opened file, not to the process: a child that inherits the descriptor keeps the
    lock for as long as it lives, and the kernel releases it when the last copy is closed, however that comes.
    """

    def __init__(self, path: Path) -> None:
        """Open `path`, creating it when missing; EngineError when the account may not."""
        self._path = path
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise EngineError(f"The lock file {path} cannot be opened: {error.strerror}.") from error

    def fileno(self) -> int:
        """Return the descriptor, to be handed down to a child process."""
        return self._descriptor

    def try_exclusive(self) -> bool:
        """Take the lock alone, giving up a shared one; False when another holder has it."""
        return self._try(fcntl.LOCK_EX)

    def try_shared(self) -> bool:
        """Take the lock together with others; False when one holder has it alone."""
        return self._try(fcntl.LOCK_SH)

    def close(self) -> None:
        """Give up the lock here; copies in child processes keep it. Closing twice does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _try(self, operation: int) -> bool:
        try:
            fcntl.flock(self._descriptor, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            # Some network file systems have no locks; without them two servers could run on the same data.
            raise EngineError(f"The file {self._path} cannot be locked: {error.strerror}.") from error
        return True


@contextlib.asynccontextmanager
async def holding(path: Path) -> AsyncIterator[None]:
    """Hold the lock file `path` exclusively; waits without end and without blocking the loop."""
    lock = FileLock(path)
    try:
        # flock can block or refuse, but cannot wake an event loop; so it is asked again.
        while True:
            if lock.try_exclusive():
                break
            await asyncio.sleep(POLL_SECONDS)
        yield
    finally:
        lock.close()
