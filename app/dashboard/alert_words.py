"""Alerts in words: what they look at, at which threshold, and what fired."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from app.alerting.rows import AlertFiring
from app.dashboard.wording import money, number
from app.http.included_credits import read_terms
from app.http.meters import SQL as CATALOG_SQL
from domain.alert import AlertKind
from projections.database import Database, Row
from projections.statements import load

SQL = load("app.sql", "dashboard_customers.sql")


class AlertShown(msgspec.Struct, frozen=True):
    """An alert as a page shows it. Without ``subscription_id`` it holds for each subscription of the customer."""

    alert_id: str
    customer_id: str
    subscription_id: str | None
    what: str
    threshold: str
    created_at: datetime


class FiringShown(msgspec.Struct, frozen=True):
    """What fired: the ``value`` that reached the ``threshold``."""

    customer_id: str
    subscription_id: str
    what: str
    threshold: str
    value: str
    cycle_start: str
    fired_at: str


class _Names(msgspec.Struct, frozen=True):
    """What alerts refer to, by id: a meter's name and unit, an entitlement's name, a subscription's currency.

    A customer has a currency here when all of its subscriptions have the same.
    """

    meters: Mapping[str, tuple[str, str]]
    entitlements: Mapping[str, str]
    currencies: Mapping[str, str]
    customer_currencies: Mapping[str, str]

    def what(self, kind: AlertKind, meter_id: str | None, entitlement_id: str | None) -> str:
        """What the threshold is compared with."""
        name, _ = self.meters.get(meter_id or "", (meter_id or "", ""))
        match kind:
            case AlertKind.quantity:
                return f"{name} used"
            case AlertKind.free_percent:
                return f"{name}, share of the free threshold"
            case AlertKind.credit_percent:
                return f"{self.entitlements.get(entitlement_id or '', entitlement_id)}, share of the credits"
            case AlertKind.amount:
                return "Cost of the cycle"

    def value(self, kind: AlertKind, text: str, meter_id: str | None, owner: tuple[str, str | None]) -> str:
        """A threshold or a value with its unit; ``owner`` is a customer and, where known, its subscription."""
        if kind in (AlertKind.free_percent, AlertKind.credit_percent):
            return f"{number(text)} %"
        if kind is AlertKind.quantity:
            return f"{number(text)} {self.meters.get(meter_id or '', ('', ''))[1]}".strip()
        customer_id, subscription_id = owner
        known = (
            self.customer_currencies.get(customer_id)
            if subscription_id is None
            else self.currencies.get(subscription_id)
        )
        return (
            f"{number(text)} minor units of the subscription's currency" if known is None else money(int(text), known)
        )


async def _names(database: Database, tenant_id: str, found: Sequence[Mapping[str, Any]]) -> _Names:
    async def rows(statement: str, field: str) -> Iterable[Row]:
        ids = sorted({one[field] for one in found if one[field] is not None})
        return await database.fetch(statement, tenant_id, ids) if ids else []

    meters = await rows(CATALOG_SQL["meters_by_id"], "meter_id")
    entitlements = await rows(CATALOG_SQL["credit_entitlements_by_id"], "credit_entitlement_id")
    subscriptions = await rows(SQL["currencies"], "subscription_id")
    customers = await rows(SQL["customer_currencies"], "customer_id")
    return _Names(
        meters={row["meter_id"]: (row["name"], row["measurement_unit"]) for row in meters},
        entitlements={row["credit_entitlement_id"]: read_terms(row).name for row in entitlements},
        currencies={row["subscription_id"]: row["currency"] for row in subscriptions},
        customer_currencies={row["customer_id"]: row["currency"] for row in customers},
    )


async def alerts_shown(database: Database, tenant_id: str, rows: Sequence[Row]) -> list[AlertShown]:
    """Rows of the ``alert`` read model in words."""
    fields = ("meter_id", "credit_entitlement_id", "customer_id", "subscription_id")
    names = await _names(database, tenant_id, [{field: row[field] for field in fields} for row in rows])
    return [
        AlertShown(
            alert_id=row["alert_id"],
            customer_id=row["customer_id"],
            subscription_id=row["subscription_id"],
            what=names.what(AlertKind(row["kind"]), row["meter_id"], row["credit_entitlement_id"]),
            threshold=names.value(
                AlertKind(row["kind"]), row["threshold"], row["meter_id"], (row["customer_id"], row["subscription_id"])
            ),
            created_at=row["created_at"],
        )
        for row in rows
    ]


async def firings_shown(database: Database, tenant_id: str, firings: Sequence[AlertFiring]) -> list[FiringShown]:
    """What fired, in words."""
    names = await _names(database, tenant_id, [msgspec.structs.asdict(one) for one in firings])

    def shown(one: AlertFiring) -> FiringShown:
        kind, owner = AlertKind(one.kind), (one.customer_id, one.subscription_id)
        return FiringShown(
            customer_id=one.customer_id,
            subscription_id=one.subscription_id,
            what=names.what(kind, one.meter_id, one.credit_entitlement_id),
            threshold=names.value(kind, one.threshold, one.meter_id, owner),
            value=names.value(kind, one.value, one.meter_id, owner),
            cycle_start=one.cycle_start,
            fired_at=one.fired_at,
        )

    return [shown(one) for one in firings]
