"""Which price version a cycle has."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.cycle import Interval, Unit
from domain.entitlement import BurnOrder, Overage, OverageBehavior, Rollover, Terms
from domain.price import (
    UNTIL_CANCELLED,
    IncludedCredits,
    MeterPrice,
    Price,
    PriceVersion,
    ProrationBehavior,
    version_in_force,
)
from domain.tier import Tier, TierMode

PRICE = Price(
    currency="USD", fixed_price=0, cycle=Interval(count=1, unit=Unit.Month), subscription_period=UNTIL_CANCELLED
)


def versions(*months: int) -> list[PriceVersion]:
    """The first version and one more from each of these months of 2026 on."""
    later = [PriceVersion(effective_at=datetime(2026, month, 1, tzinfo=UTC), price=PRICE) for month in months]
    return [PriceVersion(effective_at=None, price=PRICE), *later]


@pytest.mark.parametrize(
    ("months", "cycle_month", "chosen"),
    [
        ((), 1, 0),
        ((3,), 2, 0),
        ((3,), 3, 1),
        ((3,), 4, 1),
        # A change scheduled for later stays scheduled, though one was recorded after it for an earlier month.
        ((5, 3), 4, 2),
        ((5, 3), 5, 1),
        # Of two for the same instant the later recorded one corrects the earlier.
        ((3, 3), 3, 2),
    ],
)
def test_the_version_in_force_at_the_start_of_the_cycle(months: tuple[int, ...], cycle_month: int, chosen: int) -> None:
    assert version_in_force(versions(*months), datetime(2026, cycle_month, 1, tzinfo=UTC)) == chosen


@given(st.lists(st.integers(1, 12), max_size=8), st.integers(1, 12))
def test_a_version_is_never_in_force_before_its_time(months: list[int], cycle_month: int) -> None:
    start = datetime(2026, cycle_month, 1, tzinfo=UTC)
    chosen = versions(*months)[version_in_force(versions(*months), start)]
    assert chosen.effective_at is None or chosen.effective_at <= start


RICH = msgspec.structs.replace(
    PRICE,
    meters=(
        MeterPrice(
            meter_id="mtr_tiers",
            tier_mode=TierMode.graduated,
            tiers=(Tier(up_to="10.5", price_per_unit="2"), Tier(up_to=None, price_per_unit="1", fixed_price=3)),
        ),
        MeterPrice(meter_id="mtr_package", price_per_unit="5", tier_mode=TierMode.package, package_size="0.1"),
        MeterPrice(meter_id="mtr_credits", credit_entitlement_id="cde_1", meter_units_per_credit="100"),
    ),
    credits=(
        IncludedCredits(
            credit_entitlement_id="cde_1",
            credits_amount="1000",
            rollover_timeframe=Interval(count=1, unit=Unit.Year),
            overage_behavior=OverageBehavior.carry_deficit,
            proration_behavior=ProrationBehavior.prorate,
        ),
    ),
)


@pytest.mark.parametrize("price", [PRICE, RICH])
def test_a_price_survives_its_stored_form(price: Price) -> None:
    assert msgspec.json.decode(msgspec.json.encode(price), type=Price) == price


def test_a_flat_price_is_stored_as_it_always_was() -> None:
    stored = (
        '{"currency":"USD","fixed_price":0,"cycle":{"count":1,"unit":"Month"},'
        '"subscription_period":{"count":20,"unit":"Year"},'
        '"meters":[{"meter_id":"mtr_1","price_per_unit":"0.5","free_threshold":"0"}],'
        '"tax_inclusive":false,"purchasing_power_parity":false}'
    )
    flat = msgspec.structs.replace(PRICE, meters=(MeterPrice(meter_id="mtr_1", price_per_unit="0.5"),))
    assert msgspec.json.encode(flat).decode() == stored
    assert msgspec.json.decode(stored, type=Price) == flat


def test_numbers_of_a_meter_price() -> None:
    tiers, package, credits_alone = RICH.meters
    assert (tiers.unit_price, tiers.units_per_credit, tiers.credits_only) == (None, None, False)
    assert (package.unit_price, package.package_units, package.credits_only) == (Decimal(5), Decimal("0.1"), False)
    assert (credits_alone.units_per_credit, credits_alone.credits_only) == (Decimal(100), True)


def test_included_credits_are_found_by_their_entitlement() -> None:
    assert RICH.included("cde_1") == RICH.credits[0]
    assert RICH.included("cde_2") is None


OWN = Terms(
    name="Tokens",
    unit="token",
    expires_after_days=30,
    rollover=Rollover(enabled=True, percentage=50, timeframe=Interval(count=1, unit=Unit.Month), max_count=2),
    overage=Overage(enabled=True, behavior=OverageBehavior.invoice_at_billing, limit="100"),
    currency="EUR",
    price_per_unit="3",
    burn_order=BurnOrder.earliest_expiry,
)


def test_terms_that_a_product_leaves_out_are_the_entitlements_own() -> None:
    assert IncludedCredits(credit_entitlement_id="cde_1", credits_amount="1").terms(OWN, "USD") == OWN


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"expires_after_days": 7}, {"expires_after_days": 7}),
        ({"overage_enabled": False}, {"overage": msgspec.structs.replace(OWN.overage, enabled=False)}),
        (
            {"overage_behavior": OverageBehavior.carry_deficit, "overage_limit": "0"},
            {"overage": Overage(enabled=True, behavior=OverageBehavior.carry_deficit, limit="0")},
        ),
        (
            {"rollover_enabled": False, "rollover_percentage": 0, "max_rollover_count": 0},
            {"rollover": Rollover(enabled=False, percentage=0, timeframe=OWN.rollover.timeframe, max_count=0)},
        ),
        # The product's own price per credit is in the product's currency.
        ({"price_per_unit": "9"}, {"price_per_unit": "9", "currency": "USD"}),
    ],
)
def test_terms_that_a_product_states_itself(change: dict[str, Any], expected: dict[str, Any]) -> None:
    included = IncludedCredits(credit_entitlement_id="cde_1", credits_amount="1", **change)
    assert included.terms(OWN, "USD") == msgspec.structs.replace(OWN, **expected)
