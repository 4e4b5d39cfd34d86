"""The commits of a proof pack: what of each is shown, and the nodes that prove the rest. See decision 0033."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from app.audit.proof_subject import SQL, Subject
from app.service import Pool
from domain import instant
from domain.chain import Commit, canonical_fact, leaf, merkle_root
from domain.errors import Conflict
from domain.event import canonical
from domain.multiproof import Walk
from projections.database import Row
from projections.log_reader import StoredCommit, stored_commit

EVENTS_MAX = 10_000
"""Events of usage that are read at once. It is what the largest commit holds, so a group of commits is no larger."""


MORE = "`taximeter audit verify` says more"
"""What to do about a log that has lost or changed something. Rows of a retired month are told before, as archived."""


class Shown(NamedTuple):
    """A commit to show: its place among the tenant's commits, the nodes before it, and the digest before it."""

    place: int
    before: list[bytes]
    previous: bytes
    first_position: int
    last_position: int

    @property
    def events(self) -> int:
        """How many events it holds."""
        return self.last_position - self.first_position + 1


class Member(NamedTuple):
    """An event of a commit: its hashed leaf, and what is shown of it, if anything is."""

    hashed: bytes
    shown: list[Any] | None


class Opened(NamedTuple):
    """A commit to show, and its events in order."""

    shown: Shown
    stored: StoredCommit
    rows: Sequence[Row]


async def opened(pool: Pool, subject: Subject, shown: Sequence[Shown]) -> list[Opened]:
    """The commits with their rows, read together."""
    ends = [one.last_position for one in shown]
    rows = await pool.fetch(SQL["proven_commits"], subject.tenant_id, ends)
    stored = [stored_commit(subject.tenant_id, row) for row in rows]
    batches = [one.batch for one in stored if one.commit.kind == "usage"]
    usage: list[list[Row]] = [[] for _ in batches]
    for row in await pool.fetch(SQL["leaves_of_batches"], subject.tenant_id, batches, *_asked(subject)):
        usage[row["place"] - 1].append(row)
    events = iter(usage)
    found: list[Opened] = []
    for one, place in zip(stored, shown, strict=True):
        span = one.commit.first_position, one.commit.last_position
        if one.commit.kind == "usage":
            found.append(Opened(place, one, next(events)))
        else:
            found.append(Opened(place, one, await pool.fetch(SQL["facts_of_commits"], subject.tenant_id, *span)))
    return found


def _asked(subject: Subject) -> tuple[object, ...]:
    spans = subject.spans
    return (
        subject.customer_id,
        [span.event_name for span in spans],
        [span.since for span in spans],
        [span.until for span in spans],
        subject.position,
    )


def commit_line(subject: Subject, one: Opened) -> bytes:
    """One commit as a line of the pack. The time is microseconds; hashes are hexadecimal.

    Raises ``Conflict`` where the rows do not make the commit's root: a pack with them would prove nothing.
    """
    commit, usage = one.stored.commit, one.stored.commit.kind == "usage"
    members = list(_events(one.rows) if usage else _facts(subject, one.rows))
    _check(commit, members)
    walk, nodes, shown = Walk(), list[bytes](), list[Any]()
    for member in members:
        if member.shown is None:
            walk.pass_by(member.hashed)
        else:
            nodes += walk.show()
            shown.append(member.shown)
    nodes += walk.end()
    return msgspec.json.encode(
        {
            "place": one.shown.place,
            "before": _hex(one.shown.before),
            "previous": one.shown.previous.hex(),
            "kind": commit.kind,
            "first": commit.first_position,
            "last": commit.last_position,
            "recorded_at": instant.micros(commit.recorded_at),
            "origin": commit.origin.decode(),
            "nodes": _hex(nodes),
            "events" if usage else "facts": shown,
        }
    )


def _check(commit: Commit, members: Sequence[Member]) -> None:
    where = f"positions {commit.first_position} to {commit.last_position}"
    if len(members) != commit.last_position - commit.first_position + 1:
        raise Conflict("EVENTS_NOT_THERE", f"events of the {where} are not in the database; {MORE}")
    if merkle_root([member.hashed for member in members]) != commit.root:
        raise Conflict("LOG_DAMAGED", f"the {where} are not as they were recorded; {MORE}")


def _events(rows: Sequence[Row]) -> Iterator[Member]:
    for row in rows:
        at = instant.micros(row["timestamp"])
        event_id, name, metadata = row["event_id"], row["event_name"], row["metadata"]
        content = canonical(event_id.encode(), name.encode(), row["customer_id"].encode(), at, metadata.encode())
        yield Member(leaf(content), [row["ordinal"], event_id, name, at, metadata] if row["shown"] else None)


def _facts(subject: Subject, rows: Sequence[Row]) -> Iterator[Member]:
    for ordinal, row in enumerate(rows):
        stream, version, kind, state = row["originator_id"], row["originator_version"], row["kind"], row["state"]
        told = [ordinal, stream, version, kind, state.decode()] if row["position"] in subject.facts else None
        yield Member(leaf(canonical_fact(stream, version, kind, state)), told)


def _hex(hashes: Sequence[bytes]) -> list[str]:
    return [one.hex() for one in hashes]
