"""Grants: half-open lives, burn orders, and the children of rollovers."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from domain.cycle import Anchor, Interval, Unit
from domain.entitlement import BurnOrder
from domain.grant import (
    Calendar,
    Grant,
    GrantedCycle,
    RolloverTerms,
    SourceType,
    burn_key,
    child_of,
    child_place,
    rolled_amount,
    turning_points,
)


def at(month: int, day: int) -> datetime:
    return datetime(2026, month, day, tzinfo=UTC)


MONTHS = Calendar(anchor=Anchor(instant=at(1, 31)), interval=Interval(1, Unit.Month), zone="UTC", index=1)
JANUARY = GrantedCycle(subscription_id="sub_1", product_id="pdt_1", start=at(1, 31), end=at(2, 28))
GRANT = Grant(
    id="g",
    amount=Decimal(10),
    begins=at(1, 31),
    expires=at(2, 28),
    source_type=SourceType.subscription,
    order=0,
    rollover=RolloverTerms(calendar=MONTHS),
    cycle=JANUARY,
)


def test_a_life_is_half_open() -> None:
    assert not GRANT.valid_at(at(1, 30))
    assert GRANT.valid_at(at(1, 31))
    assert not GRANT.valid_at(at(2, 28))
    assert msgspec.structs.replace(GRANT, expires=None).valid_at(at(12, 31))


def test_a_child_lasts_to_the_next_boundary_of_the_original_anchor() -> None:
    child = child_of(GRANT, Decimal(4))
    assert (child.id, child.begins, child.expires) == ("g.1", at(2, 28), at(3, 31))
    assert (child.parent_grant_id, child.rollover_count, child.source_type) == ("g", 1, SourceType.rollover)
    grandchild = child_of(child, Decimal(2))
    assert (grandchild.id, grandchild.begins, grandchild.expires) == ("g.2", at(3, 31), at(4, 30))
    assert grandchild.root_id == child.root_id == "g"


def test_a_timeframe_counts_from_the_end_of_the_cycle() -> None:
    terms = RolloverTerms(calendar=MONTHS, timeframe=Interval(10, Unit.Day))
    child = child_of(msgspec.structs.replace(GRANT, rollover=terms), Decimal(4))
    assert child.expires == at(3, 10)
    assert child.rolls_at == at(3, 10)


def test_a_life_is_never_empty_where_a_zone_skipped_the_next_boundary() -> None:
    days = Calendar(
        anchor=Anchor(date=datetime(2011, 12, 29).date()),
        interval=Interval(1, Unit.Day),
        zone="Pacific/Apia",
        index=1,
    )
    skipped = datetime(2011, 12, 30, 10, tzinfo=UTC)
    cycle = msgspec.structs.replace(JANUARY, end=skipped)
    child = child_of(
        msgspec.structs.replace(GRANT, rollover=RolloverTerms(calendar=days), cycle=cycle, expires=skipped), Decimal(1)
    )
    assert child.expires is not None
    assert child.expires > child.begins


@pytest.mark.parametrize(
    "changes",
    [
        {"rollover": None},
        {"rollover": RolloverTerms(calendar=MONTHS, max_count=0)},
        {"expires": at(2, 10)},
        {"expires": None},
        {"cycle": None},
    ],
)
def test_what_does_not_roll_over(changes: dict[str, object]) -> None:
    assert GRANT.rolls_at == at(2, 28)
    assert msgspec.structs.replace(GRANT, **changes).rolls_at is None


def test_it_is_rolled_over_at_most_so_many_times() -> None:
    grant = msgspec.structs.replace(GRANT, rollover=RolloverTerms(calendar=MONTHS, max_count=1))
    assert child_of(grant, Decimal(1)).rolls_at is None


@pytest.mark.parametrize(
    ("left", "percentage", "precision", "rolled"),
    [("10", 100, 0, "10"), ("5", 50, 0, "3"), ("5", 50, 1, "2.5"), ("0.01", 50, 2, "0.01"), ("7", 0, 2, "0")],
)
def test_the_share_is_rounded_once(left: str, percentage: int, precision: int, rolled: str) -> None:
    grant = msgspec.structs.replace(GRANT, rollover=RolloverTerms(calendar=MONTHS, percentage=percentage))
    assert rolled_amount(grant, Decimal(left), precision) == Decimal(rolled)


@pytest.mark.parametrize(("grant_id", "place"), [("g.2", ("g", 2)), ("g", None), ("g.x", None), (".1", None)])
def test_the_id_of_a_child_tells_its_place(grant_id: str, place: tuple[str, int] | None) -> None:
    assert child_place(grant_id) == place


@pytest.mark.parametrize(
    ("lasts_until", "outlives", "expires"),
    [
        (None, False, at(2, 28)),
        (at(2, 10), False, at(2, 10)),
        (at(5, 1), False, at(2, 28)),
        (at(5, 1), True, at(5, 1)),
        (None, True, None),
    ],
)
def test_included_credits_expire_with_their_cycle_or_earlier(
    lasts_until: datetime | None, outlives: bool, expires: datetime | None
) -> None:
    assert JANUARY.expiry(lasts_until, outlives) == expires


def test_nothing_outlives_a_cycle_that_never_was() -> None:
    never = msgspec.structs.replace(JANUARY, end=JANUARY.start)
    assert never.expiry(None, True) == JANUARY.start
    grant = msgspec.structs.replace(GRANT, cycle=never, expires=JANUARY.start)
    assert (grant.never_was, grant.rolls_at, GRANT.never_was) == (True, None, False)


def test_burn_orders() -> None:
    def made(name: str, begins: datetime, expires: datetime | None, order: int, count: int = 0) -> Grant:
        return msgspec.structs.replace(
            GRANT, id=name, begins=begins, expires=expires, order=order, rollover_count=count
        )

    grants = [
        made("child", at(2, 1), at(2, 9), 0, 1),
        made("recorded later", at(2, 1), at(2, 20), 7),
        made("recorded first", at(2, 1), at(2, 20), 3),
        made("old for ever", at(1, 1), None, 9),
    ]
    oldest = [grant.id for grant in sorted(grants, key=burn_key(BurnOrder.oldest))]
    assert oldest == ["old for ever", "child", "recorded first", "recorded later"]
    earliest = [grant.id for grant in sorted(grants, key=burn_key(BurnOrder.earliest_expiry))]
    assert earliest == ["child", "recorded first", "recorded later", "old for ever"]


def test_turning_points_lie_strictly_inside_and_know_children_to_come() -> None:
    assert turning_points([GRANT], [], at(1, 31), at(2, 28)) == []
    assert turning_points([GRANT], [], at(2, 1), at(5, 1)) == [at(2, 28), at(3, 31), at(4, 30)]
    assert turning_points([GRANT], ["g"], at(2, 1), at(5, 1)) == [at(2, 28)]
