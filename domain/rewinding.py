"""Taking back, in memory, what the closes of some cycles made final, so that these can be settled and rated anew."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from domain.credit_account import CreditAccount
from domain.grant import Grant
from domain.plan import OpenedCycle
from domain.subscription import Subscription

MadeFor: TypeAlias = tuple[str, str, datetime]
"""The subscription, the product and the start of a cycle that a grant was made for."""


class ReopenedCycle(OpenedCycle, frozen=True, kw_only=True):
    """A cycle as if the invoice ``closed_by`` had not closed it, which was computed from the position ``priced_at``."""

    closed_by: str
    priced_at: int


class Rewound(msgspec.Struct, frozen=True):
    """The cycles of one subscription that are settled anew."""

    subscription_id: str
    cycles: Sequence[OpenedCycle]

    def holds(self, subscription_id: str, start: datetime) -> bool:
        """Whether a cycle is one of them."""
        mine = subscription_id == self.subscription_id
        return mine and any(cycle.start == start for cycle in self.cycles)

    def ends(self, subscription_id: str, at: datetime) -> bool:
        """Whether something of the subscription that ends then ends in one of them."""
        mine = subscription_id == self.subscription_id
        return mine and any(cycle.start < at <= cycle.end for cycle in self.cycles)


def reopen(subscription: Subscription, priced_at: Mapping[str | None, int]) -> None:
    """Reopen the cycles that were closed by these invoices, each known by its id with its position."""
    subscription.cycles = [
        _reopened(cycle, priced_at[cycle.invoice_id]) if cycle.invoice_id in priced_at else cycle
        for cycle in subscription.cycles
    ]


def _reopened(cycle: OpenedCycle, priced_at: int) -> ReopenedCycle:
    stated: dict[str, Any] = {**msgspec.structs.asdict(cycle), "invoice_id": None}
    return ReopenedCycle(**stated, closed_by=str(cycle.invoice_id), priced_at=priced_at)


def rewind(account: CreditAccount, rewound: Sequence[Rewound], anew: Collection[str] = ()) -> dict[MadeFor, Grant]:
    """Take back what was burned for these cycles and what was rolled over at their ends.

    Grants that products of ``anew`` made for these cycles are taken back, too, and returned: who grants anew gives the
    new ones their ids, so that what others drew on them stays drawn. Grants and debits by hand stay, and so does
    whatever other cycles burned.
    """
    account.burns = [
        burn for burn in account.burns if not any(one.holds(burn.subscription_id, burn.cycle_start) for one in rewound)
    ]
    _take_back_rollovers(account, rewound)
    taken: dict[MadeFor, Grant] = {}
    for grant in list(account.grants.values()):
        made = grant.made_for
        if made is not None and made[1] in anew and any(one.holds(made[0], made[2]) for one in rewound):
            taken[made] = account.grants.pop(grant.id)
    return taken


def _take_back_rollovers(account: CreditAccount, rewound: Sequence[Rewound]) -> None:
    """A rollover that is taken back takes with it what became of its child."""
    least: dict[str, int] = {}
    for grant in account.grants.values():
        cycle = grant.cycle
        if grant.id in account.rolled and cycle and any(one.ends(cycle.subscription_id, cycle.end) for one in rewound):
            least[grant.root_id] = min(grant.rollover_count, least.get(grant.root_id, grant.rollover_count))
    for grant in list(account.grants.values()):
        first = least.get(grant.root_id)
        if first is None or grant.rollover_count < first:
            continue
        account.rolled.pop(grant.id, None)
        if grant.rollover_count > first:
            del account.grants[grant.id]


def keep_ids(account: CreditAccount, taken: Mapping[MadeFor, Grant]) -> None:
    """Give the grants that were made anew the ids and places of those in whose stead they stand."""
    for grant in list(account.grants.values()):
        before = taken.get(grant.made_for) if grant.made_for else None
        if before is not None:
            del account.grants[grant.id]
            account.grants[before.id] = msgspec.structs.replace(grant, id=before.id, order=before.order)
