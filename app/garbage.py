"""How often a process looks for garbage in circles, which holds up everybody it serves while it looks."""

from __future__ import annotations

import gc

THRESHOLDS = (50_000, 20, 100)
"""How rarely circles of references are looked for. Nearly everything here is freed without, and a look at all there is
holds up everybody: nearly a second, several times a minute, with 5,000 sockets and Python's own 700, 10 and 10."""


def look_rarely() -> None:
    """From now on look for circles rarely: what runs for long calls this as it begins."""
    gc.set_threshold(*THRESHOLDS)


def keep_what_is_there() -> None:
    """Never look again at what was imported and built so far: it stays as long as the process."""
    gc.collect()
    gc.freeze()
