"""What the tests of alerts share: setting one, looking, and what fired."""

from __future__ import annotations

from decimal import Decimal

from app.alerting.firing import look_at
from app.alerting.rows import SQL, AlertFiring, alerts_after
from app.alerting.watch import Watch
from app.identity import new_id
from app.projecting import project_all
from app.transaction import transaction
from domain.alert import Alert, AlertKind, Target
from projections.log_reader import END
from tests.app.shop import Shop


async def set_alert(
    shop: Shop,
    threshold: str,
    kind: AlertKind = AlertKind.quantity,
    *,
    subscription_id: str | None = None,
    customer_id: str = "ada",
    meter_id: str = "calls",
) -> str:
    """An alert of the customer, or of one subscription."""
    alert_id = new_id("alt")
    target = Target(
        kind=kind,
        meter_id=meter_id if kind.needs_meter else None,
        credit_entitlement_id="sms" if kind is AlertKind.credit_percent else None,
    )
    async with transaction(shop.service, shop.caller, "alert.create") as running:
        running.add(
            Alert.create(
                alert_id,
                customer_id=customer_id,
                subscription_id=subscription_id,
                target=target,
                threshold=Decimal(threshold),
                at=running.now,
            )
        )
    return alert_id


async def fired(shop: Shop, customer_id: str | None = None) -> list[AlertFiring]:
    """Everything that fired, in order."""
    return await alerts_after(shop.service, shop.tenant_id, customer_id, 0, END, 1_000)


async def said(shop: Shop) -> list[tuple[str, str]]:
    """Threshold and value of everything that fired, in order."""
    return [(firing.threshold, firing.value) for firing in await fired(shop)]


async def look(shop: Shop, customer_id: str = "ada") -> int:
    """Project, and look at one customer."""
    await project_all(shop.service)
    return await look_at(shop.service, shop.caller, customer_id)


async def looked_until(shop: Shop) -> int:
    """The checkpoint."""
    rows = await shop.service.pool.fetch(SQL["behind"])
    return next(row["looked"] for row in rows if row["tenant_id"] == shop.tenant_id)


async def watched(shop: Shop, watch: Watch | None = None) -> None:
    """Project, and let a watch look at everything."""
    await project_all(shop.service)
    await (watch or Watch(shop.service)).look()
