"""A person who was erased is nowhere in the database, and every chain and invoice is as it was.

In a database of its own: each table of it is looked through, and the read models are made anew.
"""

from __future__ import annotations

import asyncio
import getpass
import io
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from asyncpg import Connection, Record

from app.__main__ import parser
from app.commands import erase_personal_data
from app.database import connect_owner
from app.engine.launcher import Engine
from app.erasing import COMMAND, erase_customer
from app.sealing import keys_of
from app.service import Caller
from domain.customer import Customer
from domain.errors import NotFound
from projections.log_reader import facts_of, head
from projections.rebuild import rebuild
from tests.app.documents.sheets import texts
from tests.app.http.conftest import Making
from tests.app.log_rows import recomputed_digest
from tests.conftest import Api
from tests.projections.histories import new_database

PERSON = {"email": "ada.byron@mail.example", "name": "Augusta Ada Byron", "phone_number": "+44 20 7946 0815"}
ADDRESS = {"street": "12 Saint James Square", "city": "Piccadilly", "zipcode": "SW1Y-4JH", "country": "GB"}
CLEAR = [*PERSON.values(), *(ADDRESS[field] for field in ("street", "city", "zipcode"))]
"""What names her. The country is not looked for: two letters are everywhere."""


@pytest.fixture(scope="module")
async def dsn(engine: Engine) -> str:
    return await new_database(engine, "erasing")


@pytest.fixture
async def owner(dsn: str) -> AsyncIterator[Connection[Record]]:
    connection = await connect_owner(dsn)
    yield connection
    await connection.close()


@pytest.fixture
def make(api: Api) -> Making:
    return Making(api)


async def traces(owner: Connection[Record], *values: str | bytes) -> set[str]:
    """The tables in which one of these values stands in any column, as text or in binary."""
    tables = await owner.fetch(
        "select format('%I.%I', n.nspname, c.relname) as name from pg_class c join pg_namespace n"
        " on n.oid = c.relnamespace where c.relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'pg_toast',"
        " 'information_schema')"
    )
    assert len(tables) > 25
    # A row as text shows binary columns as hexadecimal digits.
    sought = [form for value in values for form in _forms(value)]
    found = set[str]()
    for table in tables:
        query = f"select exists (select from {table['name']} t, unnest($1::text[]) s where strpos(t::text, s) > 0)"
        if await owner.fetchval(query, sought):
            found.add(table["name"])
    return found


def _forms(value: str | bytes) -> list[str]:
    return [value.hex()] if isinstance(value, bytes) else [value, value.encode().hex()]


async def billed(api: Api, make: Making) -> dict[str, Any]:
    """Ada has used, changed her address, was warned, and got an invoice."""
    meter = await make.meter()
    product = await make.product(meter["id"])
    await make.customer(customer_id="ada", **{**PERSON, "name": "Somebody"})
    subscription = await make.subscription("ada", product["product_id"], billing=ADDRESS)
    path = f"/subscriptions/{subscription['subscription_id']}"
    assert (await api.patch("/customers/ada", json={"name": PERSON["name"]})).status_code == 200
    assert (await api.patch(path, json={"billing": {**ADDRESS, "state": "London"}})).status_code == 200
    about = {"customer_id": "ada", "kind": "quantity", "meter_id": meter["id"], "threshold": "1"}
    await make.post("/alerts", about, 201)
    await make.post("/customer-tokens", {"customer_id": "ada"}, 201)
    await api.ingest(*(make.event(number) for number in range(5)))
    await api.project()
    api.clock.advance(days=30)
    return await make.post(f"{path}/close-cycle", {}, 200)


async def test_nothing_of_a_person_is_left_and_everything_else_is_as_it_was(
    api: Api, make: Making, owner: Connection[Record]
) -> None:
    tenant_id = api.caller.tenant_id
    invoice = await billed(api, make)
    printed = f"/invoices/{invoice['invoice_id']}.pdf"
    assert PERSON["name"] in " ".join(texts((await api.get(printed)).content))
    # Sealed, she is in no table in clear even now; her key is in one.
    secret = (await keys_of(owner, tenant_id, ["ada"]))["ada"].secret
    assert secret is not None
    assert await traces(owner, *CLEAR) == set()
    assert await traces(owner, secret) == {"kept.customer_key"}
    before = await recomputed_digest(api.service, tenant_id)

    erased = await api.delete("/customers/ada/personal-data")

    at = "2026-04-09T12:00:00.000000Z"
    assert erased.status_code == 200, erased.text
    told = {field: erased.json()[field] for field in ("email", "name", "phone_number", "erased_at")}
    assert told == {"email": "", "name": "", "phone_number": None, "erased_at": at}
    assert await traces(owner, *CLEAR, secret) == set()
    assert (await api.get("/customers", params={"name": "Augusta"})).json() == {"items": []}
    subscription = (await api.get(f"/subscriptions/{invoice['subscription_id']}")).json()
    assert (subscription["billing"], subscription["customer"]["email"]) == ({}, "")
    (text,) = texts((await api.get(printed)).content)
    assert "Personal data erased" in text
    assert not any(value in text for value in CLEAR)
    # The invoice is the same to the byte, the chain goes on from where it was, and the read models follow from it.
    assert (await api.get(f"/invoices/{invoice['invoice_id']}")).json() == invoice
    assert await recomputed_digest(api.service, tenant_id) == (await head(owner, tenant_id)).digest != before
    assert await rebuild(owner, lambda *_: None, swap=False) == []


