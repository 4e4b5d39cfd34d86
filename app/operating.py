"""What an operator decides about a web process, and what the supervisor tells it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from app.draining import Draining


@dataclass(frozen=True)
class Operating:
    """Whether and to whom the measures are shown (an empty token: to everybody), and whether a stop was announced.

    ``signing_key`` is the file of the key that heads and proofs are signed with; it may be made while this runs.
    """

    metrics: bool = True
    metrics_token: str = ""
    draining: Draining = field(default_factory=Draining)
    signing_key: Path | None = None
