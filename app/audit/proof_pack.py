"""The proof pack: one file by which an invoice is checked without the log. The format is decision 0033.

The log is walked from its first commit to the head that is signed. Nothing is held but a page of digests and the events
of a few commits, so that a million events need no more memory than a thousand; each statement is short, and between two
of them no transaction is open. What is written goes to a file of its own, for whoever fetches it may be slow.
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import IO, Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.audit.heads import sign
from app.audit.proof_commits import EVENTS_MAX, Opened, Shown, commit_line, opened
from app.audit.proof_subject import SQL, Subject
from app.service import Pool
from domain import instant
from domain.chain import GENESIS
from domain.multiproof import Walk
from domain.tree import Frontier, commit_leaf
from projections.log_reader import Head

FORMAT = "taximeter.proof.v1"

PAGE_COMMITS = 2_000
"""Digests that are read at once: some milliseconds of the event loop."""

DAY = timedelta(days=1)
"""So much of a span is asked for at once: a statement is short, however much was used in the cycle."""

SHOWN_MAX = 200
"""Commits that are read together at most: so many commits of one event each make a statement worth its way."""


class Pack:
    """Writes the pack about a subject, up to ``head``, to a file that is open for bytes."""

    def __init__(self, pool: Pool, subject: Subject, head: Head, key: Ed25519PrivateKey, file: IO[bytes]) -> None:
        self._pool = pool
        self._subject = subject
        self._head = head
        self._key = key
        self._file = file
        self._hashed = sha256()
        self._walk = Walk()
        self._tree = Frontier()

    async def write(self, published_at: datetime) -> None:
        """Write all of it; ``published_at`` is when the head is signed."""
        subject = self._subject
        self._line(
            {
                "format": FORMAT,
                "tenant_id": subject.tenant_id,
                "invoice_id": subject.invoice_id,
                "customer_id": subject.customer_id,
                "position": subject.position,
                "spans": [
                    [one.event_name, instant.micros(one.since), instant.micros(one.until)] for one in subject.spans
                ],
                "commits": await self._pool.fetchval(SQL["commits_up_to"], subject.tenant_id, self._head.position),
            }
        )
        await self._write_commits(await self._ends())
        head = sign(
            self._key,
            tenant_id=subject.tenant_id,
            position=self._head.position,
            commits=self._tree.size,
            recorded_at=self._head.recorded_at,
            published_at=published_at,
            digest=self._head.digest,
            tree=self._tree.root(),
        )
        after = [node.hex() for node in self._walk.end()]
        self._line({"after": after, "head": msgspec.Raw(head.line().rstrip())})
        self._end()

    async def _ends(self) -> array[int]:
        """The last positions of the commits to show, in order; eight bytes for each."""
        subject, tenant_id = self._subject, self._subject.tenant_id
        rows = await self._pool.fetch(SQL["ends_of_commits"], tenant_id, sorted(subject.facts))
        found = array("q", (row["last_position"] for row in rows))
        for span in subject.spans:
            since = span.since
            while since < span.until:
                until = min(since + DAY, span.until)
                asked = (subject.customer_id, span.event_name, since, until, subject.position)
                found.extend(await self._pool.fetchval(SQL["ends_of_usage"], tenant_id, *asked))
                since = until
        return array("q", sorted(set(found)))

    async def _write_commits(self, ends: array[int]) -> None:
        position, previous = 0, GENESIS
        while position < self._head.position:
            page = await self._pool.fetch(
                SQL["digests_after"], self._subject.tenant_id, position, self._head.position, PAGE_COMMITS
            )
            shown: list[Shown] = []
            for row in page:
                hashed, end = commit_leaf(row["digest"]), row["last_position"]
                self._tree.append(hashed)
                found = bisect_left(ends, end)
                if found < len(ends) and ends[found] == end:
                    place = self._walk.place
                    shown.append(Shown(place, self._walk.show(), previous, row["first_position"], end))
                else:
                    self._walk.pass_by(hashed)
                position, previous = end, row["digest"]
            for group in _groups(shown):
                await asyncio.to_thread(self._write_lines, await opened(self._pool, self._subject, group))

    def _write_lines(self, commits: Sequence[Opened]) -> None:
        for one in commits:
            self._put(commit_line(self._subject, one))

    def _line(self, content: dict[str, Any]) -> None:
        self._put(msgspec.json.encode(content))

    def _put(self, line: bytes) -> None:
        self._file.write(line)
        self._file.write(b"\n")
        self._hashed.update(line)
        self._hashed.update(b"\n")

    def _end(self) -> None:
        """The last line seals every byte before it; the service signs that this is the pack that it gave."""
        digest = self._hashed.digest()
        self._line({"sha256": digest.hex(), "signature": self._key.sign(FORMAT.encode() + digest).hex()})


def _groups(shown: Sequence[Shown]) -> Iterator[Sequence[Shown]]:
    """Neighbours that are read together: few enough commits, and events."""
    start = events = 0
    for index, one in enumerate(shown):
        if index > start and (events + one.events > EVENTS_MAX or index - start == SHOWN_MAX):
            yield shown[start:index]
            start, events = index, 0
        events += one.events
    if shown:
        yield shown[start:]
