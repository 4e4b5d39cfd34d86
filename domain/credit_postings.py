"""What moves in the ledger of a credit account for each fact and each running claim, before it is put in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from enum import IntEnum, StrEnum

import msgspec

from domain import instant, number
from domain.burn import Burn, BurnLine, Draw, LineKey
from domain.claim import Claim
from domain.credit_account import CreditAccount
from domain.entitlement import OverageBehavior
from domain.settlement import Settlement

AVAILABLE = "available:"
"""The account of a grant's credits is this and the grant's id."""

OVERAGE = "overage"
"""What is outstanding stands below 0 here."""


class TransactionType(StrEnum):
    """Why credits moved, as written on the wire. Of the contract's types these happen here."""

    credit_added = "credit_added"
    credit_deducted = "credit_deducted"
    credit_expired = "credit_expired"
    credit_rolled_over = "credit_rolled_over"
    rollover_forfeited = "rollover_forfeited"
    overage_charged = "overage_charged"
    overage_reset = "overage_reset"
    returned = "refund"


class Posting(msgspec.Struct, frozen=True):
    """Credits into an account, or out of it when negative."""

    account: str
    amount: Decimal


class Phase(IntEnum):
    """The order of what happens at one instant: a cycle ends before the next begins."""

    cycle_end = 1
    rollover = 2
    expiry = 3
    beginning = 4
    entry = 5


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One movement without its balances.

    ``version`` is the fact's place among facts; ``repayable`` is what it adds to the overage that grants repay.
    """

    id: str
    at: datetime
    phase: Phase
    version: int
    transaction_type: TransactionType
    postings: tuple[Posting, ...]
    is_final: bool = True
    repayable: Decimal = Decimal(0)
    reference_type: str | None = None
    reference_id: str | None = None
    reason: str | None = None
    metadata: str = "{}"


RUNNING = 1 << 62
"""The version of what is not recorded: after every fact."""


def entries(account: CreditAccount, settlement: Settlement, at: datetime) -> list[Entry]:
    """Everything but rollovers, lapses and repayments, in order. Among equals what was noted first comes first."""
    noted = [*_grants(settlement, at), *_debits(account), *_burns(account, settlement, at)]
    return sorted(noted, key=lambda entry: (entry.at, entry.phase, entry.version))


def available(grant_id: str) -> str:
    """The account of a grant."""
    return AVAILABLE + grant_id


def negated(postings: Iterable[Posting]) -> tuple[Posting, ...]:
    """The same movement backwards."""
    return tuple(Posting(posting.account, posting.amount.copy_negate()) for posting in postings)


def moved(source: str, target: str, amount: Decimal) -> tuple[Posting, Posting]:
    """Both sides of moving an amount."""
    return Posting(source, amount.copy_negate()), Posting(target, amount)


def _grants(settlement: Settlement, at: datetime) -> Iterator[Entry]:
    for grant in settlement.grants.values():
        if grant.parent_grant_id is None and grant.begins <= at:
            yield Entry(
                id=grant.id,
                at=grant.begins,
                phase=Phase.beginning,
                version=grant.order,
                transaction_type=TransactionType.credit_added,
                postings=moved("issued", available(grant.id), grant.amount),
                reference_type="subscription" if grant.source_id else None,
                reference_id=grant.source_id,
                reason=grant.reason,
                metadata=grant.metadata,
            )


def _debits(account: CreditAccount) -> Iterator[Entry]:
    for debit in account.debits:
        yield Entry(
            id=debit.entry_id,
            at=debit.at,
            phase=Phase.entry,
            version=debit.version,
            transaction_type=TransactionType.credit_deducted,
            postings=_taken(debit.draws, Decimal(0)),
            reason=debit.reason,
            metadata=debit.metadata,
        )


def _taken(draws: Iterable[Draw], overage: Decimal) -> tuple[Posting, ...]:
    """Credits consumed: out of grants, and out of overage for what is counted beyond them."""
    sources = [Posting(available(draw.grant_id), draw.amount.copy_negate()) for draw in draws]
    if overage:
        sources.append(Posting(OVERAGE, overage.copy_negate()))
    return (*sources, Posting("consumed", number.total(source.amount for source in sources).copy_negate()))


class _History(msgspec.Struct):
    """How often a line was burned so far, and when that last changed."""

    burned: int
    last: datetime


def _burns(account: CreditAccount, settlement: Settlement, at: datetime) -> Iterator[Entry]:
    """A line's first burn stands at the end of its cycle, under the id that it had while it ran.

    Later ones stand where they were recorded; so does a first one that may draw on what others gave back by then.
    """
    histories: dict[LineKey, _History] = {}
    given_back = [*_given_back(account.burns)]
    for burn in account.burns:
        freed = max((when for version, when in given_back if version < burn.version), default=None)
        # Lines stand in the order in which they were settled: what one gives back, those after it may draw.
        for line in burn.lines:
            yield from _burn(burn, line, histories, freed)
            if _gives_back(line):
                freed = max(burn.recorded_at, freed or burn.recorded_at)
    freed = max((when for _, when in given_back), default=None)
    # What gives back comes first: the others may draw on it.
    for change, claim in sorted(_changes(settlement, at), key=lambda one: not _gives_back(one[0])):
        made = [*_running(claim, change, histories.get(claim.key.line_key), freed, at)]
        yield from made
        if _gives_back(change):
            freed = max(made[0].at, freed or made[0].at)


def _gives_back(line: BurnLine) -> bool:
    return any(draw.amount < 0 for draw in line.draws)


def _changes(settlement: Settlement, at: datetime) -> Iterator[tuple[BurnLine, Claim]]:
    """What claims draw beyond what invoices burned. Draws on grants that have yet to begin are yet to come."""
    for claim in settlement.claims:
        line = settlement.change_of(claim)
        draws = tuple(draw for draw in line.draws if settlement.grants[draw.grant_id].begins <= at)
        if draws or line.overage != "0":
            yield msgspec.structs.replace(line, draws=draws), claim


def _given_back(burns: Iterable[Burn]) -> Iterator[tuple[int, datetime]]:
    """The facts that gave credits back to their grants, and when they were recorded."""
    for burn in burns:
        if burn.returned_at is not None:
            yield burn.returned_version, burn.returned_at
        if any(_gives_back(line) for line in burn.lines):
            yield burn.version, burn.recorded_at


def _place(cycle_end: datetime, first: bool, since: datetime | None) -> tuple[datetime, Phase]:
    """Where a burn stands: at its cycle's end, unless it is not the first or something was given back ``since``."""
    if first and (since is None or since < cycle_end):
        return cycle_end, Phase.cycle_end
    return max(cycle_end, since or cycle_end), Phase.entry


