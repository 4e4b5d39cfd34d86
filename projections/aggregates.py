"""The aggregates of one tenant as known at a position: each replayed once, then held."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias, TypeVar

from domain.aggregate import Fact, Root
from domain.errors import NotFound
from domain.invoice import Invoice, Status
from domain.plan import OpenedCycle
from domain.price import Price
from domain.product import Product
from projections.counting import CountedMeter
from projections.database import Database
from projections.late_hours import LateHour, late_hours_of
from projections.log_reader import facts_of, facts_of_streams, fold
from projections.quantities import counted_meters
from projections.statements import load
from projections.usage import Asked, Measured, measure_all

SQL = load("projections.sql", "known.sql")

AnyRoot = TypeVar("AnyRoot", bound=Root)


Span: TypeAlias = tuple[str, str, tuple[datetime, ...]]
"""What was measured: a meter's id, a customer's id, and the edges between which it was counted."""


class Issued(NamedTuple):
    """An invoice's document as it was issued, and whether the invoice stood at the position."""

    document: str
    stood: bool


class Aggregates:
    """What a question or a command sees of one tenant's log: everything up to ``position``.

    Quantities are those counted up to ``counted``, which is earlier where a question must not wait for the projection.
    ``now`` is the one reading of the tenant's clock. What is decided on a held aggregate is seen by everybody who asks
    for it here; whether it is recorded is up to who opened this.
    """

    def __init__(
        self, database: Database, tenant_id: str, now: datetime, position: int, counted: int | None = None
    ) -> None:
        self.database = database
        self.tenant_id = tenant_id
        self.now = now
        self.position = position
        self.counted = position if counted is None else counted
        self._held: dict[str, Root] = {}
        self._facts: dict[str, Sequence[Fact]] = {}
        self._earlier: dict[tuple[str, int], Root | None] = {}
        self._prefixes: dict[tuple[str, int], Root | None] = {}
        self._late: dict[tuple[str, int], list[LateHour]] = {}
        self._meters: Mapping[str, CountedMeter] | None = None
        self.measures: dict[Span, list[Measured]] = {}

    async def find(self, kind: type[AnyRoot], object_id: str) -> AnyRoot | None:
        """An aggregate of this tenant, or ``None`` when there is none."""
        stream = kind.stream(object_id)
        held = self._held.get(stream)
        if held is None:
            held = fold(kind, await self.facts(kind, object_id))
            if held is None:
                return None
            self._held[stream] = held
        assert isinstance(held, kind)
        return held

    async def get(self, kind: type[AnyRoot], object_id: str) -> AnyRoot:
        """As ``find``; raises ``NotFound``."""
        found = await self.find(kind, object_id)
        if found is None:
            raise NotFound(kind.TOPIC, object_id)
        return found

    def add(self, new: Root) -> None:
        """Take in an aggregate that has just been made."""
        self._held[new.id] = new

    def held(self, kind: type[AnyRoot]) -> list[AnyRoot]:
        """The aggregates of a kind that were asked for or made here."""
        return [root for root in self._held.values() if isinstance(root, kind)]

    async def facts(self, kind: type[Root], object_id: str) -> Sequence[Fact]:
        """The recorded events of a stream, in order; without those that are decided and not recorded yet."""
        stream = kind.stream(object_id)
        if stream not in self._facts:
            self._facts[stream] = await facts_of(self.database, self.tenant_id, stream, up_to=self.position)
        return self._facts[stream]

    async def read_ahead(self, streams: Iterable[str]) -> None:
        """Read the events of streams that will be asked for, in one statement."""
        missing = [stream for stream in dict.fromkeys(streams) if stream not in self._facts]
        if missing:
            self._facts |= await facts_of_streams(self.database, self.tenant_id, missing, up_to=self.position)

    async def meters(self) -> Mapping[str, CountedMeter]:
        """Every meter of the tenant by its id, read once."""
        if self._meters is None:
            self._meters = await self._declared()
        return self._meters

    async def _declared(self) -> Mapping[str, CountedMeter]:
        return await counted_meters(self.database, self.tenant_id)

    async def measured(self, meter: CountedMeter, customer_id: str, edges: Sequence[datetime]) -> list[Measured]:
        """What a customer used between each two neighbouring ``edges``, read once. It is not to be changed."""
        asked = Asked(meter, customer_id, edges)
        await self.measure_ahead([asked])
        return self.measures[span_of(asked)]

    async def measure_ahead(self, asked: Iterable[Asked]) -> None:
        """Count what ``measured`` will be asked for, with the same few statements for all of it."""
        missing = {span: one for one in asked if (span := span_of(one)) not in self.measures}
        if missing:
            self.measures.update(zip(missing, await self._measure(missing.values()), strict=True))

    async def _measure(self, asked: Iterable[Asked]) -> list[list[Measured]]:
        return await measure_all(self.database, self.tenant_id, self.counted, asked)

    async def late_hours(self, customer_id: str, after_position: int) -> list[LateHour]:
        """The customer's late hours that changed after a position, as far as the quantities are; read once."""
        await self.late_hours_ahead([(customer_id, after_position)])
        return self._late[customer_id, after_position]

    async def late_hours_ahead(self, asked: Iterable[tuple[str, int]]) -> None:
        """Read what ``late_hours`` will be asked for, customers with positions, in one statement for all of it."""
        missing = [one for one in asked if one not in self._late]
        if missing:
            self._late |= await self._changed(missing)

    async def _changed(self, asked: Collection[tuple[str, int]]) -> dict[tuple[str, int], list[LateHour]]:
        return await late_hours_of(self.database, self.tenant_id, asked, self.counted)

    async def subscription_ids(self, customer_id: str) -> list[str]:
        """The subscriptions of a customer, in the order of their ids; some may be later than the position."""
        rows = await self.database.fetch(SQL["subscriptions_of_customer"], self.tenant_id, customer_id)
        return [row["subscription_id"] for row in rows]

    async def credited_entitlements(self, customer_id: str) -> list[str]:
        """The entitlements of which a customer has an account, in order; some may be later than the position."""
        rows = await self.database.fetch(SQL["accounts_of_customer"], self.tenant_id, customer_id)
        return [row["credit_entitlement_id"] for row in rows]

    async def issued(self, subscription_id: str) -> list[Issued]:
        """The documents of a subscription as known at the position, oldest first."""
        rows = await self.database.fetch(SQL["of_subscription"], self.tenant_id, subscription_id, self.position)
        return [Issued(row["document"], await self._stood(row["invoice_id"], row["status"])) for row in rows]

    async def _stood(self, invoice_id: str, status: str) -> bool:
        if status != Status.void:
            return True
        # The read model may know of a later position: only the log tells when it was voided.
        return (await self.get(Invoice, invoice_id)).status is not Status.void

    async def at_instant(self, kind: type[AnyRoot], object_id: str, at: datetime) -> AnyRoot:
        """The aggregate as recorded before ``at``; as it began, when it was recorded later only. Not to be changed.

        Recording times never decrease, so this is a prefix of the stream.
        """
        facts = await self.facts(kind, object_id)
        length = max(1, bisect_left(facts, at, key=lambda fact: fact.timestamp))
        key = (kind.stream(object_id), length)
        if key not in self._prefixes:
            self._prefixes[key] = fold(kind, facts[:length])
        return self._read_only(kind, self._prefixes[key])

    async def at_position(self, kind: type[AnyRoot], object_id: str, position: int) -> AnyRoot:
        """The aggregate as known at an earlier position."""
        if position >= self.position:
            return known(await self.find(kind, object_id))
        key = (kind.stream(object_id), position)
        if key not in self._earlier:
            self._earlier[key] = fold(kind, await facts_of(self.database, self.tenant_id, key[0], up_to=position))
        return self._read_only(kind, self._earlier[key])

    async def price_in(self, cycle: OpenedCycle, product_id: str, position: int) -> Price:
        """The price version of a product that is in force for a cycle, as known at ``position``."""
        return (await self.at_position(Product, product_id, position)).price_at(cycle.start)

    @staticmethod
    def _read_only(kind: type[AnyRoot], found: Root | None) -> AnyRoot:
        earlier = known(found)
        assert isinstance(earlier, kind)
        return earlier


def span_of(asked: Asked) -> Span:
    """What an answer is held by."""
    return asked.meter.meter_id, asked.customer_id, tuple(asked.edges)


def known(found: AnyRoot | None) -> AnyRoot:
    """What something recorded refers to was recorded before it; its absence is a defect."""
    assert found is not None, "the log lacks the stream of something that it refers to"
    return found
