"""Reading alerts and their firings from the read models."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal

import msgspec

from app.service import Service
from domain import instant
from domain.alert import Target
from projections.database import Database, Row
from projections.statements import load

SQL = load("app.sql", "alert.sql")


class StandingAlert(msgspec.Struct, frozen=True):
    """An alert that is not deleted. Without ``subscription_id`` it holds for all of the customer's."""

    alert_id: str
    subscription_id: str | None
    target: Target
    threshold: Decimal

    @property
    def rank(self) -> tuple[str, str, str, Decimal, str]:
        """Its place in the order of firing: thresholds of one target rise."""
        target = self.target
        return target.kind, target.meter_id or "", target.credit_entitlement_id or "", self.threshold, self.alert_id

    def concerns(self, subscription_id: str) -> bool:
        """Whether it holds for a subscription of its customer."""
        return self.subscription_id in (None, subscription_id)


class AlertFiring(msgspec.Struct, frozen=True):
    """That a threshold was reached in a cycle, as it is on the wire. ``position`` is where the log says so.

    ``threshold`` and ``value`` are plain decimal text, in the unit of the alert's kind.
    """

    position: int
    alert_id: str
    customer_id: str
    subscription_id: str
    kind: str
    meter_id: str | None
    credit_entitlement_id: str | None
    threshold: str
    value: str
    cycle_start: str
    cycle_end: str
    fired_at: str


async def standing_alerts(database: Database, tenant_id: str, customer_id: str) -> list[StandingAlert]:
    """A customer's alerts, in the order in which they fire."""
    return (await standing_alerts_of(database, tenant_id, [customer_id]))[customer_id]


async def standing_alerts_of(
    database: Database, tenant_id: str, customer_ids: Collection[str]
) -> dict[str, list[StandingAlert]]:
    """The alerts of each of these customers, in the order in which they fire."""
    found: dict[str, list[StandingAlert]] = {customer_id: [] for customer_id in customer_ids}
    for row in await database.fetch(SQL["alerts_of_customers"], tenant_id, list(found)):
        alert = StandingAlert(
            alert_id=row["alert_id"],
            subscription_id=row["subscription_id"],
            target=msgspec.convert(
                {field: row[field] for field in Target.__struct_fields__},
                Target,
            ),
            threshold=Decimal(row["threshold"]),
        )
        found[row["customer_id"]].append(alert)
    return {customer_id: sorted(alerts, key=lambda alert: alert.rank) for customer_id, alerts in found.items()}


async def alerts_after(
    service: Service, tenant_id: str, customer_id: str | None, after: int, until: int, limit: int
) -> list[AlertFiring]:
    """What fired in the positions ``(after, until]``, of one customer or of all, in order; at most ``limit``."""
    if customer_id is None:
        rows = await service.pool.fetch(SQL["firings_after"], tenant_id, after, until, limit)
    else:
        rows = await service.pool.fetch(SQL["firings_of_customer_after"], tenant_id, after, until, limit, customer_id)
    return [firing_of(row) for row in rows]


def firing_of(row: Row) -> AlertFiring:
    """A row of the ``alert_firing`` read model."""
    return AlertFiring(
        position=row["position"],
        alert_id=row["alert_id"],
        customer_id=row["customer_id"],
        subscription_id=row["subscription_id"],
        kind=row["kind"],
        meter_id=row["meter_id"],
        credit_entitlement_id=row["credit_entitlement_id"],
        threshold=row["threshold"],
        value=row["value"],
        cycle_start=instant.text(row["cycle_start"]),
        cycle_end=instant.text(row["cycle_end"]),
        fired_at=instant.text(row["fired_at"]),
    )
