"""What a person at a terminal is told when something is wrong with an archive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.audit.archive.manifest import ArchiveError, DoesNotFit
from app.commands import tell


class Failed:
    """What a command ends with."""

    status = 0


@contextmanager
def one_line_errors() -> Iterator[Failed]:
    """Say what is wrong in one line: status 2 for what a person can mend, 1 for an archive that does not fit."""
    failed = Failed()
    try:
        yield failed
    except ArchiveError as error:
        tell(str(error))
        failed.status = 2
    except DoesNotFit as error:
        tell(f"the archive does not fit: {error}")
        failed.status = 1
