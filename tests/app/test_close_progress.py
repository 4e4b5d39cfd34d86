"""`taximeter close-due`: what it prints, and its exit status."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import msgspec
import pytest

from app import billing, commands
from app.close_progress import Summary
from app.due import Dealt
from app.engine.launcher import Engine
from app.service import Caller, Service
from tests.app.shop import Shop
from tests.conftest import MovingClock
from tests.projections.histories import new_database


@pytest.fixture(scope="module")
async def dsn(engine: Engine) -> str:
    """A database of their own: the command closes what is due of every tenant, also of those of other tests."""
    return await new_database(engine, "close_progress")


def summary(**changes: Any) -> Summary:
    return Summary(**({"due": 10, "subscriptions": 4, "closed": 5, "seconds": 2.0} | changes))


def test_a_line_says_how_far_it_is_and_how_long_it_takes() -> None:
    assert summary().line() == "4 of 10 subscriptions, 5 cycles closed, 2/s, 3 s left"
    failed = summary(subscriptions=10, failures=[Dealt("acme", "sub_1", 0, "ValueError: a defect")])
    assert failed.line() == "10 of 10 subscriptions, 5 cycles closed, 5/s, 1 failed"
    assert Summary(3).line() == "0 of 3 subscriptions, 0 cycles closed, 0/s"


def test_the_text_names_what_failed() -> None:
    assert summary().text() == "5 cycles closed of 4 subscriptions in 2.0 s"
    failed = summary(failures=[Dealt("acme", "sub_1", 0, "ValueError: a defect")])
    assert failed.text().splitlines()[1:] == ["acme/sub_1: ValueError: a defect"]


@pytest.fixture
async def due_since_march(service: Service, caller: Caller, clock: MovingClock) -> Shop:
    """Cycles that are due by the real clock, too."""
    shop = Shop(service, caller)
    await shop.open()
    await shop.customer()
    await shop.subscribe()
    return shop


async def run(dsn: str, *, json: bool) -> int:
    return await commands.close_what_is_due(Namespace(database_url=dsn, json=json), {})


async def test_the_command_closes_and_says_so(
    dsn: str, due_since_march: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(dsn, json=True) == 0
    out, err = capsys.readouterr()
    done = msgspec.json.decode(out, type=Summary)
    assert (done.failures, done.subscriptions) == ([], done.due)
    rows = await due_since_march.stored_invoices()
    assert rows
    assert done.closed >= len(rows)
    assert "failed" not in err
    assert await run(dsn, json=False) == 0
    assert capsys.readouterr().out.startswith("0 cycles closed of 0 subscriptions")


async def test_a_failure_is_told_and_ends_the_command_with_1(
    dsn: str, due_since_march: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def failing(*_: Any) -> Any:
        raise ValueError("a defect")

    monkeypatch.setattr(billing, "reckon", failing)
    assert await run(dsn, json=True) == 1
    out, err = capsys.readouterr()
    (dealt,) = [
        one for one in msgspec.json.decode(out, type=Summary).failures if one.tenant_id == due_since_march.tenant_id
    ]
    assert dealt.failure == "ValueError: a defect"
    assert dealt.subscription_id in err
