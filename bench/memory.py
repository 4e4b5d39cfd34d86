"""Resident memory of a service's processes, read from Linux's /proc."""

from __future__ import annotations

import re
from pathlib import Path


def resident_megabytes(pid: int) -> dict[str, float]:
    """Of the supervisor and each child that lives, PostgreSQL not among them."""
    found = {"supervisor": _resident(pid)}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            found[words[3].decode() if len(words) > 3 else child] = _resident(int(child))
        except FileNotFoundError:
            continue
    return found


def _resident(pid: int) -> float:
    match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(match[1]) / 1_024 if match else 0.0
