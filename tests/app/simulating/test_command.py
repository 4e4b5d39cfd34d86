"""``taximeter simulate``: a file in, a table or lines of JSON out."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.__main__ import parser
from app.projecting import project_all
from app.settings import TENANT
from app.simulating.command import run_simulation
from domain.errors import Invalid
from tests.app.shop import APRIL, MARCH, Shop
from tests.conftest import MovingClock


def write(path: Path, body: Any) -> None:
    path.write_bytes(body if isinstance(body, bytes) else msgspec.json.encode(body))


async def run(dsn: str, shop: Shop, path: Path, body: Any, *flags: str) -> int:
    write(path, body)
    given = ["simulate", str(path), "--database-url", dsn, TENANT.flag, shop.tenant_id, "--full-speed", *flags]
    return await run_simulation(parser().parse_args(given), {})


async def a_march(shop: Shop, clock: MovingClock) -> None:
    """Ada made 12 calls in March and was invoiced for 10 at half a cent."""
    subscription_id = await shop.subscribe()
    await shop.use(*[MARCH + timedelta(days=1, seconds=second) for second in range(12)])
    clock.now = APRIL + timedelta(hours=2)
    await shop.close(subscription_id, MARCH)
    await project_all(shop.service)


MARCH_AT_TWO_CENTS = {
    "products": [{"product_id": "api", "meters": [{"meter_id": "calls", "price_per_unit": "2", "free_threshold": 2}]}],
    "end": "2026-04-02T00:00:00Z",
}


async def test_a_table_of_who_pays_more(
    dsn: str, shop: Shop, clock: MovingClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await a_march(shop, clock)
    assert await run(dsn, shop, tmp_path / "proposal.json", MARCH_AT_TWO_CENTS) == 0
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert any("ada │ USD │ 0.05 │ 0.20 │ 0.15" in row for row in rows), rows
    assert any("1 pay more, 0 less, 0 the same │ USD │ 0.05 │ 0.20 │ 0.15" in row for row in rows), rows


async def test_lines_of_json_as_the_api_answers_them(
    dsn: str, shop: Shop, clock: MovingClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await a_march(shop, clock)
    body = MARCH_AT_TWO_CENTS
    assert await run(dsn, shop, tmp_path / "proposal.json", body, "--json", "--detail", "invoices") == 0
    begun, customer, _, totals = [msgspec.json.decode(line) for line in capsys.readouterr().out.splitlines()]
    assert (begun["type"], totals["type"], totals["invoices_reproduced"]) == ("begun", "totals", 1)
    assert customer["cycles"][0]["proposed"]["lines"][0]["amount"] == 20


async def test_an_invoice_that_is_not_reproduced_is_told_and_is_the_exit_status(
    dsn: str, shop: Shop, clock: MovingClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await a_march(shop, clock)
    await shop.use(APRIL - timedelta(seconds=1), APRIL - timedelta(seconds=2))
    await project_all(shop.service)
    assert await run(dsn, shop, tmp_path / "proposal.json", {"end": "2026-04-02T00:00:00Z"}) == 1
    assert "1 of 1 invoices are not what these prices give now" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("body", [b"{", b'{"products": 1}', b'{"prodcts": []}'])
async def test_a_file_that_is_no_proposal_is_refused(dsn: str, shop: Shop, tmp_path: Path, body: bytes) -> None:
    with pytest.raises(Invalid):
        await run(dsn, shop, tmp_path / "proposal.json", body)
