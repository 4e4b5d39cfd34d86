"""Wallets over HTTP: the contract's three endpoints, in every currency."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

AT = "2026-03-10T12:00:00.000000Z"
ENTRIES = "/customers/ada/wallets/ledger-entries"


@pytest.fixture(autouse=True)
async def ada(make: Any) -> None:
    await make.customer(customer_id="ada")


def entry(amount: object = 500, entry_type: str = "credit", currency: str = "USD", **more: Any) -> dict[str, Any]:
    return {"amount": amount, "currency": currency, "entry_type": entry_type, **more}


async def test_a_customer_has_no_wallet_at_first(api: Any) -> None:
    answered = await api.get("/customers/ada/wallets")
    assert (answered.status_code, answered.json()) == (200, {"items": [], "total_balance_usd": 0})
    assert (await api.get(ENTRIES)).json() == {"items": []}


async def test_credit_and_debit(api: Any) -> None:
    answered = await api.post(ENTRIES, json=entry(500, reason="goodwill"))
    wallet = {"customer_id": "ada", "currency": "USD", "balance": 500, "created_at": AT, "updated_at": AT}
    assert (answered.status_code, answered.json()) == (200, wallet)
    api.clock.advance(days=1)
    later = "2026-03-11T12:00:00.000000Z"
    assert (await api.post(ENTRIES, json=entry(120, "debit"))).json() == {
        **wallet,
        "balance": 380,
        "updated_at": later,
    }
    listed = (await api.get("/customers/ada/wallets")).json()
    assert listed == {"items": [{**wallet, "balance": 380, "updated_at": later}], "total_balance_usd": 380}
    newest, oldest = (await api.get(ENTRIES)).json()["items"]
    assert oldest == {
        "id": oldest["id"],
        "business_id": api.caller.tenant_id,
        "customer_id": "ada",
        "currency": "USD",
        "amount": 500,
        "before_balance": 0,
        "after_balance": 500,
        "is_credit": True,
        "event_type": "merchant_adjustment",
        "created_at": AT,
        "reason": "goodwill",
        "reference_object_id": None,
    }
    assert (newest["amount"], newest["is_credit"], newest["before_balance"], newest["after_balance"]) == (
        120,
        False,
        500,
        380,
    )


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"amount": 0}, "amount"),
        ({"amount": -1}, "amount"),
        ({"amount": 1.5}, "amount"),
        ({"amount": 10**12 + 1}, "amount"),
        ({"amount": None}, "amount"),
        ({"currency": "usd"}, "currency"),
        ({"currency": "XXX"}, "currency"),
        ({"currency": None}, "currency"),
        ({"entry_type": "refund"}, "entry_type"),
        ({"entry_type": None}, "entry_type"),
        ({"reason": "x" * 1001}, "reason"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "x" * 256}, "idempotency_key"),
        ({"idempotency_keys": "k"}, "idempotency_keys"),
    ],
)
async def test_a_broken_rule_names_its_field(api: Any, change: dict[str, Any], named: str) -> None:
    answered = await api.post(ENTRIES, json=entry() | change)
    assert answered.status_code == 422, answered.text
    assert named in answered.json()["message"]
    assert (await api.get("/customers/ada/wallets")).json()["items"] == []


async def test_a_debit_over_the_balance_is_400(api: Any) -> None:
    refused = await api.post(ENTRIES, json=entry(1, "debit"))
    assert (refused.status_code, refused.json()["code"]) == (400, "INSUFFICIENT_BALANCE")
    # Nothing is left of it, not even an empty wallet.
    assert (await api.get("/customers/ada/wallets")).json()["items"] == []


async def test_currencies_do_not_mix(api: Any) -> None:
    await api.post(ENTRIES, json=entry(500))
    await api.post(ENTRIES, json=entry(7, currency="JPY"))
    refused = await api.post(ENTRIES, json=entry(8, "debit", "JPY"))
    assert refused.json()["message"] == "amount: the wallet holds 7 JPY"
    listed = (await api.get("/customers/ada/wallets")).json()
    assert [(item["currency"], item["balance"]) for item in listed["items"]] == [("JPY", 7), ("USD", 500)]
    assert listed["total_balance_usd"] == 500
    (only,) = (await api.get(ENTRIES, params={"currency": "JPY"})).json()["items"]
    assert only["currency"] == "JPY"
    assert (await api.get(ENTRIES, params={"currency": "EUR"})).json()["items"] == []
    assert (await api.get(ENTRIES, params={"currency": "x"})).status_code == 422


async def test_a_repeated_key_is_answered_and_not_carried_out_again(api: Any) -> None:
    body = entry(500, idempotency_key="k", reason="once")
    first = await api.post(ENTRIES, json=body)
    api.clock.advance(hours=1)
    again = await api.post(ENTRIES, json=body)
    assert (again.status_code, again.json()) == (200, first.json())
    assert len((await api.get(ENTRIES)).json()["items"]) == 1


@pytest.mark.parametrize("change", [{"amount": 501}, {"entry_type": "debit"}, {"reason": "x"}, {"currency": "EUR"}])
async def test_a_key_used_for_something_else_is_a_conflict(api: Any, change: dict[str, Any]) -> None:
    body = entry(500, idempotency_key="k")
    await api.post(ENTRIES, json=body)
    refused = await api.post(ENTRIES, json=body | change)
    assert (refused.status_code, refused.json()["code"]) == (409, "IDEMPOTENCY_KEY_USED")
    assert refused.headers["x-should-retry"] == "false"
    assert len((await api.get(ENTRIES)).json()["items"]) == 1


async def test_a_key_of_another_customer_is_another_key(api: Any, make: Any) -> None:
    await make.customer(customer_id="bob")
    await api.post(ENTRIES, json=entry(500, idempotency_key="k"))
    answered = await api.post(ENTRIES.replace("ada", "bob"), json=entry(1, idempotency_key="k"))
    assert (answered.status_code, answered.json()["balance"]) == (200, 1)


async def test_the_entries_are_paged_newest_first_over_all_currencies(api: Any) -> None:
    for number in range(3):
        await api.post(ENTRIES, json=entry(number + 1))
        await api.post(ENTRIES, json=entry(number + 11, currency="EUR"))
        api.clock.advance(minutes=1)
    # Two entries at one instant of one wallet: the later recorded one is newer.
    await api.post(ENTRIES, json=entry(4))
    await api.post(ENTRIES, json=entry(5))
    pages = [
        [
            item["amount"]
            for item in (await api.get(ENTRIES, params={"page_number": page, "page_size": 5})).json()["items"]
        ]
        for page in range(3)
    ]
    assert pages == [[5, 4, 13, 3, 12], [2, 11, 1], []]


@pytest.mark.parametrize("path", ["/customers/nobody/wallets", "/customers/nobody/wallets/ledger-entries"])
async def test_an_unknown_customer_is_not_found(api: Any, path: str) -> None:
    answered = await api.get(path)
    assert (answered.status_code, answered.json()["code"]) == (404, "CUSTOMER_NOT_FOUND")


async def test_a_foreign_customer_is_not_found(api: Any, stranger: Any) -> None:
    await api.post(ENTRIES, json=entry())
    assert (await stranger.get("/customers/ada/wallets")).status_code == 404
    assert (await stranger.get(ENTRIES)).status_code == 404
    assert (await stranger.post(ENTRIES, json=entry())).status_code == 404
    assert (await api.post("/customers/nobody/wallets/ledger-entries", json=entry())).status_code == 404


async def test_a_key_that_only_reads_moves_nothing(api: Any, open_client: Any) -> None:
    reader = await open_client(tenant_id=api.caller.tenant_id, scope="read")
    assert (await reader.post(ENTRIES, json=entry())).status_code == 403
    assert (await reader.get(ENTRIES)).status_code == 200


async def test_parallel_debits_never_exceed_the_balance(api: Any) -> None:
    await api.post(ENTRIES, json=entry(500))
    answered = await asyncio.gather(*[api.post(ENTRIES, json=entry(100, "debit")) for _ in range(8)])
    assert sorted(one.status_code for one in answered) == [200] * 5 + [400] * 3
    assert (await api.get("/customers/ada/wallets")).json()["total_balance_usd"] == 0


async def test_a_customer_id_with_separators(api: Any, make: Any) -> None:
    await make.customer(customer_id="a/b:c")
    path = "/customers/a%2Fb%3Ac/wallets"
    assert (await api.post(f"{path}/ledger-entries", json=entry(3))).json()["customer_id"] == "a/b:c"
    assert (await api.get(path)).json()["total_balance_usd"] == 3
