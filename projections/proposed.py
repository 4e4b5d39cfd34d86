"""A tenant's aggregates as they would be with other prices and further meters. Nothing of it is recorded."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from domain.aggregate import Fact, Root
from domain.meter import Meter
from domain.plan import OpenedCycle
from domain.price import Price
from domain.proposal import Proposal, Span
from domain.rewinding import ReopenedCycle
from projections.aggregates import Aggregates, AnyRoot, known, span_of
from projections.counting import CountedMeter, stored_filter
from projections.log_reader import fold, placed_facts_of
from projections.raw_usage import RawUsage, Rest
from projections.usage import Asked


class Proposed(Aggregates):
    """What an engine that rates cycles sees: prices of the cycles in a span changed, meters added.

    What was read for ``beside`` is shared with it, and so is what is read here: it is the same log. The aggregates are
    not, for each side decides on its own ones.
    """

    def __init__(self, beside: Aggregates, span: Span, proposal: Proposal, rest: Rest) -> None:
        super().__init__(beside.database, beside.tenant_id, beside.now, beside.position, beside.counted)
        self.span = span
        self.proposal = proposal
        self._raw = RawUsage(beside.database, beside.tenant_id, beside.counted, rest=rest)
        self._beside = beside
        self._facts = beside._facts
        self._placed: dict[str, Sequence[tuple[int, Fact]]] = {}
        self.measures = beside.measures

    async def price_in(self, cycle: OpenedCycle, product_id: str, position: int) -> Price:
        """The price that a cycle would have. A cycle that was closed has those that its invoice knew."""
        known_at = cycle.priced_at if isinstance(cycle, ReopenedCycle) else position
        price = await super().price_in(cycle, product_id, known_at)
        return self.proposal.price(product_id, price) if self.span.holds(cycle) else price

    async def at_position(self, kind: type[AnyRoot], object_id: str, position: int) -> AnyRoot:
        """As that of others, with each stream read once for all positions."""
        if position >= self.position:
            return await super().at_position(kind, object_id, position)
        return known(await self.find_at(kind, object_id, position))

    async def find_at(self, kind: type[AnyRoot], object_id: str, position: int) -> AnyRoot | None:
        """The aggregate as known at an earlier position, or ``None`` before it was made. Not to be changed."""
        stream = kind.stream(object_id)
        if stream not in self._placed:
            self._placed[stream] = await placed_facts_of(self.database, self.tenant_id, stream, up_to=self.position)
        facts = self._placed[stream]
        length = bisect_right(facts, position, key=lambda placed: placed[0])
        key = (stream, length)
        if key not in self._prefixes:
            self._prefixes[key] = fold(kind, [fact for _, fact in facts[:length]])
        return cast("AnyRoot | None", self._prefixes[key])

    async def facts(self, kind: type[Root], object_id: str) -> Sequence[Fact]:
        """The recorded events of a stream; of a proposed meter those that would be recorded."""
        meter = self.proposal.meters.get(object_id) if kind is Meter else None
        if meter is None:
            return await super().facts(kind, object_id)
        return [cast("Fact", event) for event in meter.pending_events]

    async def meters(self) -> Mapping[str, CountedMeter]:
        """Every meter of the tenant, and those proposed."""
        found = await self._beside.meters()
        return {**found, **{name: _counted(name, meter) for name, meter in self.proposal.meters.items()}}

    async def measure_ahead(self, asked: Iterable[Asked]) -> None:
        """Count what will be asked for; for proposed meters in the log itself."""
        recorded: list[Asked] = []
        missing: dict[tuple[object, ...], Asked] = {}
        for one in asked:
            if one.meter.meter_id not in self.proposal.meters:
                recorded.append(one)
            elif span_of(one) not in self.measures:
                missing[span_of(one)] = one
        await super().measure_ahead(recorded)
        if missing:
            found = await self._raw.measure_once(missing.values())
            self.measures.update({span_of(one): each for one, each in zip(missing.values(), found, strict=True)})


def _counted(meter_id: str, meter: Meter) -> CountedMeter:
    return CountedMeter(meter_id, meter.event_name, meter.aggregation, stored_filter(meter.filter), created_position=0)
