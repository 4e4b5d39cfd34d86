"""The ledger of a credit account: every movement with two or more postings that sum to 0, and the balances around it.

Lapses and repayments are nowhere recorded, nor are rollovers before the close: they follow from the settlement, and
stand in the ledger where they happened. What a grant needs for movements that are still to come stays in it until
then, and what it gets back later moves on then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal

import msgspec

from domain import number
from domain.credit_account import CreditAccount
from domain.credit_postings import (
    AVAILABLE,
    OVERAGE,
    Entry,
    Phase,
    Posting,
    TransactionType,
    available,
    entries,
    moved,
)
from domain.grant import Grant
from domain.settlement import Settlement, balance

ZERO = Decimal(0)


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the ledger. ``amount`` is what it adds to the balance less what it adds to the overage.

    ``grant_id`` is ``None`` where no grant or more than one is concerned. What is not final may still change.
    """

    id: str
    at: datetime
    transaction_type: TransactionType
    grant_id: str | None
    amount: Decimal
    balance_before: Decimal
    balance_after: Decimal
    overage_before: Decimal
    overage_after: Decimal
    postings: tuple[Posting, ...]
    is_final: bool
    reference_type: str | None
    reference_id: str | None
    reason: str | None
    metadata: str


def movements(account: CreditAccount, settlement: Settlement, at: datetime) -> list[Movement]:
    """The ledger up to ``at``, oldest first."""
    made, credits_held, overage = list[Movement](), ZERO, ZERO
    for entry in _Sweep(account, settlement, at).run():
        before, overage_before = credits_held, overage
        for posting in entry.postings:
            if posting.account.startswith(AVAILABLE):
                credits_held = number.plus(credits_held, posting.amount)
            elif posting.account == OVERAGE:
                overage = number.minus(overage, posting.amount)
        made.append(
            Movement(
                id=entry.id,
                at=entry.at,
                transaction_type=entry.transaction_type,
                grant_id=_only_grant(entry.postings),
                amount=number.minus(number.minus(credits_held, before), number.minus(overage, overage_before)),
                balance_before=before,
                balance_after=credits_held,
                overage_before=overage_before,
                overage_after=overage,
                postings=entry.postings,
                is_final=entry.is_final,
                reference_type=entry.reference_type,
                reference_id=entry.reference_id,
                reason=entry.reason,
                metadata=entry.metadata,
            )
        )
    return made


def check(account: CreditAccount, settlement: Settlement, at: datetime) -> list[str]:
    """What is wrong with the ledger, compared with the facts and the settlement; nothing when all is well."""
    problems, sums = list[str](), dict[str, Decimal]()
    for movement in movements(account, settlement, at):
        if number.total(posting.amount for posting in movement.postings):
            problems.append(f"the postings of {movement.id} do not sum to 0")
        for posting in movement.postings:
            sums[posting.account] = number.plus(sums.get(posting.account, ZERO), posting.amount)
            if posting.account.startswith(AVAILABLE) and sums[posting.account] < 0:
                problems.append(f"{posting.account} falls below 0 with {movement.id}")
    begun = [grant for grant in settlement.grants.values() if grant.begins <= at]
    now = balance(settlement, at)
    expected = {available(grant.id): settlement.left(grant.id, at) for grant in begun}
    expected[OVERAGE] = now.overage.copy_negate()
    expected["issued"] = number.total(one.amount for one in begun if one.parent_grant_id is None).copy_negate()
    expected["rolled"] = ZERO
    expected["consumed"] = _consumed(account, settlement, at)
    for name, amount in expected.items():
        if sums.get(name, ZERO) != amount:
            problems.append(f"{name} is {number.plain(sums.get(name, ZERO))} instead of {number.plain(amount)}")
    return problems


