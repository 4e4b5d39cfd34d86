"""What an audit finds: what does not fit, where, and why, in words for people and fields for machines."""

from __future__ import annotations

from enum import StrEnum

import msgspec

SHOWN_MAX = 10
"""Rows that a finding names one by one: enough to begin to look, and no page of them."""


class Rule(StrEnum):
    """The rule that is broken."""

    positions = "positions"
    kind = "kind"
    time = "time"
    digest = "digest"
    events = "events"
    head = "head"
    rows = "rows"
    keys = "keys"
    retractions = "retractions"
    published = "published"
    truncated = "truncated"
    heads_file = "heads_file"
    files = "files"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that does not fit. ``message`` is a sentence; ``rows`` names the rows that differ, where that is known.

    The positions are those of the commit, or of the span in which the fault lies; 0 where no position is at fault.
    """

    rule: Rule
    message: str
    first_position: int = 0
    last_position: int = 0
    expected: str | None = None
    found: str | None = None
    rows: list[str] = msgspec.field(default_factory=list[str])

    def lines(self) -> list[str]:
        """For a person, the place and the reason first."""
        return [
            f"{self._place()}{self.message}",
            *(f"  {row}" for row in self.rows),
            *([f"  expected: {self.expected}"] if self.expected is not None else []),
            *([f"  found:    {self.found}"] if self.found is not None else []),
        ]

    def _place(self) -> str:
        if not self.last_position:
            return ""
        if self.first_position == self.last_position:
            return f"position {self.first_position:,}: "
        return f"positions {self.first_position:,} to {self.last_position:,}: "


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one tenant's log: how far it goes, what was compared, and what does not fit, the first first."""

    tenant_id: str
    position: int
    commits: int
    digest: str
    heads: int
    findings: list[Finding]

    def lines(self) -> list[str]:
        """For a person."""
        if self.findings:
            return [
                f"tenant {self.tenant_id}: DOES NOT FIT",
                *(f"  {line}" for one in self.findings for line in one.lines()),
            ]
        compared = f"; {_count(self.heads, 'published head')} compared" if self.heads else ""
        return [
            f"tenant {self.tenant_id}: {_count(self.position, 'event')} in {_count(self.commits, 'commit')}, all as"
            f" they were recorded{compared}",
            f"  digest {self.digest}",
        ]


def shown(rows: list[str], total: int) -> list[str]:
    """The first of so many rows, and how many more there are."""
    more = total - len(rows[:SHOWN_MAX])
    return [*rows[:SHOWN_MAX], *([f"and {more:,} more"] if more > 0 else [])]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
