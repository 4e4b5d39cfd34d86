"""A service that computes to its own advantage, and signs what comes of it: the customer's program finds it.

Each test bends one rule of the service while an invoice is made. The log, the proofs and the signature are in order.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import domain.product
import domain.rating
import domain.settlement
import projections.counting
from app.database import open_pool
from app.transaction import transaction
from domain.aggregation import read_aggregation
from domain.meter import Meter
from domain.price import MeterPrice
from taximeter_verify import Unproved, verify
from tests.app.audit.packs import pack_of
from tests.app.business import a_shop
from tests.app.shop import APRIL, MARCH, MAY, Shop, price_of, sms_price
from tests.conftest import MovingClock

CHEAP = '{"conjunction":"and","clauses":[{"key":"n","operator":"less_than","value":5}]}'


@pytest.fixture
async def shop(dsn: str, clock: MovingClock) -> AsyncIterator[Shop]:
    """A shop that sells calls, and those among them that are cheap, and SMS in credits."""
    async with open_pool(dsn) as pool:
        opened = await a_shop(pool, clock)
        await opened.entitle()
        await opened.open()
        await _meter_of_cheap(opened)
        await opened.sell("cheap", price_of(fixed_price=0, meters=(MeterPrice(meter_id="cheap", price_per_unit="1"),)))
        await opened.sell("sms", sms_price(None))
        yield opened


async def _meter_of_cheap(shop: Shop) -> None:
    async with transaction(shop.service, shop.caller, "meter.create") as running:
        running.add(
            Meter.create(
                "cheap",
                name="cheap",
                event_name="call",
                aggregation=read_aggregation({"type": "count"}),
                filter=CHEAP,
                measurement_unit="call",
                description=None,
                at=running.now,
            )
        )


async def invoiced(shop: Shop, clock: MovingClock, product_id: str, path: Path) -> Path:
    """The pack about an invoice over seven calls in March, two of them dear."""
    subscription_id = await shop.subscribe(products=[product_id])
    await shop.use(*[MARCH + timedelta(days=20, hours=number) for number in range(5)])
    await shop.use(*[MARCH + timedelta(days=21, hours=number) for number in range(2)], metadata='{"n": 9}')
    clock.now = APRIL + timedelta(hours=2)
    document = await shop.close(subscription_id)
    return await pack_of(shop, document.invoice_id, path)


async def test_an_honest_one_is_proved(shop: Shop, clock: MovingClock, tmp_path: Path) -> None:
    assert verify(await invoiced(shop, clock, "api", tmp_path / "pack")).document["total_amount"] == 503


async def test_rounding_up_is_found(
    shop: Shop, clock: MovingClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(domain.rating, "round_to_minor", lambda amount: math.floor(amount) + 1)
    pack = await invoiced(shop, clock, "api", tmp_path / "pack")
    with pytest.raises(Unproved, match=r"lines\[0\].amount is 501 and not 500"):
        verify(pack)


async def test_free_units_that_are_billed_are_found(
    shop: Shop, clock: MovingClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(domain.rating, "chargeable_units", lambda consumed, _: consumed)
    pack = await invoiced(shop, clock, "api", tmp_path / "pack")
    with pytest.raises(Unproved, match=r"lines\[1\].free_units is '0' and not '2'"):
        verify(pack)


async def test_events_that_the_filter_leaves_out_and_are_billed_are_found(
    shop: Shop, clock: MovingClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projections.counting, "matches", lambda *_: True)
    pack = await invoiced(shop, clock, "cheap", tmp_path / "pack")
    with pytest.raises(Unproved, match=r"lines\[0\].consumed_units is '7' and not '5'"):
        verify(pack)


async def test_a_price_of_later_is_found(
    shop: Shop, clock: MovingClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.reprice(price_of(fixed_price=900), APRIL)
    monkeypatch.setattr(domain.product, "version_in_force", lambda versions, _: len(versions) - 1)
    pack = await invoiced(shop, clock, "api", tmp_path / "pack")
    with pytest.raises(Unproved, match=r"lines\[0\].price_per_unit is '900' and not '500'"):
        verify(pack)


async def test_credits_drawn_in_another_order_are_found(
    shop: Shop, clock: MovingClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that last are taken, and those that soon expire are left to expire."""
    await shop.credit("7", MARCH + timedelta(days=25))
    await shop.credit("7")
    honest = domain.settlement.burn_key

    def lasting_first(order: Any) -> Any:
        return lambda grant: (grant.expires is not None, honest(order)(grant))

    monkeypatch.setattr(domain.settlement, "burn_key", lasting_first)
    pack = await invoiced(shop, clock, "sms", tmp_path / "pack")
    with pytest.raises(Unproved, match="the credits of sms, calls were not drawn by the rules"):
        verify(pack)


async def test_credits_that_are_not_used_are_found(
    shop: Shop, clock: MovingClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.credit("7")
    monkeypatch.setattr(domain.settlement, "summed", lambda draws: {})
    monkeypatch.setattr(domain.settlement.Settlement, "burn_lines", lambda *_: ())
    pack = await invoiced(shop, clock, "sms", tmp_path / "pack")
    with pytest.raises(Unproved, match=r"does not come to what it says|not drawn by the rules"):
        verify(pack)


async def test_after_an_invoice_another_order_is_told_as_what_was_recorded(
    shop: Shop, clock: MovingClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Late usage may have claimed anew and left no line, so it is not called wrong; but it is not called proved."""
    await shop.credit("20", APRIL + timedelta(days=20))
    await shop.credit("20")
    await invoiced(shop, clock, "sms", tmp_path / "march")
    await shop.use(APRIL + timedelta(hours=1))
    clock.now = MAY + timedelta(hours=2)
    honest = domain.settlement.burn_key
    monkeypatch.setattr(
        domain.settlement, "burn_key", lambda order: lambda grant: (grant.expires is not None, honest(order)(grant))
    )
    (document,) = await shop.close_due()
    report = verify(await pack_of(shop, document.invoice_id, tmp_path / "april")).report
    assert any("are those of the recorded burns" in text for text in report.facts)
    assert not any("computed again from grants" in text for text in report.proved)
