"""Grants and ledger over HTTP: how a balance came about, while a cycle is open and after it closed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.app.http.credits import Credits

AT = "2026-03-10T12:00:00.000000Z"
MARCH, APRIL = "2026-03-01T00:00:00.000000Z", "2026-04-01T00:00:00.000000Z"


@pytest.fixture
async def credits(api: Any, make: Any) -> Credits:
    found = Credits(api, make)
    await found.open()
    return found


def told(entries: list[Any]) -> list[tuple[str, str, str]]:
    """Each entry's type, signed amount and the balance after it, oldest first."""
    return [
        (one["transaction_type"], ("" if one["is_credit"] else "-") + one["amount"], one["balance_after"])
        for one in reversed(entries)
    ]


async def test_a_grant_by_hand(credits: Credits) -> None:
    made = await credits.add("10", metadata={"n": 1}, expires_at="2026-03-20T00:00:00Z")
    await credits.add("4", "debit")
    (grant,) = await credits.grants()
    assert grant == {
        "id": made["id"],
        "customer_id": "ada",
        "credit_entitlement_id": credits.entitlement_id,
        "initial_amount": "10",
        "remaining_amount": "6",
        "source_type": "api",
        "status": "active",
        "is_expired": False,
        "is_rolled_over": False,
        "rollover_count": 0,
        "begins_at": AT,
        "created_at": AT,
        "updated_at": AT,
        "expires_at": "2026-03-20T00:00:00.000000Z",
        "source_id": None,
        "parent_grant_id": None,
        "metadata": {"n": 1},
    }


async def test_a_grant_of_a_cycle(credits: Credits) -> None:
    subscription_id = await credits.subscribe("10")
    await credits.use(3)
    (grant,) = await credits.grants()
    assert (grant["source_type"], grant["source_id"]) == ("subscription", subscription_id)
    assert (grant["begins_at"], grant["expires_at"]) == (MARCH, APRIL)
    assert (grant["initial_amount"], grant["remaining_amount"]) == ("10", "7")


async def test_grants_by_status_newest_first_and_paged(credits: Credits) -> None:
    for amount, expires_at in (("1", "2026-03-10T13:00:00Z"), ("2", None), ("3", None)):
        await credits.add(amount, **({"expires_at": expires_at} if expires_at else {}))
        credits.api.clock.advance(minutes=1)
    await credits.add("3", "debit")
    await credits.add("4", expires_at="2026-03-10T13:00:00Z")
    credits.api.clock.advance(hours=2)

    async def amounts(**params: Any) -> list[tuple[str, str]]:
        return [(one["initial_amount"], one["status"]) for one in await credits.grants(**params)]

    # The debit took the oldest first: all of the first and of the second.
    assert await amounts() == [("4", "expired"), ("3", "active"), ("2", "depleted"), ("1", "depleted")]
    assert await amounts(status="active") == [("3", "active")]
    assert await amounts(status="depleted") == [("2", "depleted"), ("1", "depleted")]
    assert await amounts(status="expired") == [("4", "expired")]
    assert await amounts(page_size=3, page_number=1) == [("1", "depleted")]
    assert await amounts(page_number=5) == []
    answered = await credits.api.get(credits.path("/grants"), params={"status": "used"})
    assert answered.status_code == 422


async def test_a_running_entry_becomes_final_with_the_close(credits: Credits) -> None:
    subscription_id = await credits.subscribe("10")
    await credits.use(3)
    assert told(await credits.ledger()) == [("credit_added", "10", "10"), ("credit_deducted", "-3", "7")]
    running, granted = await credits.ledger()
    assert (running["is_final"], granted["is_final"]) == (False, True)
    assert (running["reference_type"], running["reference_id"]) == ("subscription", subscription_id)
    await credits.use(2)
    grown, _ = await credits.ledger()
    # One running entry per meter: it grows.
    assert (grown["id"], grown["amount"]) == (running["id"], "5")
    credits.api.clock.advance(days=25)
    invoice = await credits.close(subscription_id)
    entries = await credits.ledger()
    assert told(entries) == [
        ("credit_added", "10", "10"),
        ("credit_deducted", "-5", "5"),
        ("credit_expired", "-5", "0"),
        ("credit_added", "10", "10"),
    ]
    burned = entries[2]
    assert (burned["id"], burned["is_final"]) == (running["id"], True)
    assert (burned["reference_type"], burned["reference_id"]) == ("invoice", invoice["invoice_id"])
    assert all(entry["is_final"] for entry in entries)


async def test_what_an_entry_says(credits: Credits) -> None:
    made = await credits.add("10", reason="goodwill", metadata={"n": 1})
    (entry,) = await credits.ledger()
    assert entry == {
        "id": made["id"],
        "business_id": credits.api.caller.tenant_id,
        "brand_id": credits.api.caller.tenant_id,
        "customer_id": "ada",
        "credit_entitlement_id": credits.entitlement_id,
        "transaction_type": "credit_added",
        "is_credit": True,
        "amount": "10",
        "balance_before": "0",
        "balance_after": "10",
        "overage_before": "0",
        "overage_after": "0",
        "is_final": True,
        "metadata": {"n": 1},
        "created_at": AT,
        "description": "goodwill",
        "grant_id": made["id"],
        "reference_type": None,
        "reference_id": None,
    }


