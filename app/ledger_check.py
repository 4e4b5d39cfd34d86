"""Proving the ledgers: every credit account and wallet of every tenant, replayed, added up and compared."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from app.crediting import account_view
from app.keys import system_caller
from app.reading_log import reading
from app.service import Caller, Service
from app.wallets import SQL
from domain import credit_ledger, wallet
from domain.wallet import Wallet
from projections.aggregates import Aggregates, known
from projections.database import Row

CHECK_PAGE = 100
"""Ledgers of one snapshot: what is replayed for them is held until the next."""


class Checked(msgspec.Struct, frozen=True):
    """One ledger and what is wrong with it, in sentences; nothing when all is well."""

    kind: str
    name: str
    problems: list[str]


class Summary(msgspec.Struct):
    """What a check has seen, and the first problem that it found."""

    counts: dict[str, int]
    wrong: int = 0
    first: str | None = None

    def text(self) -> str:
        """In a line, for a person."""
        counts = " and ".join(f"{count} {kind}" for kind, count in self.counts.items())
        if self.first is None:
            return f"{counts} checked; every ledger adds up"
        return f"{counts} checked; {self.wrong} do not add up. The first is the {self.first}"


async def check_ledgers(service: Service) -> Summary:
    """Check every ledger of every tenant."""
    summary = Summary(dict.fromkeys((ledgers.kind for ledgers in LEDGERS), 0))
    for row in await service.pool.fetch(SQL["tenants"]):
        async for checked in check_tenant(service, system_caller(row["tenant_id"])):
            summary.counts[checked.kind] += 1
            if checked.problems:
                summary.wrong += 1
                summary.first = summary.first or f"{checked.name}, tenant {row['tenant_id']}: {checked.problems[0]}"
    return summary


async def check_tenant(service: Service, caller: Caller) -> AsyncIterator[Checked]:
    """Check every ledger of a tenant, a page of them in one snapshot."""
    for ledgers in LEDGERS:
        after = ("", "")
        while True:
            async with reading(service, caller, latest=True) as aggregates:
                rows = await aggregates.database.fetch(SQL[ledgers.statement], caller.tenant_id, *after, CHECK_PAGE)
                found = [await ledgers.check(aggregates, row) for row in rows]
            for checked in found:
                yield checked
            if len(rows) < CHECK_PAGE:
                break
            after = (rows[-1][ledgers.key[0]], rows[-1][ledgers.key[1]])


async def _check_account(aggregates: Aggregates, row: Row) -> Checked:
    view = await account_view(aggregates, row["credit_entitlement_id"], row["customer_id"])
    return Checked(
        "credit accounts",
        f"account of credit entitlement {row['credit_entitlement_id']}, customer {row['customer_id']}",
        credit_ledger.check(view.account, view.settlement, view.at),
    )


async def _check_wallet(aggregates: Aggregates, row: Row) -> Checked:
    found = known(await aggregates.find(Wallet, Wallet.wallet_id(row["customer_id"], row["currency"])))
    problems = wallet.check(found)
    if row["balance"] != found.balance:
        problems.append(f"the read model says {row['balance']}, the entries say {found.balance}")
    return Checked("wallets", f"wallet in {row['currency']}, customer {row['customer_id']}", problems)


class Ledgers(msgspec.Struct, frozen=True):
    """A kind of ledger, and how all of a tenant are found, in the order of their key."""

    kind: str
    statement: str
    key: tuple[str, str]
    check: Callable[[Aggregates, Row], Awaitable[Checked]]


LEDGERS = (
    Ledgers("credit accounts", "credit_accounts_after", ("credit_entitlement_id", "customer_id"), _check_account),
    Ledgers("wallets", "wallets_after", ("customer_id", "currency"), _check_wallet),
)
