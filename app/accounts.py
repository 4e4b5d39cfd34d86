"""Finding the credit accounts of a customer."""

from __future__ import annotations

from domain.credit_account import CreditAccount
from domain.entitlement import Entitlement
from projections.aggregates import Aggregates


async def account_for(aggregates: Aggregates, entitlement: Entitlement, customer_id: str) -> CreditAccount:
    """The customer's account of an entitlement; a new one when there is none yet."""
    account_id = CreditAccount.account_id(entitlement.object_id, customer_id)
    account = await aggregates.find(CreditAccount, account_id)
    if account is None:
        account = CreditAccount.open(entitlement.object_id, customer_id, entitlement.precision, aggregates.now)
        aggregates.add(account)
    return account


async def accounts_of(aggregates: Aggregates, customer_id: str) -> list[CreditAccount]:
    """The customer's credit accounts as known at the position, and those opened here, by entitlement."""
    for entitlement_id in await aggregates.credited_entitlements(customer_id):
        await aggregates.find(CreditAccount, CreditAccount.account_id(entitlement_id, customer_id))
    held = [account for account in aggregates.held(CreditAccount) if account.customer_id == customer_id]
    return sorted(held, key=lambda account: account.entitlement_id)