async def test_the_entry_of_a_debit_has_its_id(credits: Credits) -> None:
    await credits.add("10")
    taken = await credits.add("4", "debit", reason="spilt")
    newest = (await credits.ledger())[0]
    assert (newest["id"], newest["description"]) == (taken["id"], "spilt")
    assert (newest["balance_before"], newest["balance_after"]) == (taken["balance_before"], taken["balance_after"])


async def test_the_ledger_by_type_and_time(credits: Credits) -> None:
    for amount in ("1", "2", "3"):
        await credits.add(amount)
        credits.api.clock.advance(hours=1)
    await credits.add("4", "debit")

    async def amounts(**params: Any) -> list[str]:
        return [one["amount"] for one in await credits.ledger(**params)]

    assert await amounts() == ["4", "3", "2", "1"]
    assert await amounts(page_size=3, page_number=1) == ["1"]
    assert await amounts(page_number=5) == []
    assert await amounts(transaction_type="credit_deducted") == ["4"]
    assert await amounts(transaction_type="manual_adjustment") == []
    # Both ends are inclusive.
    assert await amounts(start_date="2026-03-10T13:00:00Z", end_date="2026-03-10T14:00:00Z") == ["3", "2"]
    assert await amounts(start_date="2026-03-10T15:00:01+00:00") == []
    for params, named in (
        ({"transaction_type": "credit"}, "transaction_type"),
        ({"start_date": "yesterday"}, "start_date"),
        ({"end_date": "2026-03-10"}, "end_date"),
    ):
        answered = await credits.api.get(credits.path("/ledger"), params=params)
        assert answered.status_code == 422
        assert named in answered.json()["message"]


async def test_a_rollover_stands_in_grants_and_ledger(api: Any, make: Any) -> None:
    credits = Credits(api, make)
    await credits.open(rollover_enabled=True, rollover_percentage=50)
    subscription_id = await credits.subscribe("10")
    await credits.use(4)
    api.clock.advance(days=25)

    def shown(grants: list[Any]) -> list[tuple[str, str, int]]:
        return [(one["initial_amount"], one["source_type"], one["rollover_count"]) for one in grants]

    before = await credits.grants()
    assert await credits.balance() == ("13", "0")
    await credits.close(subscription_id)
    after = await credits.grants()
    # What the close records was to be seen before it.
    assert shown(before) == shown(after)
    assert sorted(shown(after)) == [("10", "subscription", 0), ("10", "subscription", 0), ("3", "rollover", 1)]
    (child,) = [one for one in after if one["source_type"] == "rollover"]
    (parent,) = [one for one in after if one["id"] == child["parent_grant_id"]]
    assert (parent["is_rolled_over"], parent["is_expired"], parent["remaining_amount"]) == (True, True, "0")
    assert (child["is_rolled_over"], child["begins_at"]) == (False, APRIL)
    types = sorted(one["transaction_type"] for one in await credits.ledger())
    added, moved = ["credit_added"] * 2, ["credit_rolled_over"] * 2
    assert types == [*added, "credit_deducted", *moved, "rollover_forfeited"]
    assert await credits.balance() == ("13", "0")


async def test_overage_stands_in_the_ledger(api: Any, make: Any) -> None:
    credits = Credits(api, make)
    await credits.open(overage_enabled=True, overage_behavior="invoice_at_billing", currency="USD", price_per_unit="2")
    subscription_id = await credits.subscribe("10")
    await credits.use(13)
    newest = (await credits.ledger())[0]
    assert (newest["transaction_type"], newest["amount"], newest["overage_after"]) == ("credit_deducted", "13", "3")
    api.clock.advance(days=25)
    invoice = await credits.close(subscription_id)
    assert invoice["subtotal_amount"] == 506
    (charged,) = await credits.ledger(transaction_type="overage_charged")
    assert (charged["overage_before"], charged["overage_after"], charged["is_credit"]) == ("3", "0", True)
    assert await credits.balance() == ("10", "0")


async def test_every_entry_begins_where_the_one_before_ended(api: Any, make: Any) -> None:
    credits = Credits(api, make)
    await credits.open(overage_enabled=True, overage_behavior="carry_deficit_auto_repay")
    subscription_id = await credits.subscribe("10")
    await credits.add("1.5")
    await credits.use(14)
    api.clock.advance(days=25)
    await credits.close(subscription_id)
    await credits.add("0.25", "debit")
    entries = list(reversed(await credits.ledger(page_size=100)))
    assert len(entries) > 4
    balance = overage = "0"
    for entry in entries:
        assert (entry["balance_before"], entry["overage_before"]) == (balance, overage)
        balance, overage = entry["balance_after"], entry["overage_after"]
        assert Decimal(balance) >= 0
    assert (balance, overage) == await credits.balance()
