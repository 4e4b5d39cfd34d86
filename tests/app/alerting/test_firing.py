"""What an alert looks at, and that it fires once in a cycle, whatever happens to the usage."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from app.alerting import firing as firing_module
from app.alerting.rows import alerts_after
from app.invoicing import void
from app.transaction import transaction
from app.voiding import void_events
from domain.alert import Alert, AlertKind
from domain.price import MeterPrice
from domain.subscription_events import Status
from tests.app.alerting.reading import fired, look, said, set_alert
from tests.app.shop import APRIL, MARCH, MAY, Shop, price_of, sms_price
from tests.conftest import MovingClock

IN_MARCH = MARCH + timedelta(days=2)


async def alerts_in_log(shop: Shop) -> list[str]:
    rows = await shop.service.pool.fetch(
        "select kind from log.domain_event where tenant_id = $1 and kind like 'alert.%' order by position",
        shop.tenant_id,
    )
    return [row["kind"] for row in rows]


async def test_a_quantity_fires_when_it_is_reached_and_says_where(shop: Shop) -> None:
    subscription_id = await shop.subscribe()
    alert_id = await set_alert(shop, "3")
    await shop.use(IN_MARCH, IN_MARCH)
    assert await look(shop) == 0
    await shop.use(IN_MARCH, IN_MARCH)
    assert await look(shop) == 1
    (firing,) = await fired(shop)
    assert msgspec.to_builtins(firing) == {
        "position": await shop.head_position(),
        "alert_id": alert_id,
        "customer_id": "ada",
        "subscription_id": subscription_id,
        "kind": "quantity",
        "meter_id": "calls",
        "credit_entitlement_id": None,
        "threshold": "3",
        "value": "4",
        "cycle_start": "2026-03-01T00:00:00.000000Z",
        "cycle_end": "2026-04-01T00:00:00.000000Z",
        "fired_at": "2026-03-10T12:00:00.000000Z",
    }
    await shop.use(IN_MARCH)
    assert await look(shop) == 0


async def test_two_thresholds_reached_by_one_batch_fire_in_rising_order(shop: Shop) -> None:
    await shop.subscribe()
    # Set in falling order, and in texts whose order is not that of the numbers.
    for threshold in ("10", "9", "2.5", "100"):
        await set_alert(shop, threshold)
    await shop.use(*[IN_MARCH] * 12)
    assert await look(shop) == 3
    assert await said(shop) == [("2.5", "12"), ("9", "12"), ("10", "12")]


async def test_each_subscription_of_a_customer_fires_in_rising_order(shop: Shop) -> None:
    first, second = sorted([await shop.subscribe(), await shop.subscribe()])
    for threshold in ("5", "1"):
        await set_alert(shop, threshold)
    await set_alert(shop, "3", subscription_id=second)
    await shop.use(*[IN_MARCH] * 6)
    assert await look(shop) == 5
    firings = await fired(shop)
    of = {one: [f.threshold for f in firings if f.subscription_id == one] for one in (first, second)}
    assert of == {first: ["1", "5"], second: ["1", "3", "5"]}


async def test_a_percentage_of_the_free_threshold(shop: Shop) -> None:
    await shop.subscribe()
    for threshold in ("50", "150", "200"):
        await set_alert(shop, threshold, AlertKind.free_percent)
    await shop.use(IN_MARCH)
    assert await look(shop) == 1
    await shop.use(IN_MARCH, IN_MARCH)
    assert await look(shop) == 1
    assert await said(shop) == [("50", "50"), ("150", "150")]


async def test_a_line_without_free_units_has_no_percentage(shop: Shop) -> None:
    await shop.sell("paid", price_of(meters=(MeterPrice(meter_id="calls", price_per_unit="1"),)))
    await shop.subscribe(products=["paid"])
    await set_alert(shop, "1", AlertKind.free_percent)
    await set_alert(shop, "1", meter_id="tokens")  # No product of the subscription has it.
    await shop.use(*[IN_MARCH] * 9)
    assert await look(shop) == 0


async def test_an_amount_is_the_estimates_total_before_the_wallet(shop: Shop) -> None:
    await shop.pay_in(10_000)
    subscription_id = await shop.subscribe()
    await set_alert(shop, "500", AlertKind.amount)
    await set_alert(shop, "502", AlertKind.amount)
    assert await look(shop) == 1
    await shop.use(*[IN_MARCH] * 5)  # 1.5 minor units beyond two calls, rounded to 2.
    assert await look(shop) == 1
    assert await said(shop) == [("500", "500"), ("502", "502")]
    document = await shop.estimate(subscription_id)
    assert (document.total_amount, document.wallet_amount) == (0, 502)


async def test_a_percentage_of_credits_used(shop: Shop, clock: MovingClock) -> None:
    await shop.entitle()
    await shop.sell("sms", sms_price("10"))
    await shop.subscribe(products=["sms"])
    for threshold in ("80", "100"):
        await set_alert(shop, threshold, AlertKind.credit_percent)
    await shop.use(*[IN_MARCH] * 7)
    assert await look(shop) == 0
    await shop.credit("10")
    await shop.use(*[clock.now] * 9)
    assert await look(shop) == 1
    await shop.use(*[clock.now] * 5)  # One more than there are credits.
    assert await look(shop) == 1
    assert await said(shop) == [("80", "80"), ("100", "100")]


async def test_a_void_does_not_take_back_what_fired(shop: Shop) -> None:
    await shop.subscribe()
    await set_alert(shop, "3")
    await shop.use(*[IN_MARCH] * 3)
    assert await look(shop) == 1
    await void_events(shop.service, shop.caller, ["e0", "e1"], "sent by mistake")
    assert await look(shop) == 0
    await shop.use(*[IN_MARCH] * 3)
    assert await look(shop) == 0
    assert await said(shop) == [("3", "3")]


async def test_a_new_cycle_fires_again(shop: Shop, clock: MovingClock) -> None:
    await shop.subscribe()
    await set_alert(shop, "2")
    await shop.use(*[IN_MARCH] * 2)
    assert await look(shop) == 1
    clock.now = APRIL + timedelta(days=1)
    await shop.use(APRIL, APRIL)
    # March is not closed: both cycles are looked at, the one has fired.
    assert await look(shop) == 1
    assert [firing.cycle_start[:10] for firing in await fired(shop)] == ["2026-03-01", "2026-04-01"]


async def test_late_usage_fires_for_its_cycle_until_that_is_closed(shop: Shop, clock: MovingClock) -> None:
    subscription_id = await shop.subscribe()
    for threshold in ("2", "4"):
        await set_alert(shop, threshold)
    clock.now = APRIL + timedelta(minutes=10)
    await shop.use(IN_MARCH, IN_MARCH)
    assert await look(shop) == 1
    await shop.close(subscription_id)
    await shop.use(IN_MARCH, IN_MARCH)
    assert await look(shop) == 0
    assert await said(shop) == [("2", "2")]


async def test_a_close_fires_what_nobody_has_looked_at(shop: Shop, clock: MovingClock) -> None:
    subscription_id = await shop.subscribe()
    for threshold in ("5", "2", "9"):
        await set_alert(shop, threshold)
    await set_alert(shop, "503", AlertKind.amount)
    await shop.use(IN_MARCH, IN_MARCH)
    assert await look(shop) == 1
    await shop.use(*[IN_MARCH] * 5)
    clock.now = APRIL + timedelta(days=1)
    document = await shop.close(subscription_id)
    assert document.total_amount == 503
    # In the commit of the close, beside the invoice.
    assert await said(shop) == [("2", "2"), ("503", "503"), ("5", "7")]
    commits = await shop.service.pool.fetch(
        """select distinct c.last_position from log.domain_event e
             join log.commit c on c.tenant_id = e.tenant_id and e.position between c.first_position and c.last_position
            where e.tenant_id = $1 and (e.kind = 'invoice.issued' or e.kind = 'alert.fired')""",
        shop.tenant_id,
    )
    assert len(commits) == 2
    await shop.close(subscription_id, MARCH)
    assert await look(shop) == 0
    assert len(await fired(shop)) == 3


async def test_a_close_fires_nothing_of_another_subscription(shop: Shop, clock: MovingClock) -> None:
    first, second = await shop.subscribe(), await shop.subscribe()
    await set_alert(shop, "1", subscription_id=second)
    await shop.use(IN_MARCH)
    clock.now = APRIL + timedelta(days=1)
    await shop.close(first)
    assert await said(shop) == []
    await shop.close(second)
    assert await said(shop) == [("1", "1")]


async def test_an_invoice_issued_again_does_not_fire_again(shop: Shop, clock: MovingClock) -> None:
    subscription_id = await shop.subscribe()
    await set_alert(shop, "1")
    await shop.use(IN_MARCH)
    clock.now = APRIL + timedelta(days=1)
    document = await shop.close(subscription_id)
    await void(shop.service, shop.caller, str(document.invoice_id), None)
    assert await look(shop) == 0
    await shop.close(subscription_id)
    assert len(await fired(shop)) == 1


async def test_an_alert_that_is_set_late_fires_at_once(shop: Shop) -> None:
    await shop.subscribe()
    await shop.use(*[IN_MARCH] * 3)
    await look(shop)
    await set_alert(shop, "3")
    assert await look(shop) == 1


async def test_a_deleted_alert_fires_no_more(shop: Shop) -> None:
    await shop.subscribe()
    alert_id = await set_alert(shop, "1")
    async with transaction(shop.service, shop.caller, "alert.delete") as running:
        (await running.get(Alert, alert_id)).delete(running.now)
    await shop.use(IN_MARCH)
    assert await look(shop) == 0
    assert await alerts_in_log(shop) == ["alert.created", "alert.deleted"]


async def test_looking_records_no_cycle_that_has_not_begun(shop: Shop, clock: MovingClock) -> None:
    """A reckoning opens, in memory, what begins by its cycle's end: none of that may be in the log."""
    await shop.entitle()
    await shop.sell("sms", sms_price("10"))
    await shop.subscribe(products=["sms"])
    await set_alert(shop, "1")
    await shop.use(IN_MARCH)
    assert await look(shop) == 1
    opened = await shop.service.pool.fetchval(
        "select count(*) from log.domain_event where tenant_id = $1 and kind = 'cycle.opened'", shop.tenant_id
    )
    assert opened == 1
    clock.now = MAY
    await shop.use(APRIL)
    assert await look(shop) == 1
    assert [firing.cycle_start[:10] for firing in await fired(shop)] == ["2026-03-01", "2026-04-01"]