def _burn(burn: Burn, line: BurnLine, histories: dict[LineKey, _History], freed: datetime | None) -> Iterator[Entry]:
    key = burn.key(line)
    history = histories.setdefault(key, _History(0, burn.cycle_end))
    first = history.burned == 0
    at, phase = _place(burn.cycle_end, first, freed if first else burn.recorded_at)
    made = Entry(
        id=_line_id(key, history.burned),
        at=at,
        phase=phase,
        version=burn.version,
        transaction_type=TransactionType.credit_deducted,
        postings=_taken(line.draws, Decimal(line.overage)),
        repayable=_repayable(line),
        reference_type="invoice",
        reference_id=burn.invoice_id,
    )
    history.burned, history.last = history.burned + 1, max(history.last, made.at)
    settled_at = max(made.at, burn.recorded_at)
    group = [made, *_overage_settled(made, line, made.at, settled_at)]
    yield from group
    if burn.returned_at is not None:
        history.last = max(history.last, burn.returned_at)
        for entry in group:
            yield msgspec.structs.replace(
                entry,
                id=f"{entry.id}:returned",
                at=burn.returned_at,
                phase=Phase.entry,
                version=burn.returned_version,
                transaction_type=TransactionType.returned,
                postings=negated(entry.postings),
                repayable=entry.repayable.copy_negate(),
            )


def _running(
    claim: Claim, line: BurnLine, history: _History | None, freed: datetime | None, at: datetime
) -> Iterator[Entry]:
    key = claim.key
    since = max((when for when in (freed, history and history.last) if when is not None), default=None)
    place, phase = _place(key.cycle_end, history is None, since)
    made = Entry(
        id=_line_id(key.line_key, history.burned if history else 0),
        at=min(at, place),
        phase=phase if place <= at else Phase.entry,
        version=RUNNING,
        transaction_type=TransactionType.credit_deducted,
        postings=_taken(line.draws, Decimal(line.overage)),
        is_final=False,
        repayable=_repayable(line),
        reference_type="subscription",
        reference_id=key.subscription_id,
    )
    yield made
    if line.overage_behavior is OverageBehavior.invoice_at_billing and not claim.closed:
        return
    if line.overage_behavior is OverageBehavior.invoice_at_billing or key.cycle_end <= at:
        yield from _overage_settled(made, line, made.at, made.at)


def _overage_settled(made: Entry, line: BurnLine, ended: datetime, closed: datetime) -> Iterator[Entry]:
    """Overage that does not carry leaves the account: forgiven with the end of its cycle, or invoiced by its close."""
    counted = Decimal(line.overage)
    invoiced = line.overage_behavior is OverageBehavior.invoice_at_billing
    if not counted or (line.overage_behavior is not None and line.overage_behavior.carries):
        return
    yield msgspec.structs.replace(
        made,
        id=f"{made.id}:{'charged' if invoiced else 'reset'}",
        at=closed if invoiced else ended,
        phase=Phase.entry if invoiced else made.phase,
        transaction_type=TransactionType.overage_charged if invoiced else TransactionType.overage_reset,
        postings=moved("charged" if invoiced else "forgiven", OVERAGE, counted),
        repayable=Decimal(0),
    )


def _repayable(line: BurnLine) -> Decimal:
    repaid = line.overage_behavior is OverageBehavior.carry_deficit_auto_repay
    return Decimal(line.overage) if repaid else Decimal(0)


def _line_id(key: LineKey, burned: int) -> str:
    """The id of a line's burn: the same while it runs and when it is final. Each further one has its number."""
    made = f"burn:{key.subscription_id}:{instant.text(key.cycle_start)}:{key.product_id}:{key.meter_id}"
    return f"{made}:{burned}" if burned else made
