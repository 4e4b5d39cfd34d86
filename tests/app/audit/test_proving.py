"""Where no pack can be made: the database has lost or changed what it would show."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.database import connect_owner, open_pool
from app.engine.launcher import Engine
from domain.errors import Conflict
from tests.app.audit.packs import pack_of
from tests.app.business import a_shop
from tests.app.shop import APRIL, MARCH
from tests.conftest import MovingClock
from tests.projections.histories import new_database

WIDER_STATE = "update log.domain_event set state = state || ' '::bytea where tenant_id = $1 and kind = 'meter.created'"


@pytest.fixture(scope="module")
async def dsn(engine: Engine) -> str:
    """A database of its own: what is tampered with here would be found by other tests."""
    return await new_database(engine, "tampered")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("delete from log.usage_event where tenant_id = $1 and event_id = 'e1'", "EVENTS_NOT_THERE"),
        ("update log.usage_event set metadata = '{}' where tenant_id = $1 and event_id = 'e1'", "LOG_DAMAGED"),
        (WIDER_STATE, "LOG_DAMAGED"),
    ],
)
async def test_of_a_log_that_was_tampered_with_no_pack_is_made(
    dsn: str, tmp_path: Path, change: str, code: str
) -> None:
    clock = MovingClock()
    async with open_pool(dsn) as pool:
        shop = await a_shop(pool, clock)
        await shop.open()
        subscription_id = await shop.subscribe()
        await shop.use(MARCH, MARCH, MARCH)
        clock.now = APRIL
        document = await shop.close(subscription_id)
        owner = await connect_owner(dsn)
        await owner.execute("set session_replication_role = replica")
        await owner.execute(change, shop.tenant_id)
        await owner.close()
        with pytest.raises(Conflict) as refused:
            await pack_of(shop, document.invoice_id, tmp_path / "pack")
    assert refused.value.code == code
