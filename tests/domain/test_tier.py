"""Tiers at their edges: nothing, exactly at the end, one over, a fraction, very much."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import round_to_minor
from domain.tier import Tier, TierUse, exact_amount, graduated, volume

# The first ten cost 2 each, the next ninety 1 each and 50 once, all further ones 0.5 each and 7 once.
TIERS = (
    Tier(up_to="10", price_per_unit="2"),
    Tier(up_to="100", price_per_unit="1", fixed_price=50),
    Tier(up_to=None, price_per_unit="0.5", fixed_price=7),
)
HUGE = "99999999999999999999.000000000000000000000000000001"


def units(uses: tuple[TierUse, ...]) -> list[str]:
    return [use.units for use in uses]


@pytest.mark.parametrize(
    ("used", "inside", "amount"),
    [
        ("0", [], "0"),
        ("0.000000000000000000000000000001", ["0.000000000000000000000000000001"], "0.000000000000000000000000000002"),
        ("9.5", ["9.5"], "19"),
        ("10", ["10"], "20"),
        ("10.5", ["10", "0.5"], "70.5"),
        ("11", ["10", "1"], "71"),
        ("100", ["10", "90"], "160"),
        ("101", ["10", "90", "1"], "167.5"),
        (
            HUGE,
            ["10", "90", "99999999999999999899.000000000000000000000000000001"],
            "50000000000000000116.5000000000000000000000000000005",
        ),
    ],
)
def test_graduated_each_tier_prices_the_units_inside_it(used: str, inside: list[str], amount: str) -> None:
    uses = graduated(TIERS, Decimal(used))
    assert units(uses) == inside
    assert exact_amount(uses) == Decimal(amount)


@pytest.mark.parametrize(
    ("used", "amount"),
    [
        ("0", "0"),
        ("0.5", "1"),
        ("10", "20"),
        ("10.000000000001", "60.000000000001"),
        ("11", "61"),
        ("100", "150"),
        ("101", "57.5"),
        (HUGE, "50000000000000000006.5000000000000000000000000000005"),
    ],
)
def test_volume_the_tier_of_the_total_prices_every_unit(used: str, amount: str) -> None:
    uses = volume(TIERS, Decimal(used))
    assert units(uses) == ([] if used == "0" else [used])
    assert exact_amount(uses) == Decimal(amount)


def test_a_use_shows_its_tier() -> None:
    (_, use) = graduated(TIERS, Decimal("12"))
    assert use == TierUse(up_to="100", units="2", price_per_unit="1", fixed_price=50, amount="52")
    assert msgspec.json.decode(msgspec.json.encode(use), type=TierUse) == use


prices = st.decimals(min_value=0, max_value=99999, places=12, allow_nan=False).map(lambda price: f"{price:f}")
ends = st.lists(
    st.decimals(min_value="0.001", max_value=10**9, places=3, allow_nan=False), max_size=6, unique=True
).map(sorted)
amounts = st.decimals(min_value=0, max_value=2 * 10**9, places=6, allow_nan=False)


@st.composite
def any_tiers(draw: st.DrawFn, *, fixed: bool = True) -> tuple[Tier, ...]:
    tops = [f"{end:f}" for end in draw(ends)]
    fees = st.integers(0, 10**6) if fixed else st.just(0)
    return tuple(Tier(up_to=top, price_per_unit=draw(prices), fixed_price=draw(fees)) for top in [*tops, None])


def naive_graduated(tiers: tuple[Tier, ...], used: Fraction) -> Fraction:
    amount, below = Fraction(0), Fraction(0)
    for tier in tiers:
        top = used if tier.up_to is None else min(used, Fraction(tier.up_to))
        if top > below:
            amount += (top - below) * Fraction(tier.price_per_unit) + tier.fixed_price
        below = max(below, top)
    return amount


@given(any_tiers(), amounts)
def test_graduated_is_what_exact_fractions_say(tiers: tuple[Tier, ...], used: Decimal) -> None:
    uses = graduated(tiers, used)
    assert Fraction(exact_amount(uses)) == naive_graduated(tiers, Fraction(used))
    assert sum(Fraction(use.units) for use in uses) == Fraction(used)
    assert all(Fraction(use.units) > 0 for use in uses)


@given(any_tiers(), amounts)
def test_each_use_can_be_checked_by_hand_and_their_sum_rounds_to_the_amount(
    tiers: tuple[Tier, ...], used: Decimal
) -> None:
    for uses in (graduated(tiers, used), volume(tiers, used)):
        for use in uses:
            assert Fraction(use.amount) == Fraction(use.units) * Fraction(use.price_per_unit) + use.fixed_price
        exact = sum(Fraction(use.amount) for use in uses)
        assert abs(round_to_minor(exact_amount(uses)) - exact) <= Fraction(1, 2)


@given(any_tiers(), amounts, amounts)
def test_more_units_never_cost_less_when_graduated(tiers: tuple[Tier, ...], one: Decimal, other: Decimal) -> None:
    less, more = sorted((one, other))
    assert exact_amount(graduated(tiers, less)) <= exact_amount(graduated(tiers, more))


@given(any_tiers(fixed=False), amounts, st.sampled_from(["0.000001", "0.5", "1"]))
def test_graduated_without_fixed_prices_has_no_jumps(tiers: tuple[Tier, ...], used: Decimal, more: str) -> None:
    before, after = (Fraction(exact_amount(graduated(tiers, count))) for count in (used, used + Decimal(more)))
    dearest = max(Fraction(tier.price_per_unit) for tier in tiers)
    assert 0 <= after - before <= Fraction(more) * dearest


@given(any_tiers(), amounts)
def test_volume_takes_the_first_tier_that_reaches_the_total(tiers: tuple[Tier, ...], used: Decimal) -> None:
    uses = volume(tiers, used)
    if not used:
        assert uses == ()
        return
    (use,) = uses
    reaching = [tier for tier in tiers if tier.up_to is None or used <= Decimal(tier.up_to)]
    assert (use.up_to, use.price_per_unit, Decimal(use.units)) == (
        reaching[0].up_to,
        reaching[0].price_per_unit,
        used,
    )


@given(prices, amounts)
def test_one_tier_is_the_flat_price(price: str, used: Decimal) -> None:
    tiers = (Tier(up_to=None, price_per_unit=price),)
    flat = Fraction(used) * Fraction(price)
    assert Fraction(exact_amount(graduated(tiers, used))) == flat == Fraction(exact_amount(volume(tiers, used)))