def _consumed(account: CreditAccount, settlement: Settlement, at: datetime) -> Decimal:
    """All that was used, covered or counted as overage, from the facts and the claims."""
    claimed = {claim.key.line_key for claim in settlement.claims}
    used = [draw.amount for debit in account.debits for draw in debit.draws]
    for key, line in settlement.standing.items():
        if key not in claimed:
            used += [*line.draws.values(), line.overage]
    for settled in settlement.by_key.values():
        used += [draw.credits for draw in settled.draws if settlement.grants[draw.grant_id].begins <= at]
        used.append(settled.overage)
    return number.total(used)


def _only_grant(postings: Iterable[Posting]) -> str | None:
    grants = [posting.account for posting in postings if posting.account.startswith(AVAILABLE)]
    return grants[0].removeprefix(AVAILABLE) if len(grants) == 1 else None


class _Sweep:
    """A walk through the entries in order that puts lapses and repayments between them."""

    def __init__(self, account: CreditAccount, settlement: Settlement, at: datetime) -> None:
        self.settlement = settlement
        self.held: dict[str, Decimal] = {}
        self.due = ZERO
        rolled = account.rolled | {rollover.parent_id: rollover.amount for rollover in settlement.rollovers}
        self.lapsing: dict[str, Decimal] = {}
        for grant_id, grant in settlement.grants.items():
            if grant.expired_by(at):
                rest = number.minus(settlement.remaining[grant_id], rolled.get(grant_id, ZERO))
                self.lapsing[grant_id] = rest
        self.rolling = {
            grant.id: grant.amount
            for grant in settlement.grants.values()
            if grant.parent_grant_id is not None and grant.begins <= at
        }
        self.repaying = {one.grant_id: one.credits for one in settlement.repayments if one.at <= at}
        self.children: dict[str, Grant] = {}
        self.expired: set[str] = set()
        self.ahead: dict[str, list[Decimal]] = {grant_id: [] for grant_id in settlement.grants}
        self.counts: dict[str, int] = {}
        self.noted = entries(account, settlement, at)
        for entry in self.noted:
            for grant_id, amount in _by_grant(entry.postings):
                self.ahead[grant_id].append(amount)

    def run(self) -> Iterator[Entry]:
        """Every entry, in order."""
        grants = self.settlement.grants.values()
        begin = [(grant.begins, Phase.rollover, grant.order, grant) for grant in grants if grant.id in self.rolling]
        expire = [
            (grant.expires, Phase.expiry, grant.order, grant)
            for grant in grants
            if grant.id in self.lapsing and grant.expires is not None
        ]
        noted = [(entry.at, entry.phase, entry.version, entry) for entry in self.noted]
        for at, phase, _, happens in sorted([*begin, *expire, *noted], key=lambda one: one[:3]):
            if isinstance(happens, Entry):
                yield happens
                self._post(happens)
                yield from self._follow(at, [grant_id for grant_id, _ in _by_grant(happens.postings)])
            elif phase is Phase.rollover:
                assert happens.parent_grant_id is not None, "only children are rolled over into"
                self.children[happens.parent_grant_id] = happens
                yield from self._follow(at, [happens.parent_grant_id])
            else:
                self.expired.add(happens.id)
                yield from self._follow(at, [happens.id])

    def _follow(self, at: datetime, touched: list[str]) -> Iterator[Entry]:
        """What follows when something came into these grants or went out."""
        yield from self._repay(at)
        for grant_id in touched:
            if grant_id in self.children:
                yield from self._roll_over(self.children[grant_id], grant_id, at)
            if grant_id in self.expired:
                yield from self._lapse(self.settlement.grants[grant_id], at)

    def _post(self, entry: Entry) -> None:
        for grant_id, amount in _by_grant(entry.postings):
            self.held[grant_id] = number.plus(self.held.get(grant_id, ZERO), amount)
            self.ahead[grant_id].pop(0)
        self.due = number.plus(self.due, entry.repayable)

    def _spare(self, grant_id: str) -> Decimal:
        """What a grant holds beyond the most that the entries to come take from it."""
        needed = sum_so_far = ZERO
        for amount in self.ahead[grant_id]:
            sum_so_far = number.plus(sum_so_far, amount)
            needed = min(needed, sum_so_far)
        return number.plus(self.held.get(grant_id, ZERO), needed)

    def _repay(self, at: datetime) -> Iterator[Entry]:
        for grant_id, owed in self.repaying.items():
            grant = self.settlement.grants[grant_id]
            amount = min(owed, self.due, self._spare(grant_id)) if grant.begins <= at else ZERO
            if amount <= 0:
                continue
            self.repaying[grant_id] = number.minus(owed, amount)
            self.due = number.minus(self.due, amount)
            self.held[grant_id] = number.minus(self.held[grant_id], amount)
            made = self._derived(
                grant,
                "repaid",
                at,
                TransactionType.credit_deducted,
                moved(available(grant_id), "repaid", amount),
                grant.begins,
            )
            yield made
            yield msgspec.structs.replace(
                made,
                id=f"{made.id}:overage",
                transaction_type=TransactionType.overage_reset,
                postings=moved("repaid", OVERAGE, amount),
            )

    def _roll_over(self, child: Grant, parent_id: str, at: datetime) -> Iterator[Entry]:
        amount = min(self.rolling[child.id], number.minus(self._spare(parent_id), self._owed(parent_id)))
        if amount <= 0:
            return
        self.rolling[child.id] = number.minus(self.rolling[child.id], amount)
        self.held[parent_id] = number.minus(self.held[parent_id], amount)
        self.held[child.id] = number.plus(self.held.get(child.id, ZERO), amount)
        kind, final = TransactionType.credit_rolled_over, child.recorded_at is not None
        out = self._derived(child, "out", at, kind, moved(available(parent_id), "rolled", amount), child.begins)
        taken_in = self._derived(child, "in", at, kind, moved("rolled", available(child.id), amount), child.begins)
        for entry in (out, taken_in):
            yield msgspec.structs.replace(
                entry, is_final=final, reference_type="subscription", reference_id=child.source_id
            )
        yield from self._follow(at, [child.id])

    def _owed(self, grant_id: str) -> Decimal:
        return self.repaying.get(grant_id, ZERO)

    def _lapse(self, grant: Grant, at: datetime) -> Iterator[Entry]:
        child = self.children.get(grant.id)
        kept = number.plus(self._owed(grant.id), self.rolling[child.id] if child else ZERO)
        amount = min(self.lapsing[grant.id], number.minus(self._spare(grant.id), kept))
        if amount <= 0:
            return
        self.lapsing[grant.id] = number.minus(self.lapsing[grant.id], amount)
        self.held[grant.id] = number.minus(self.held[grant.id], amount)
        forfeited = grant.rolls_at is not None
        kind = TransactionType.rollover_forfeited if forfeited else TransactionType.credit_expired
        target = "forfeited" if forfeited else "lapsed"
        expired = grant.expires or at
        yield self._derived(grant, target, at, kind, moved(available(grant.id), target, amount), expired)

    def _derived(
        self,
        grant: Grant,
        word: str,
        at: datetime,
        kind: TransactionType,
        postings: tuple[Posting, ...],
        known_by: datetime,
    ) -> Entry:
        """An entry that is nowhere recorded. It is final once no open cycle began before ``known_by``."""
        entry_id = f"{grant.id}:{word}"
        self.counts[entry_id] = count = self.counts.get(entry_id, 0) + 1
        return Entry(
            id=entry_id if count == 1 else f"{entry_id}:{count}",
            at=at,
            phase=Phase.expiry,
            version=0,
            transaction_type=kind,
            postings=postings,
            is_final=all(claim.closed or claim.key.cycle_start >= known_by for claim in self.settlement.claims),
        )


def _by_grant(postings: Iterable[Posting]) -> Iterator[tuple[str, Decimal]]:
    for posting in postings:
        if posting.account.startswith(AVAILABLE):
            yield posting.account.removeprefix(AVAILABLE), posting.amount
