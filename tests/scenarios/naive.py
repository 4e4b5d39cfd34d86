"""What months cost, the plain way, on exact fractions: nothing is shared with the code under test."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction

GRACE = timedelta(hours=1)
UNITS_PER_CREDIT = 2
ZERO = Fraction(0)
Computed = tuple[Fraction, Fraction, Fraction, Fraction, int]  # Consumed, free, credit and paid units, cents.


def rounded(value: Fraction) -> int:
    return int(value + Fraction(1 if value >= 0 else -1, 2))


@dataclass(frozen=True)
class Price:
    fee: int
    credits: int
    meters: dict[str, tuple[Fraction, Fraction]]  # Free units, and cents for each beyond.


@dataclass
class Event:
    meter: str
    at: datetime
    n: Fraction
    voided: bool = False


@dataclass
class Grant:
    begins: datetime
    expires: datetime
    left: int


@dataclass
class Cycle:
    start: datetime
    end: datetime
    price: Price | None = None  # Known once it is billed.
    billed: dict[str, Computed] = field(default_factory=dict)
    drawn: list[int | None] = field(default_factory=list)  # A grant, or none, for each credit that was wanted.
    late: set[str] = field(default_factory=set)


@dataclass
class Business:
    now: datetime
    prices: list[tuple[datetime, Price]]
    events: dict[str, Event] = field(default_factory=dict)
    grants: list[Grant] = field(default_factory=list)
    cycles: list[Cycle] = field(default_factory=list)
    bills: list[list[tuple[object, ...]]] = field(default_factory=list)

    def begin(self) -> None:
        self.cycles.append(Cycle(self.now, (self.now + timedelta(days=31)).replace(day=1)))
        self.grants.append(Grant(self.now, self.cycles[-1].end, self.price(self.cycles[-1]).credits))

    def advance(self, to: datetime) -> None:
        while self.now < to:
            bills = [(cycle.end + GRACE, 1, self.bill) for cycle in self.cycles if not cycle.price]
            self.now, _, then = min([*bills, (self.cycles[-1].end, 0, self.begin), (to, 2, lambda: None)])
            then()

    def price(self, cycle: Cycle) -> Price:
        known = [(at, number) for number, (at, _) in enumerate(self.prices) if at <= cycle.start]
        return cycle.price or self.prices[max(known)[1]][1]

    def record(self, event_id: str, sent: Event) -> str:
        known = self.events.setdefault(event_id, sent)
        if known is not sent:
            return "duplicate" if (known.meter, known.at, known.n) == (sent.meter, sent.at, sent.n) else "conflict"
        self.touch(sent)
        return "recorded"

    def void(self, event_id: str) -> None:
        if not self.events[event_id].voided:
            self.events[event_id].voided = True
            self.touch(self.events[event_id])

    def touch(self, event: Event) -> None:
        for cycle in self.cycles:
            if cycle.price and cycle.start <= event.at < cycle.end:
                cycle.late.add(event.meter)

    def quantity(self, meter: str, start: datetime, end: datetime) -> Fraction:
        found = [one for one in self.events.values() if one.meter == meter and start <= one.at < end and not one.voided]
        return sum((Fraction(1) if meter == "calls" else one.n for one in found), ZERO)

    def draws(self, cycle: Cycle, room: list[int]) -> list[int | None]:
        """Between two edges of grants the wish rises and takes, or falls and gives back what it took last."""
        edges = {at for one in self.grants for at in (one.begins, one.expires) if cycle.start < at < cycle.end}
        taken: list[int | None] = []
        start, (free, _) = cycle.start, self.price(cycle).meters["texts"]
        for until in (*sorted(edges), cycle.end):
            wanted = rounded(max(ZERO, self.quantity("texts", cycle.start, until) - free) / UNITS_PER_CREDIT)
            while len(taken) > wanted:
                if (given := taken.pop()) is not None:
                    room[given] += 1
            for grant, one in sorted(enumerate(self.grants), key=lambda numbered: numbered[1].begins):
                if one.begins <= start and start < one.expires:
                    count = min(room[grant], wanted - len(taken))
                    room[grant] -= count
                    taken += [grant] * count
            taken += [None] * (wanted - len(taken))
            start = until
        return taken

    def settle(self, cycle: Cycle, meter: str) -> Computed:
        (free, each), consumed = self.price(cycle).meters[meter], self.quantity(meter, cycle.start, cycle.end)
        charged, credit = max(ZERO, consumed - free), ZERO
        if meter == "texts":
            own = [cycle.drawn.count(index) for index in range(len(self.grants))]
            # A month that was billed may take again what it had, and what lapsed by its end.
            more = [one.left * (not cycle.price or one.expires <= cycle.end) for one in self.grants]
            cycle.drawn = self.draws(cycle, [a + b for a, b in zip(own, more, strict=True)])
            for index, one in enumerate(self.grants):
                one.left += own[index] - cycle.drawn.count(index)
            credit = min(charged, Fraction(UNITS_PER_CREDIT * (len(cycle.drawn) - cycle.drawn.count(None))))
        paid = charged - credit
        return consumed, max(ZERO, consumed - charged), credit, paid, rounded(paid * each)

    def bill(self) -> None:
        """The earliest month that is not billed: its own lines, and what changed in months billed before."""
        late: list[tuple[object, ...]] = []
        for past in self.cycles:
            for meter in sorted(past.late):
                was, now = past.billed[meter], self.settle(past, meter)
                if now != was:
                    late.append(("adjustment", meter, past.start, *(a - b for a, b in zip(now, was, strict=True))))
                past.billed[meter] = now
            past.late.clear()
        cycle = next(one for one in self.cycles if not one.price)
        cycle.billed = {meter: self.settle(cycle, meter) for meter in ("calls", "texts")}
        cycle.price = self.price(cycle)
        own: list[tuple[object, ...]] = [("usage", meter, None, *computed) for meter, computed in cycle.billed.items()]
        self.bills.append([("fixed", None, None, cycle.price.fee), *own, *late])

    def if_all_were_billed(self) -> Business:
        """A copy: its first new bill is the estimate, and what its grants have left is the balance."""
        copy = deepcopy(self)
        while not all(cycle.price for cycle in copy.cycles):
            copy.bill()
        return copy
