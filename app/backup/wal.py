"""The files of a WAL archive by their names."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

SEGMENTS = 256
"""Files of 16 MiB in each 4 GiB of the log: the last part of a name counts to 255 and the middle one then goes up."""

_NAME = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})")


def first_missing(archive: Path, first: str) -> str | None:
    """The first file that is missing between those of the archive, from ``first`` on in its own timeline.

    An archive that is not there lacks none: whoever reads it says so.
    """
    found = [_NAME.fullmatch(entry.name) for entry in archive.glob("0*")]
    timeline = first[:8]
    numbers = sorted(_number(name) for name in found if name is not None and name[1] == timeline and name[0] >= first)
    for before, after in pairwise(numbers):
        if after != before + 1:
            return f"{timeline}{(before + 1) // SEGMENTS:08X}{(before + 1) % SEGMENTS:08X}"
    return None


def _number(name: re.Match[str]) -> int:
    return int(name[2], 16) * SEGMENTS + int(name[3], 16)