async def test_a_cycle_that_was_cut_meanwhile_is_looked_at_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a snapshot saw of a longer cycle does not fire for what is left of it."""
    subscription_id = await shop.subscribe()
    await set_alert(shop, "1")
    await shop.use(IN_MARCH)
    fire = firing_module._fire

    async def late(*arguments: Any) -> int:
        monkeypatch.setattr(firing_module, "_fire", fire)
        await shop.change(subscription_id, status=Status.paused)
        return await fire(*arguments)

    monkeypatch.setattr(firing_module, "_fire", late)
    assert await look(shop) == 0
    assert await look(shop) == 1
    (firing,) = await fired(shop)
    assert firing.cycle_end == "2026-03-10T12:00:00.000000Z"


async def test_the_reader_is_bounded_and_of_one_customer(shop: Shop) -> None:
    await shop.customer("bob")
    for customer_id in ("ada", "bob"):
        await shop.subscribe(customer_id)
        for threshold in ("1", "2"):
            await set_alert(shop, threshold, customer_id=customer_id)
        await shop.use(IN_MARCH, IN_MARCH, customer_id=customer_id)
        assert await look(shop, customer_id) == 2
    whole = await fired(shop)
    assert [firing.customer_id for firing in whole] == ["ada", "ada", "bob", "bob"]
    assert await fired(shop, "bob") == whole[2:]
    positions = [firing.position for firing in whole]
    assert positions == sorted(positions)

    async def between(after: int, until: int, limit: int = 9) -> list[Any]:
        return await alerts_after(shop.service, shop.tenant_id, None, after, until, limit)

    assert await between(positions[0], positions[2]) == whole[1:3]
    assert await between(0, positions[3], 1) == whole[:1]