async def test_the_look_through_all_tables_finds_what_is_there(
    api: Api, make: Making, owner: Connection[Record]
) -> None:
    """Metadata is the sender's own and is not sealed, so it is found: in the log, and in the read models."""
    await make.customer(customer_id="bob", metadata={"note": "Robert Roe"})
    assert {table.partition(".")[2] for table in await traces(owner, "Robert Roe")} == {"domain_event", "customer"}


async def test_the_log_says_who_erased_and_when_and_erasing_again_changes_nothing(api: Api, make: Making) -> None:
    await make.customer(customer_id="ada")
    assert await erase_customer(api.service, api.caller, "ada")
    (commit,) = (await api.get("/log/commits", params={"page_size": 1})).json()["items"]
    assert commit["origin"] == {"key_id": api.caller.key_id, "from": "test", "command": COMMAND, "via": "key"}
    first = (await api.get("/customers/ada")).json()
    api.clock.advance(seconds=1)
    assert not await erase_customer(api.service, api.caller, "ada")
    assert (await api.delete("/customers/ada/personal-data")).json() == first
    assert (await api.get("/log/head")).json()["position"] == commit["last_position"]
    last = (await facts_of(api.service.pool, api.caller.tenant_id, Customer.stream("ada")))[-1]
    assert isinstance(last, Customer.PersonalDataErased)


async def test_fields_that_are_set_later_get_a_new_key_and_the_old_ones_stay_gone(
    api: Api, make: Making, owner: Connection[Record]
) -> None:
    invoice = await billed(api, make)
    await api.delete("/customers/ada/personal-data")
    # What is not personal makes no key.
    assert (await api.patch("/customers/ada", json={"metadata": {"a": 1}})).status_code == 200
    assert (await keys_of(owner, api.caller.tenant_id, ["ada"]))["ada"].secret is None
    changed = await api.patch("/customers/ada", json={"email": "new@mail.example"})
    assert (changed.json()["email"], changed.json()["name"]) == ("new@mail.example", "")
    assert changed.json()["erased_at"]
    # What the old key sealed is read as erased, not as an error.
    assert (await api.get(f"/subscriptions/{invoice['subscription_id']}")).json()["billing"] == {}
    (text,) = texts((await api.get(f"/invoices/{invoice['invoice_id']}.pdf")).content)
    assert "Personal data erased" in text
    assert "new@mail.example" not in text
    # The new fields can be erased as well.
    api.clock.advance(seconds=1)
    again = (await api.delete("/customers/ada/personal-data")).json()
    assert again["email"] == ""
    assert again["erased_at"] > changed.json()["erased_at"]


async def test_an_address_alone_is_erased_too(api: Api, make: Making, owner: Connection[Record]) -> None:
    product = await make.product((await make.meter())["id"])
    await make.customer(customer_id="ada")
    await erase_customer(api.service, api.caller, "ada")
    made = await make.subscription("ada", product["product_id"], billing=ADDRESS)
    path = f"/subscriptions/{made['subscription_id']}"
    assert (await api.get(path)).json()["billing"] == ADDRESS
    assert await erase_customer(api.service, api.caller, "ada")
    assert (await api.get(path)).json()["billing"] == {}


async def test_updates_and_erasures_at_once_leave_one_or_the_other(api: Api, make: Making) -> None:
    await make.customer(customer_id="ada")
    requests = [api.patch("/customers/ada", json={"email": f"{number}@mail.example"}) for number in range(6)]
    requests += [api.delete("/customers/ada/personal-data") for _ in range(4)]
    answered: list[httpx.Response] = await asyncio.gather(*requests[::2], *requests[1::2])
    assert [one.status_code for one in answered] == [200] * 10
    last = (await facts_of(api.service.pool, api.caller.tenant_id, Customer.stream("ada")))[-1]
    found = (await api.get("/customers/ada")).json()["email"]
    assert (found == "") == isinstance(last, Customer.PersonalDataErased)


@pytest.mark.parametrize(
    ("typed", "flags", "status"), [("bob\n", [], 2), ("", [], 2), ("ada\n", [], 0), ("", ["--yes"], 0)]
)
async def test_at_a_terminal_who_types_the_id_erases_and_stands_in_the_log(
    api: Api, make: Making, dsn: str, monkeypatch: pytest.MonkeyPatch, typed: str, flags: list[str], status: int
) -> None:
    await make.customer(customer_id="ada")
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    asked = ["erase-customer", "ada", "--tenant", api.caller.tenant_id, "--database-url", dsn, *flags]
    assert await erase_personal_data(parser().parse_args(asked), {}) == status
    assert ((await api.get("/customers/ada")).json()["email"] == "") == (status == 0)
    (commit,) = (await api.get("/log/commits", params={"page_size": 1})).json()["items"]
    erased = (commit["origin"]["command"], commit["origin"]["via"]) == (COMMAND, "command_line")
    assert erased == (status == 0)
    if erased:
        account, _, machine = commit["origin"]["from"].partition("@")
        assert (account, machine) == (getpass.getuser(), socket.gethostname())


async def test_an_unknown_customer_and_one_of_another_tenant_are_not_found(
    api: Api, make: Making, caller: Caller
) -> None:
    await make.customer(customer_id="ada")
    with pytest.raises(NotFound):
        await erase_customer(api.service, caller, "ada")
    refused = await api.delete("/customers/nobody/personal-data")
    assert (refused.status_code, refused.json()["code"]) == (404, "CUSTOMER_NOT_FOUND")
    assert (await api.get("/customers/ada")).json()["email"]
