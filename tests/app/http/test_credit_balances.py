"""Credit balances over HTTP: entries by hand, balances after usage, and the overviews of customer and subscription."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.app.http.credits import ENTITLEMENT, Credits

AT = "2026-03-10T12:00:00.000000Z"


@pytest.fixture
async def credits(api: Any, make: Any) -> Credits:
    found = Credits(api, make)
    await found.open()
    return found


async def test_a_customer_without_an_account_has_nothing(api: Any, credits: Credits) -> None:
    assert await credits.read(credits.path()) == {
        "id": f"{credits.entitlement_id}:ada",
        "customer_id": "ada",
        "credit_entitlement_id": credits.entitlement_id,
        "balance": "0",
        "overage": "0",
        "low_balance": False,
        "low_balance_threshold": None,
        "created_at": AT,
        "updated_at": AT,
        "last_transaction_at": None,
    }
    assert (await credits.ledger(), await credits.grants()) == ([], [])
    assert await credits.read(credits.balances) == {"items": []}
    assert await credits.read("/customers/ada/credit-entitlements") == {"items": []}


async def test_credit_and_debit(api: Any, credits: Credits) -> None:
    made = await credits.add("100.5", reason="goodwill", metadata={"n": 1.50, "b": True})
    assert made == {
        "id": made["id"],
        "customer_id": "ada",
        "credit_entitlement_id": credits.entitlement_id,
        "entry_type": "credit",
        "is_credit": True,
        "amount": "100.5",
        "balance_before": "0",
        "balance_after": "100.5",
        "overage_before": "0",
        "overage_after": "0",
        "metadata": {"n": 1.5, "b": True},
        "created_at": AT,
        "grant_id": made["id"],
        "reason": "goodwill",
    }
    api.clock.advance(hours=1)
    taken = await credits.add(40, "debit")
    assert (taken["is_credit"], taken["balance_before"], taken["balance_after"]) == (False, "100.5", "60.5")
    assert (taken["grant_id"], taken["metadata"], taken["reason"]) == (made["id"], {}, None)
    later = "2026-03-10T13:00:00.000000Z"
    found = await credits.read(credits.path())
    assert (found["balance"], found["created_at"], found["last_transaction_at"]) == ("60.5", AT, later)
    assert (await credits.read(credits.balances))["items"] == [found]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"amount": "0"}, "amount"),
        ({"amount": "-1"}, "amount"),
        ({"amount": "0.001"}, "amount"),
        ({"amount": "10000000000"}, "amount"),
        ({"amount": "1e2"}, "amount"),
        ({"amount": "x"}, "amount"),
        ({"amount": None}, "amount"),
        ({"entry_type": "refund"}, "entry_type"),
        ({"entry_type": None}, "entry_type"),
        ({"expires_at": "2026-03-10T12:00:00Z"}, "expires_at"),
        ({"expires_at": "2036-03-10T12:00:00"}, "expires_at"),
        ({"expires_at": "2036-03-10T12:00:00Z", "entry_type": "debit"}, "expires_at"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "x" * 256}, "idempotency_key"),
        ({"reason": "x" * 1001}, "reason"),
        ({"metadata": {"k": "v" * 501}}, "metadata.k"),
        ({"expire_at": "2036-03-10T12:00:00Z"}, "expire_at"),
    ],
)
async def test_a_broken_rule_names_its_field(credits: Credits, change: dict[str, Any], named: str) -> None:
    body: dict[str, Any] = {"amount": "1", "entry_type": "credit"}
    answered = await credits.api.post(credits.path("/ledger-entries"), json=body | change)
    assert answered.status_code == 422, answered.text
    assert named in answered.json()["message"]
    assert await credits.ledger() == []


async def test_the_edges_of_the_limits_pass(credits: Credits) -> None:
    await credits.add("9999999999.99")
    assert await credits.balance() == ("9999999999.99", "0")
    assert (await credits.add("0.01", "debit"))["balance_after"] == "9999999999.98"


async def test_a_debit_over_the_balance_is_400(credits: Credits) -> None:
    refused = await credits.add("1", "debit", 400)
    assert refused["code"] == "INSUFFICIENT_CREDITS"
    # Nothing is left of it, not even an empty account.
    assert await credits.read(credits.balances) == {"items": []}
    await credits.add("10")
    assert (await credits.add("10.01", "debit", 400))["code"] == "INSUFFICIENT_CREDITS"
    assert await credits.balance() == ("10", "0")


async def test_a_used_key_is_a_conflict_that_is_not_tried_again(credits: Credits) -> None:
    await credits.add("10", idempotency_key="k")
    for body in (
        {"amount": "10", "entry_type": "credit", "idempotency_key": "k"},
        {"amount": "3", "entry_type": "debit", "idempotency_key": "k"},
    ):
        refused = await credits.api.post(credits.path("/ledger-entries"), json=body)
        assert (refused.status_code, refused.json()["code"]) == (409, "IDEMPOTENCY_KEY_USED")
        assert refused.headers["x-should-retry"] == "false"
    assert await credits.balance() == ("10", "0")


async def test_a_key_is_per_customer_and_entitlement(credits: Credits, make: Any) -> None:
    await make.customer(customer_id="bob")
    body = {"amount": "1", "entry_type": "credit", "idempotency_key": "k"}
    other = await make.post("/credit-entitlements", ENTITLEMENT, 201)
    for path in (
        credits.path("/ledger-entries"),
        credits.path("/ledger-entries", "bob"),
        f"/credit-entitlements/{other['id']}/balances/ada/ledger-entries",
    ):
        assert (await credits.api.post(path, json=body)).status_code == 201


async def test_parallel_debits_never_exceed_the_balance(credits: Credits) -> None:
    await credits.subscribe("10")
    await credits.use(5)
    body = {"amount": "1", "entry_type": "debit"}
    answered = await asyncio.gather(*[credits.api.post(credits.path("/ledger-entries"), json=body) for _ in range(8)])
    assert sorted(one.status_code for one in answered) == [201] * 5 + [400] * 3
    assert await credits.balance() == ("0", "0")


async def test_a_debit_sees_usage_that_is_not_projected_yet(credits: Credits, make: Any) -> None:
    await credits.subscribe("10")
    await credits.api.ingest(*[make.event(number) for number in range(8)])
    assert (await credits.add("2.01", "debit", 400))["code"] == "INSUFFICIENT_CREDITS"
    assert (await credits.add("2", "debit"))["balance_before"] == "2"


async def test_usage_of_the_open_cycle_burns_at_once(credits: Credits) -> None:
    subscription_id = await credits.subscribe("10")
    assert await credits.balance() == ("10", "0")
    await credits.use(4)
    assert await credits.balance() == ("6", "0")
    credits.api.clock.advance(days=25)
    await credits.close(subscription_id)
    # April's credits, without March's rest.
    assert await credits.balance() == ("10", "0")


async def test_credits_expire_as_the_entitlement_or_the_entry_says(api: Any, make: Any) -> None:
    credits = Credits(api, make)
    await credits.open(expires_after_days=30)
    await credits.add("1")
    await credits.add("2", expires_at="2026-03-12T00:00:00+02:00")
    assert [grant["expires_at"] for grant in await credits.grants()] == [
        "2026-03-11T22:00:00.000000Z",
        "2026-04-09T12:00:00.000000Z",
    ]
    api.clock.advance(days=2)
    assert await credits.balance() == ("1", "0")
    api.clock.advance(days=28)
    assert await credits.balance() == ("0", "0")


async def test_overage_is_shown_beside_the_balance(api: Any, make: Any) -> None:
    credits = Credits(api, make)
    await credits.open(overage_enabled=True, overage_behavior="carry_deficit", overage_limit=5)
    subscription_id = await credits.subscribe("10")
    await credits.use(12)
    assert await credits.balance() == ("0", "2")
    (used,) = (await credits.read(f"/subscriptions/{subscription_id}/credit-usage"))["items"]
    assert (used["overage_enabled"], used["overage_limit"], used["overage"]) == (True, "5", "2")
    assert (used["limit_reached"], used["remaining_headroom"]) == (False, "3")
    await credits.use(4)
    (used,) = (await credits.read(f"/subscriptions/{subscription_id}/credit-usage"))["items"]
    assert (used["overage"], used["limit_reached"], used["remaining_headroom"]) == ("5", True, "0")


async def test_credit_usage_of_a_subscription(credits: Credits) -> None:
    subscription_id = await credits.subscribe("10", low_balance_threshold_percent=25)
    found = await credits.read(f"/subscriptions/{subscription_id}/credit-usage")
    item = {
        "credit_entitlement_id": credits.entitlement_id,
        "credit_entitlement_name": "SMS",
        "unit": "credit",
        "balance": "10",
        "overage": "0",
        "overage_enabled": False,
        "limit_reached": False,
        "overage_limit": None,
        "remaining_headroom": None,
        "low_balance": False,
        "low_balance_threshold": "2.5",
    }
    assert found == {"subscription_id": subscription_id, "items": [item]}


@pytest.mark.parametrize(("calls", "low"), [(7, False), (8, True), (10, True)])
async def test_a_low_balance_is_told(credits: Credits, calls: int, low: bool) -> None:
    subscription_id = await credits.subscribe("10", low_balance_threshold_percent=25)
    await credits.use(calls)
    (used,) = (await credits.read(f"/subscriptions/{subscription_id}/credit-usage"))["items"]
    found = await credits.read(credits.path())
    assert used["low_balance"] is found["low_balance"] is low
    assert found["low_balance_threshold"] == "2.5"


async def test_a_cancelled_subscription_sets_no_threshold(credits: Credits) -> None:
    subscription_id = await credits.subscribe("10", low_balance_threshold_percent=100)
    assert (await credits.read(credits.path()))["low_balance"] is True
    await credits.api.patch(f"/subscriptions/{subscription_id}", json={"status": "cancelled"})
    found = await credits.read(credits.path())
    assert (found["low_balance"], found["low_balance_threshold"]) == (False, None)


async def test_a_subscription_without_credits_has_no_credit_usage(api: Any, make: Any) -> None:
    ids = await make.everything()
    found = await api.get(f"/subscriptions/{ids['subscription_id']}/credit-usage")
    assert found.json() == {"subscription_id": ids["subscription_id"], "items": []}
    missing = await api.get("/subscriptions/sub_none/credit-usage")
    assert (missing.status_code, missing.json()["code"]) == (404, "SUBSCRIPTION_NOT_FOUND")


async def test_the_entitlements_of_a_customer(credits: Credits, make: Any) -> None:
    other = await make.post("/credit-entitlements", ENTITLEMENT | {"name": "AI", "description": "d"}, 201)
    await make.post("/credit-entitlements", ENTITLEMENT | {"name": "unused"}, 201)
    await credits.subscribe("10")
    await credits.use(3)
    body = {"amount": "5", "entry_type": "credit"}
    await make.post(f"/credit-entitlements/{other['id']}/balances/ada/ledger-entries", body, 201)
    items = (await credits.read("/customers/ada/credit-entitlements"))["items"]
    assert sorted(items, key=lambda item: item["name"]) == [
        {
            "credit_entitlement_id": other["id"],
            "name": "AI",
            "unit": "credit",
            "description": "d",
            "balance": "5",
            "overage": "0",
        },
        {
            "credit_entitlement_id": credits.entitlement_id,
            "name": "SMS",
            "unit": "credit",
            "description": None,
            "balance": "7",
            "overage": "0",
        },
    ]


async def test_the_balances_of_an_entitlement_are_listed_by_account(credits: Credits, make: Any) -> None:
    for number, customer_id in enumerate(("ada", "bob", "cyd"), start=1):
        if customer_id != "ada":
            await make.customer(customer_id=customer_id)
        path = credits.path("/ledger-entries", customer_id)
        await make.post(path, {"amount": str(number), "entry_type": "credit"}, 201)
        credits.api.clock.advance(minutes=1)

    async def listed(**params: Any) -> list[tuple[str, str]]:
        items = (await credits.read(credits.balances, **params))["items"]
        return [(item["customer_id"], item["balance"]) for item in items]

    assert await listed() == [("cyd", "3"), ("bob", "2"), ("ada", "1")]
    assert await listed(page_size=2, page_number=1) == [("ada", "1")]
    assert await listed(page_number=9) == []
    assert await listed(customer_id="bob") == [("bob", "2")]
    assert await listed(customer_id="nobody") == []


async def test_a_deleted_entitlement_keeps_its_balances_and_takes_no_entries(credits: Credits) -> None:
    await credits.add("5")
    await credits.api.delete(f"/credit-entitlements/{credits.entitlement_id}")
    assert await credits.balance() == ("5", "0")
    for entry_type in ("credit", "debit"):
        assert (await credits.add("1", entry_type, 404))["code"] == "CREDIT_ENTITLEMENT_NOT_FOUND"


PATHS = ["", "/grants", "/ledger"]


@pytest.mark.parametrize("path", PATHS)
async def test_unknown_or_foreign_names_are_not_found(credits: Credits, stranger: Any, path: str) -> None:
    missing = await credits.api.get(credits.path(path, "nobody"))
    assert (missing.status_code, missing.json()["code"]) == (404, "CUSTOMER_NOT_FOUND")
    missing = await credits.api.get(f"/credit-entitlements/cde_none/balances/ada{path}")
    assert (missing.status_code, missing.json()["code"]) == (404, "CREDIT_ENTITLEMENT_NOT_FOUND")
    assert (await stranger.get(credits.path(path))).status_code == 404
    assert (await stranger.get("/customers/ada/credit-entitlements")).status_code == 404
    assert (await stranger.get(credits.balances)).status_code == 404


async def test_entries_for_unknown_or_foreign_names_are_not_found(
    credits: Credits, stranger: Any, open_client: Any
) -> None:
    body = {"amount": "1", "entry_type": "credit"}
    path = credits.path("/ledger-entries")
    assert (await stranger.post(path, json=body)).status_code == 404
    assert (await credits.api.post(credits.path("/ledger-entries", "nobody"), json=body)).status_code == 404
    unknown = "/credit-entitlements/cde_none/balances/ada/ledger-entries"
    assert (await credits.api.post(unknown, json=body)).status_code == 404
    reader = await open_client(tenant_id=credits.api.caller.tenant_id, scope="read")
    assert (await reader.post(path, json=body)).status_code == 403


async def test_a_customer_id_with_separators(credits: Credits, make: Any) -> None:
    await make.customer(customer_id="a/b:c")
    path = credits.path("", "a%2Fb%3Ac")
    assert (await make.post(f"{path}/ledger-entries", {"amount": "3", "entry_type": "credit"}, 201))["id"]
    found = (await credits.api.get(path)).json()
    assert (found["customer_id"], found["balance"]) == ("a/b:c", "3")
