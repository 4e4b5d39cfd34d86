"""The aggregates of one tenant as known at a position: each replayed once, then held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeAlias, TypeVar

from domain.aggregate import Fact, Root
from domain.errors import NotFound
from projections.counting import CountedMeter
from projections.database import Database
from projections.log_reader import facts_of, fold
from projections.quantities import counted_meters
from projections.usage import Measured, Question, measure

AnyRoot = TypeVar("AnyRoot", bound=Root)


Span: TypeAlias = tuple[str, str, tuple[datetime, ...]]
"""What was measured: a meter's id, a customer's id, and the edges between which it was counted."""


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

    async def meters(self) -> Mapping[str, CountedMeter]:
        """Every meter of the tenant by its id, read once."""
        if self._meters is None:
            self._meters = await counted_meters(self.database, self.tenant_id)
        return self._meters

    async def measured(self, meter: CountedMeter, customer_id: str, edges: Sequence[datetime]) -> list[Measured]:
        """What a customer used between each two neighbouring ``edges``, read once. It is not to be changed."""
        span = (meter.meter_id, customer_id, tuple(edges))
        if span not in self.measures:
            question = Question(self.tenant_id, meter, customer_id, self.counted)
            self.measures[span] = await measure(self.database, question, edges)
        return self.measures[span]

    async def at_instant(self, kind: type[AnyRoot], object_id: str, at: datetime) -> AnyRoot:
        """The aggregate as recorded before ``at``; as it began, when it was recorded later only.

        Recording times never decrease, so this is a prefix of the stream.
        """
        facts = await self.facts(kind, object_id)
        return known(fold(kind, [fact for fact in facts if fact.originator_version == 1 or fact.timestamp < at]))

    async def at_position(self, kind: type[AnyRoot], object_id: str, position: int) -> AnyRoot:
        """The aggregate as known at an earlier position."""
        if position >= self.position:
            return known(await self.find(kind, object_id))
        key = (kind.stream(object_id), position)
        if key not in self._earlier:
            self._earlier[key] = fold(kind, await facts_of(self.database, self.tenant_id, key[0], up_to=position))
        earlier = known(self._earlier[key])
        assert isinstance(earlier, kind)
        return earlier


def known(found: AnyRoot | None) -> AnyRoot:
    """What something recorded refers to was recorded before it; its absence is a defect."""
    assert found is not None, "the log lacks the stream of something that it refers to"
    return found
