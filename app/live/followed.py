"""One tenant that the feed follows: whom it holds, who watches, and what the log brought and nobody was offered yet."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass, field

from app.live.changes import Changes
from app.live.held import HeldCustomer
from app.live.watching import Watcher
from projections.database import Row

LOG = logging.getLogger("taximeter.live")


@dataclass(eq=False)
class Reading:
    """A customer who is being read, and what the log brings meanwhile: ``rows`` are its events past ``since``."""

    task: asyncio.Task[HeldCustomer]
    since: int
    rows: list[Row] = field(default_factory=list["Row"])
    stale_at: int = 0


@dataclass(eq=False)
class Followed:
    """The log is taken in up to ``position``; every offer up to ``offered`` has been made; alerts are not past
    ``alerts_until``.

    ``dirty`` are customers who may be different by now; ``rests_until`` says (in the loop's time) from when on somebody
    who was offered may be offered again, and ``idle_since`` since when nobody watches a customer by name. The
    quantities are known to be at ``projected``, and ``projecting`` waits for more.
    """

    tenant_id: str
    position: int
    offered: int = 0
    alerts_until: int = 0
    projected: int = 0
    projecting: asyncio.Task[None] | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    watchers: set[Watcher] = field(default_factory=set[Watcher])
    by_customer: dict[str, set[Watcher]] = field(default_factory=dict[str, set[Watcher]])
    held: dict[str, HeldCustomer] = field(default_factory=dict[str, HeldCustomer])
    reading: dict[str, Reading] = field(default_factory=dict[str, Reading])
    dirty: dict[str, None] = field(default_factory=dict[str, None])
    rests_until: dict[str, float] = field(default_factory=dict[str, float])
    idle_since: dict[str, float] = field(default_factory=dict[str, float])

    def everyone(self) -> set[Watcher]:
        """All watchers of the tenant."""
        return self.watchers.union(*self.by_customer.values())

    def interesting(self) -> Collection[str] | None:
        """Whose usage has to be read from the log; ``None`` for everybody's."""
        return None if self.watchers else self.held.keys() | self.reading.keys()

    def take_in(self, changes: Changes, asked: Collection[str] | None) -> None:
        """Count the usage, and note who has to be read anew. The next page begins where this one ends.

        The page holds the usage of those who were ``interesting`` when it was asked for.
        """
        self.position = changes.until
        if asked is not None:
            self._pass_over(changes.until, asked)
        for row in changes.usage:
            self._count(row)
        if changes.customers or changes.objects or changes.everybody:
            for customer_id, held in self.held.items():
                if changes.until > held.position and _concerns(changes, held):
                    held.stale = True
                    self.dirty[customer_id] = None
            for reading in self.reading.values():
                # What it will depend on is not known yet, so any change but usage makes it be read once more.
                reading.stale_at = changes.until
        if self.watchers:
            self.dirty.update(dict.fromkeys(changes.customers - self.held.keys() - self.reading.keys()))
        if changes.alerts:
            self.alerts_until = changes.until
            for watcher in self.everyone():
                watcher.alerts_until(changes.until)

    def _pass_over(self, until: int, asked: Collection[str]) -> None:
        """Who became interesting while the page was read has not got its usage: it has to be read from there on."""
        for customer_id in self.reading.keys() - asked:
            self.reading[customer_id].since = until
        for customer_id in self.held.keys() - asked:
            held = self.held[customer_id]
            if held.position < until:
                held.stale = True
                self.dirty[customer_id] = None

    def _count(self, row: Row) -> None:
        customer_id = row["customer_id"]
        if customer_id in self.reading:
            self.reading[customer_id].rows.append(row)
        held = self.held.get(customer_id)
        if held is None:
            if self.watchers and customer_id not in self.reading:
                self.dirty[customer_id] = None
        elif row["position"] > held.position:
            held.note(row)
            self.dirty[customer_id] = None

    def due(self, now: float) -> list[str]:
        """Who is dirty and rests no longer: whom somebody watches by name first, and then who has waited longest."""
        waiting = [(until, one) for one in self.dirty if (until := self.rests_until.get(one, 0.0)) <= now]
        waiting.sort(key=lambda entry: (entry[1] not in self.by_customer, entry[0]))
        return [customer_id for _, customer_id in waiting]

    def offer(self, held: HeldCustomer) -> None:
        """Offer a customer to whoever watches it."""
        standing = held.standing
        for watcher in self.watchers.union(self.by_customer.get(held.customer_id, ())):
            try:
                watcher.offer(standing)
            except Exception:
                # A defect of ours. What it costs is one value on one socket, and nobody else's.
                LOG.exception("customer %s of tenant %s cannot be shown", held.customer_id, self.tenant_id)

    def note_offered(self) -> None:
        """Nothing is owed up to here, but to those who wait for their turn: to them since they were reckoned last."""
        waiting = [
            self.held[customer_id].position if customer_id in self.held else self.offered
            for customer_id in self.dirty.keys() | self.reading.keys()
        ]
        self.offered = max(self.offered, min([self.position, *waiting]))


def _concerns(changes: Changes, held: HeldCustomer) -> bool:
    return changes.everybody or held.customer_id in changes.customers or not held.objects.isdisjoint(changes.objects)
