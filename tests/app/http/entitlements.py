"""Credit entitlements for tests that are about something else."""

from __future__ import annotations

from typing import Any

from app.transaction import transaction
from domain.entitlement import Entitlement, Overage, OverageBehavior, Terms


async def add_entitlement(
    api: Any,
    entitlement_id: str,
    *,
    precision: int = 2,
    invoiced: bool = False,
    deleted: bool = False,
    **terms: Any,
) -> None:
    """Declare one for the caller's tenant; ``invoiced`` is overage that is charged at billing."""
    behavior = OverageBehavior.invoice_at_billing if invoiced else OverageBehavior.forgive_at_reset
    stated: dict[str, Any] = {
        "name": "Tokens",
        "unit": "token",
        "overage": Overage(enabled=invoiced, behavior=behavior),
        **terms,
    }
    async with transaction(api.service, api.caller, "test.entitlement") as running:
        entitlement = Entitlement.create(entitlement_id, precision=precision, terms=Terms(**stated), at=running.now)
        if deleted:
            entitlement.delete(running.now)
        running.add(entitlement)


async def delete_entitlement(api: Any, entitlement_id: str) -> None:
    """Take one out of use."""
    async with transaction(api.service, api.caller, "test.entitlement") as running:
        (await running.get(Entitlement, entitlement_id)).delete(running.now)
