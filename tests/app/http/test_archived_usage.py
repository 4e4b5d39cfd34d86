"""What is answered once a month of usage is retired: what needs its rows is 410 and says where they are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import httpx
import pytest

from app.audit.archive.reading import Archive
from app.audit.archive.retiring import bring_back
from app.audit.archive.streaming import owner_of
from app.audit.signing_key import make_key
from app.engine.launcher import Engine
from app.keys import create_key, system_caller
from app.operating import Operating
from domain.invoice import Document
from tests.app.audit.archive.history import MONTH, Old, long_open, retire_march
from tests.app.shop import MARCH, Shop
from tests.conftest import application, serving

USED = MARCH + timedelta(hours=18, minutes=40)
"""When Kim used something: in the hour that the beginning of Kim's first cycle cuts, midnight in Kolkata."""


@dataclass(frozen=True)
class Retired:
    """A shop whose first month is retired, its API, and the first invoices of Ada, by whole hours, and of Kim."""

    old: Old
    api: httpx.AsyncClient
    ada: Document
    kim: Document

    async def bring_back(self) -> None:
        async with owner_of(self.old.dsn) as owner:
            archive = Archive(self.old.archive)
            assert await bring_back(owner, self.old.shop.service, archive, MONTH, lambda *_: None)


async def kim(shop: Shop) -> None:
    await shop.customer("kim", "Asia/Kolkata")
    await shop.subscribe("kim", anchor=date(2026, 3, 2))
    await shop.use(USED, customer_id="kim")


@pytest.fixture(scope="module")
async def retired(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Retired]:
    directory = tmp_path_factory.mktemp("retired")
    async with long_open(engine, directory, in_first=kim) as old:
        closed = await old.shop.close_due()
        await retire_march(old)
        _, secret = await create_key(old.shop.service, system_caller(old.shop.tenant_id), scope="write")
        headers = {"Authorization": f"Bearer {secret}"}
        transport = httpx.ASGITransport(app=serving(old.shop.service))
        state = application()[0].state
        state.operating = replace(Operating(), signing_key=directory / "key.pem")
        make_key(directory / "key.pem")
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as api:
            yield Retired(old, api, old.invoice, closed[0])
        state.operating = Operating()


def questions(retired: Retired) -> dict[str, tuple[str, dict[str, Any]]]:
    """What needs rows of the month, by what it is called."""
    usage, kim = "/meters/calls/usage", f"/invoices/{retired.kim.invoice_id}"
    hours = {"start": "2026-03-01T00:00:00Z", "end": "2026-03-02T00:00:00Z"}
    then = {"as_of": retired.kim.position}
    return {
        "usage that cuts an hour": (usage, {**hours, "customer_id": "kim", "start": "2026-03-01T18:30:00Z"}),
        "usage by group": (usage, {**hours, "customer_id": "kim", "group_by": "n"}),
        "usage as it was known": (usage, {**hours, **then}),
        "estimate as it was known": (f"/subscriptions/{retired.kim.subscription_id}/estimate", then),
        "events": ("/events", {"start": "2026-03-01T00:00:00Z"}),
        "events of a customer": ("/events", {"start": "2026-03-01T00:00:00Z", "customer_id": "kim"}),
        "event": ("/events/e0", {}),
        "explanation of a cycle that cuts an hour": (f"{kim}/explain", {}),
        "events behind a line": (f"{kim}/explain/2/events", {}),
        "proof": (f"{kim}/proof", {}),
        "proof of a cycle of whole hours": (f"/invoices/{retired.ada.invoice_id}/proof", {}),
    }


async def test_what_needs_the_rows_is_gone_and_says_what_brings_them_back(retired: Retired) -> None:
    for what, (path, asked) in questions(retired).items():
        answered = await retired.api.get(path, params=asked)
        assert (answered.status_code, answered.json()["code"]) == (410, "USAGE_ARCHIVED"), (what, answered.text)
        told = answered.json()["message"]
        assert "recorded in 2026-03" in told, what
        assert "`taximeter audit bring-back` puts it back" in told, what


async def test_of_a_service_without_a_signing_key_the_same_is_said(retired: Retired) -> None:
    """A key alone would bring no proof."""
    state = application()[0].state
    keyed = state.operating
    state.operating = Operating()
    try:
        answered = await retired.api.get(f"/invoices/{retired.kim.invoice_id}/proof")
    finally:
        state.operating = keyed
    assert (answered.status_code, answered.json()["code"]) == (410, "USAGE_ARCHIVED")


async def test_what_rests_on_whole_hours_is_answered(retired: Retired) -> None:
    hours = {"customer_id": "kim", "start": "2026-03-01T18:00:00Z", "end": "2026-03-01T19:00:00Z"}
    assert (await retired.api.get("/meters/calls/usage", params=hours)).json()["quantity"] == "1"
    explained = (await retired.api.get(f"/invoices/{retired.ada.invoice_id}/explain")).json()
    assert (explained["agrees"], explained["total_amount"]) == (True, retired.ada.total_amount)
    assert (await retired.api.get(f"/subscriptions/{retired.kim.subscription_id}/estimate")).status_code == 200
    newest = (await retired.api.get("/events")).json()["items"]
    assert [event["event_id"] for event in newest] == ["e13"]


async def test_brought_back_everything_is_answered_again(retired: Retired) -> None:
    await retired.bring_back()
    for what, (path, asked) in questions(retired).items():
        answered = await retired.api.get(path, params=asked)
        assert answered.status_code == 200, (what, answered.text)
    await retire_march(retired.old)
