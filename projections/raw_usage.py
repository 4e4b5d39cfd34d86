"""Counting usage from the rows of the log, as known at a position: nothing is asked of a read model of quantities.

The read models hold what is known now. What was known earlier, what has to be proved without them, and what meters
count that are only proposed, is counted here, with the same fold that the projection counts with.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from projections.counting import HOUR, CountedMeter, Fold, HourKey, HourOfUsage, by_event_name, hour_of
from projections.database import Database, Row
from projections.late_hours import LateHour
from projections.quantities import SQL as QUANTITY_SQL
from projections.statements import load
from projections.usage import Asked, Measured, Part, Question, in_parts

SQL = load("projections.sql", "raw_usage.sql")

READ_EVENTS = 50_000
"""Events whose content is read at once: some tens of megabytes here."""

READ_BYTES = 64 * 1_024 * 1_024
"""Metadata read at once, for events that hold much."""

SECOND = timedelta(seconds=1)

EVERYBODY = ""
"""Stands for all customers together where one is named; no customer's id is empty."""

NOTHING = Measured()
"""What was counted where nothing was."""

Rest: TypeAlias = Callable[[], Awaitable[None]]
"""Lets others work between two pages."""

MeterHour: TypeAlias = tuple[str, datetime]
"""A meter and an hour."""


class Span(NamedTuple):
    """A piece of time, ``[since, until)``."""

    since: datetime
    until: datetime


class InvoicedCycle(NamedTuple):
    """The span of a document of a customer, and the position where it was issued."""

    since: datetime
    until: datetime
    position: int

    def before(self, hour: datetime, position: int) -> bool:
        """Whether it holds a part of the hour and was issued before the position."""
        return self.position < position and self.since < hour + HOUR and hour < self.until


