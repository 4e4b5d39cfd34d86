"""Whether the rows that commits name give their roots: the part of an audit that reads every event."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from contextlib import aclosing

import msgspec

from domain.chain import Commit, leaves_of, merkle_root
from projections.log_source import CommitKind, LogSource, Unreadable


class Misfit(msgspec.Struct, frozen=True, kw_only=True):
    """A commit whose rows do not give its root: the positions without a row, the root that the rows give if there is
    one for each, or why a row cannot be read."""

    commit: Commit
    missing: list[int] = msgspec.field(default_factory=list[int])
    root: bytes | None = None
    unreadable: str | None = None


async def first_misfit(source: LogSource, tenant_id: str, commits: Sequence[Commit]) -> Misfit | None:
    """The first of these consecutive commits that does not fit its rows. Memory grows with the largest of them only."""
    found: list[Misfit] = []
    for kind in CommitKind:
        expected = [commit for commit in commits if commit.kind == kind]
        if expected:
            try:
                misfit = await _first_of_kind(source, tenant_id, kind, expected)
            except Unreadable:
                misfit = await _unreadable(source, tenant_id, kind, expected)
            if misfit is not None:
                found.append(misfit)
    return min(found, key=lambda misfit: misfit.commit.first_position, default=None)


async def _first_of_kind(
    source: LogSource, tenant_id: str, kind: CommitKind, expected: Sequence[Commit]
) -> Misfit | None:
    positions, leaves, done = list[int](), list[bytes](), 0
    span = source.events(tenant_id, kind, expected[0].first_position - 1, expected[-1].last_position)
    async with aclosing(span) as pages:
        async for page in pages:
            positions += page.positions
            leaves += leaves_of(page.contents)
            begin = 0
            while done < len(expected) and positions[-1] >= expected[done].last_position:
                commit = expected[done]
                # Rows between the commits of this kind belong to none; whoever counts all rows finds them.
                first = bisect_left(positions, commit.first_position, begin)
                begin = bisect_right(positions, commit.last_position, first)
                misfit = _misfit(commit, positions[first:begin], leaves[first:begin])
                if misfit is not None:
                    return misfit
                done += 1
            del positions[:begin], leaves[:begin]
    return _misfit(expected[done], positions, leaves) if done < len(expected) else None


def _misfit(commit: Commit, positions: Sequence[int], leaves: Sequence[bytes]) -> Misfit | None:
    span = range(commit.first_position, commit.last_position + 1)
    if positions != list(span):
        held = set(positions)
        return Misfit(commit=commit, missing=[position for position in span if position not in held])
    root = merkle_root(leaves)
    return None if root == commit.root else Misfit(commit=commit, root=root)


async def _unreadable(source: LogSource, tenant_id: str, kind: CommitKind, expected: Sequence[Commit]) -> Misfit | None:
    """The first misfit where some row cannot be read, looked for commit by commit."""
    for commit in expected:
        try:
            misfit = await _first_of_kind(source, tenant_id, kind, [commit])
        except Unreadable as error:
            return Misfit(commit=commit, unreadable=str(error))
        if misfit is not None:
            return misfit
    return None
