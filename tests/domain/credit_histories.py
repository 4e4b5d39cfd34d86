"""Random shops with credits, and random things that happen in them, for properties of settlement and ledger."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from enum import StrEnum

from hypothesis import strategies as st

from domain.entitlement import BurnOrder, OverageBehavior
from domain.errors import Insufficient
from tests.domain.credit_shop import CreditShop, Meter, Subscription, day

AMOUNTS = [Decimal(text) for text in ("1", "2", "2.5", "3", "5", "9", "-2", "-4")]


class What(StrEnum):
    use = "use"
    move = "move"
    credit = "credit"
    debit = "debit"
    close = "close"
    correct = "correct"
    void = "void"


OPEN_ONLY = (What.use, What.use, What.use, What.move, What.move, What.credit)
WITH_DEBITS = (*OPEN_ONLY, What.debit)
EVERYTHING = (*WITH_DEBITS, What.move, What.close, What.close, What.close, What.correct, What.void)

Happening = tuple[What, int, int]
"""What happens, and two choices about it."""


def happenings(kinds: tuple[What, ...], most: int) -> st.SearchStrategy[list[Happening]]:
    choice = st.integers(0, 23)
    return st.lists(st.tuples(st.sampled_from(kinds), choice, choice), min_size=3, max_size=most)


@st.composite
def shops(draw: st.DrawFn) -> CreditShop:
    """One or two subscriptions to one entitlement; the lines without a price share one overage behaviour."""
    behavior = draw(st.sampled_from([None, *OverageBehavior]))
    return CreditShop(
        *(draw(subscriptions(name, behavior)) for name in draw(st.sampled_from(["A", "AB", "AB"]))),
        precision=draw(st.sampled_from([0, 2])),
        order=draw(st.sampled_from(BurnOrder)),
    )


@st.composite
def subscriptions(draw: st.DrawFn, name: str, behavior: OverageBehavior | None) -> Subscription:
    def one_of(*values: int | None) -> int | None:
        return draw(st.sampled_from(values))

    limit = one_of(None, 4, 10)
    meters = tuple(
        Meter(
            f"{name}{number}",
            units_per_credit=Decimal(draw(st.sampled_from([1, 1, 3]))),
            behavior=draw(st.sampled_from([behavior, behavior, None])),
            limit=None if limit is None else Decimal(limit),
        )
        for number in range(draw(st.integers(1, 2)))
    )
    return Subscription(
        name,
        start=draw(st.sampled_from([0, 0, 3])),
        days=draw(st.sampled_from([5, 7, 10])),
        included=Decimal(draw(st.sampled_from([0, 6, 10]))),
        meters=meters,
        percentage=one_of(None, 100, 50),
        max_count=one_of(None, 1, 2),
        timeframe=one_of(None, None, 3, 12),
        expires_after=one_of(None, None, 3, 20),
    )


def happen(shop: CreditShop, happening: Happening) -> None:
    """Let it happen; what is not possible just now does not."""
    what, first, second = happening
    subs = list(shop.subscriptions.values())
    sub = subs[first % len(subs)]
    match what:
        case What.use:
            meter = sub.meters[second % len(sub.meters)]
            back = timedelta(days=(0, 0, 0, 1, 3, 8)[second % 6])
            shop.use(meter.name, AMOUNTS[first % len(AMOUNTS)], max(day(0), shop.now - back))
        case What.move:
            shop.move_to(Decimal((shop.now - day(0)).days + (1, 2, 3, 5)[first % 4]))
        case What.credit:
            expires = None if second % 3 == 0 else shop.now + timedelta(days=1 + second % 9)
            shop.account.credit(shop.new_id("cgr"), amount=Decimal(1 + first % 5), expires=expires, at=shop.now)
        case What.debit:
            try:
                shop.debit(Decimal(1 + first % 3))
            except Insufficient:
                return
        case What.close:
            ended = [one for one in sub.begun(shop.now) if one not in sub.closed and sub.span(one)[1] <= shop.now]
            if ended:
                shop.close(sub.name, ended[0 if second % 4 else -1])
        case What.correct:
            if shop.late:
                shop.correct(*sorted(shop.late)[first % len(shop.late)])
        case What.void:
            if sub.closed:
                shop.void(sub.name, sorted(sub.closed)[second % len(sub.closed)])