class RawUsage:
    """What the log holds up to ``position``, counted hour by hour; what was counted once is kept.

    ``customers`` are those whom ``EVERYBODY`` stands for. ``rest`` is called after each page that was read.
    """

    def __init__(
        self,
        database: Database,
        tenant_id: str,
        position: int,
        *,
        customers: Collection[str] = (),
        rest: Rest | None = None,
    ) -> None:
        self._database = database
        self.tenant_id = tenant_id
        self.position = position
        self._everybody = list(customers)
        self._rest = rest
        self._retracted: bool | None = None
        self._covered: dict[tuple[str, str], list[Span]] = {}
        self._hours: dict[tuple[str, str], dict[datetime, Measured]] = {}

    async def measure(self, asked: Iterable[Asked]) -> list[list[Measured]]:
        """As ``measure_all``, without a read model."""
        answers, parts = in_parts(asked)
        await self._count_hours(parts.whole)
        await self._count_alone(parts.cut)
        return answers

    async def measure_once(self, asked: Iterable[Asked]) -> list[list[Measured]]:
        """As ``measure``, for questions that share no hours: each piece is counted as one, and nothing is kept."""
        answers, parts = list[list[Measured]](), list[Part]()
        for meter, customer_id, edges in asked:
            answers.append([Measured() for _ in edges[1:]])
            parts += [
                Part(each, meter, customer_id, *span) for each, span in zip(answers[-1], pairwise(edges), strict=True)
            ]
        await self._count_alone(parts)
        return answers

    async def _count_hours(self, parts: Sequence[Part]) -> None:
        missing: dict[tuple[str, Span], list[CountedMeter]] = {}
        for part in parts:
            for span in self._missing(part):
                missing.setdefault((part.customer_id, span), []).append(part.meter)
        for (customer_id, span), meters in missing.items():
            for (meter_id, _, hour), measured in (await self._read(customer_id, meters, span)).items():
                self._hours.setdefault((meter_id, customer_id), {})[hour] = measured
        for part in parts:
            for hour, measured in self.counted_hours(part.meter.meter_id, part.customer_id).items():
                if part.since <= hour < part.until:
                    part.measured.join(measured)

    def counted_hours(self, meter_id: str, customer_id: str) -> Mapping[datetime, Measured]:
        """What was counted so far of a meter, by hours; an hour without an event has no entry."""
        return self._hours.get((meter_id, customer_id), {})

    def _missing(self, part: Part) -> list[Span]:
        """What of a piece was not read yet. It counts as read from now on."""
        place = (part.meter.meter_id, part.customer_id)
        left = [Span(part.since, part.until)]
        for covered in self._covered.setdefault(place, []):
            left = [piece for span in left for piece in _without(span, covered)]
        self._covered[place] += left
        return left

    async def _count_alone(self, parts: Sequence[Part]) -> None:
        """Pieces each of which is counted by itself, as one."""
        together: dict[tuple[str, Span], list[Part]] = {}
        for part in parts:
            together.setdefault((part.customer_id, Span(part.since, part.until)), []).append(part)
        for (customer_id, span), same in together.items():
            counted = await self._read(customer_id, [part.meter for part in same], span, whole=True)
            for part in same:
                part.measured.join(counted.get((part.meter.meter_id, customer_id, span.since), NOTHING))

    async def _read(
        self, customer_id: str, meters: Iterable[CountedMeter], span: Span, *, whole: bool = False
    ) -> dict[HourKey, Measured]:
        """What was counted in a span, hour by hour; ``whole`` puts all of it where the span begins."""
        fold, names = Fold(), by_event_name({meter.meter_id: meter for meter in meters}.values())
        whom = self._everybody if customer_id == EVERYBODY else [customer_id]
        placed = [name for name, named in names.items() if named.by_place]
        timed = [name for name, named in names.items() if named.by_time]
        # A plain count never looks inside of an event: then there is nothing to bound.
        pages = await self._pages(whom, list(names), span) if placed else [span]
        for page in pages:
            rows = await self._database.fetch(
                SQL["usage_of_customers"],
                self.tenant_id,
                whom,
                page.since,
                page.until,
                list(names),
                placed,
                timed,
                self.position,
                await self._any_retracted(),
                span.since if whole else None,
            )
            fold.add(names, (_hour_of_usage(row, customer_id) for row in rows))
            if self._rest is not None:
                await self._rest()
        return _measured(fold)

    async def _pages(self, customers: Sequence[str], names: Sequence[str], span: Span) -> list[Span]:
        """The span in pieces whose content may be read at once. An hour that holds more is cut at its seconds."""
        pages: list[Span] = []
        for page, heavy in _joined(await self._weights(customers, names, span, HOUR), span, HOUR):
            if heavy:
                seconds = await self._weights(customers, names, page, SECOND)
                pages += [piece for piece, _ in _joined(seconds, page, SECOND)]
            else:
                pages.append(page)
        return pages

    async def _weights(
        self, customers: Sequence[str], names: Sequence[str], span: Span, step: timedelta
    ) -> Sequence[Row]:
        return await self._database.fetch(
            SQL["weight_of_usage"], self.tenant_id, list(customers), *span, list(names), step
        )

    async def _any_retracted(self) -> bool:
        if self._retracted is None:
            asked = (QUANTITY_SQL["has_retractions"], self.tenant_id, self.position)
            self._retracted = bool(await self._database.fetchval(*asked))
        return self._retracted

    async def late_hours(
        self, customer_id: str, after: int, meters: Collection[CountedMeter], cycles: Sequence[InvoicedCycle]
    ) -> list[LateHour]:
        """The hours of a customer that changed past ``after`` when an invoice of ``cycles`` stood already.

        As ``late_hours`` says from its read model, in the same order.
        """
        changed: dict[MeterHour, int] = {}
        if cycles:
            for key, position in await self._changed(customer_id, after, meters, cycles):
                changed[key] = max(position, changed.get(key, 0))
        rows = await self._database.fetch(SQL["recorded_at"], self.tenant_id, list(set(changed.values())))
        times = {row["position"]: row["recorded_at"] for row in rows}
        return [LateHour(*key, position, times[position]) for key, position in sorted(changed.items())]

    async def _changed(
        self, customer_id: str, after: int, meters: Collection[CountedMeter], cycles: Sequence[InvoicedCycle]
    ) -> list[tuple[MeterHour, int]]:
        """The late hours with positions where they changed, by an event or by the retraction of one."""
        names, found = by_event_name(meters), list[tuple[MeterHour, int]]()
        where = (self.tenant_id, customer_id, after, self.position, list(names))
        fold = Fold()
        late = await self._database.fetch(SQL["late_usage"], *where, *map(list, zip(*cycles, strict=True)))
        fold.add(names, (_hour_of_usage(row, customer_id) for row in late))
        created = {meter.meter_id: meter.created_position for meter in meters}
        for (meter_id, _, hour), position in fold.changed.items():
            # What a meter counts from before it was declared changes nothing: no price could name it then.
            if position > created[meter_id]:
                found.append(((meter_id, hour), position))
        for row in await self._database.fetch(SQL["retracted_usage"], *where):
            hour, position = hour_of(row["timestamp"]), row["retracted_position"]
            named = names[row["event_name"]]
            metadata = named.read(row["metadata"])
            if any(cycle.before(hour, position) for cycle in cycles):
                for meter in named.meters:
                    if meter.created_position < position and meter.counts(row["position"], metadata):
                        found.append(((meter.meter_id, hour), position))
        return found


def _without(span: Span, covered: Span) -> Iterator[Span]:
    """What of a span lies outside of another one."""
    if covered.until <= span.since or span.until <= covered.since:
        yield span
        return
    if span.since < covered.since:
        yield Span(span.since, covered.since)
    if covered.until < span.until:
        yield Span(covered.until, span.until)


def _joined(weights: Sequence[Row], within: Span, step: timedelta) -> Iterator[tuple[Span, bool]]:
    """Neighbouring steps of time together, as far as they may be read at once; each with whether it is too heavy."""
    since: datetime | None = None
    events = size = 0
    until = within.since
    for row in weights:
        if since is not None and (events + row["events"] > READ_EVENTS or size + row["bytes"] > READ_BYTES):
            yield Span(since, until), events > READ_EVENTS or size > READ_BYTES
            since, events, size = None, 0, 0
        begun: datetime = max(row["since"], within.since)
        # The calendar's last hour has no end of its own that could be named.
        until = row["since"] + step if within.until - row["since"] > step else within.until
        since = since or begun
        events, size = events + row["events"], size + row["bytes"]
    if since is not None:
        yield Span(since, until), events > READ_EVENTS or size > READ_BYTES


def _measured(fold: Fold) -> dict[HourKey, Measured]:
    found: dict[HourKey, Measured] = {}
    for key, summary in fold.summaries.items():
        found[key] = Measured()
        found[key].summary = summary
    for meter_id, customer_id, hour, digest in fold.distinct:
        found[meter_id, customer_id, hour].distinct.add(digest)
    return found


async def measure_raw(database: Database, question: Question, edges: Sequence[datetime]) -> list[Measured]:
    """As ``measure``, as known at ``question.position`` however much is known since."""
    assert question.customer_id is not None or question.everybody is not None, "no read model says who all are"
    raw = RawUsage(database, question.tenant_id, question.position, customers=question.everybody or ())
    whom = EVERYBODY if question.customer_id is None else question.customer_id
    return (await raw.measure([Asked(question.meter, whom, edges)]))[0]


async def everybody(database: Database, tenant_id: str) -> tuple[str, ...]:
    """Every customer that any usage of the tenant ever named, retracted or not."""
    return tuple(row["customer_id"] for row in await database.fetch(SQL["customers_of_usage"], tenant_id))


def _hour_of_usage(row: Row, customer_id: str) -> HourOfUsage:
    """A row of usage that the database gathered by hour."""
    return HourOfUsage(
        row["event_name"],
        customer_id,
        row["hour"],
        row["events"],
        row["last_position"],
        row["positions"] or [],
        row["metadata"] or [],
        row["timestamps"] or [],
    )
