"""Settlement: from the facts of a credit account and the claims on it, who draws what. A pure function.

Final draws and debits come first. Then time is walked through once: at the end of a cycle its claims settle, then the
grants that end there are rolled over, then those that begin there repay overage. So an earlier claim never depends on
a cycle that ends later, and what was settled can be settled again with the same outcome.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial

import msgspec

from domain import number
from domain.burn import BurnLine, Draw, LineKey, Rolled, StandingLine, standing_lines
from domain.claim import Claim, ClaimKey
from domain.credit_account import CreditAccount
from domain.entitlement import BurnOrder, OverageBehavior
from domain.grant import Grant, burn_key, child_of, child_place, rolled_amount, turning_points
from domain.overage import Outstanding, Repayer

ZERO = Decimal(0)

# What happens at one instant, in this order.
_CLAIM, _ROLLOVER, _REPAYMENT = range(3)


class Drawn(msgspec.Struct, frozen=True):
    """Credits that usage between two neighbouring instants draws from a grant."""

    grant_id: str
    credits: Decimal
    since: datetime
    until: datetime


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """A claim's draws, their sum, what they do not cover, and how much of that counts as overage."""

    draws: tuple[Drawn, ...]
    credits: Decimal
    uncovered: Decimal
    overage: Decimal

    def by_grant(self) -> dict[str, Decimal]:
        """The credits drawn from each grant."""
        return summed(self.draws)


class Repayment(msgspec.Struct, frozen=True):
    """Credits of a grant that went into overage of earlier cycles when it began."""

    grant_id: str
    at: datetime
    credits: Decimal


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome. ``grants`` has the recorded ones and the children of rollovers yet to be recorded.

    ``rollovers`` are those that are not recorded. ``remaining`` is what a grant holds after every draw, debit and
    repayment, were it never to expire and without what its own rollover takes. ``standing`` is what invoices burned.
    """

    claims: tuple[Claim, ...]
    by_key: dict[ClaimKey, Settled]
    grants: dict[str, Grant]
    remaining: dict[str, Decimal]
    rollovers: tuple[Rolled, ...]
    repayments: tuple[Repayment, ...]
    standing: dict[LineKey, StandingLine]

    def left(self, grant_id: str, at: datetime) -> Decimal:
        """What can be used of a grant at that instant: nothing before it begins and once it has expired."""
        return self.remaining[grant_id] if self.grants[grant_id].valid_at(at) else ZERO

    def free(self, at: datetime, order: BurnOrder) -> dict[str, Decimal]:
        """What the grants that are valid then still hold, in burn order: what a debit may take."""
        valid = sorted((grant for grant in self.grants.values() if grant.valid_at(at)), key=burn_key(order))
        return {grant.id: self.remaining[grant.id] for grant in valid}

    def rollovers_of(self, subscription_id: str, start: datetime, end: datetime) -> tuple[Rolled, ...]:
        """The rollovers to record when the subscription's cycle closes: those of its grants that ended in it.

        A child's waits until the child is recorded: at the close of an earlier cycle, where that is still open.
        """
        due, recorded = list[Rolled](), {grant.id for grant in self.grants.values() if grant.recorded_at is not None}
        for rollover in self.rollovers:
            parent = self.grants[rollover.parent_id]
            its_own = _subscription_of(parent) == subscription_id and parent.id in recorded
            if its_own and rollover.at <= end and (rollover.at > start or parent.rollover_count):
                due.append(rollover)
                if rollover.child:
                    recorded.add(rollover.child.id)
        return tuple(due)

    def burn_lines(self, subscription_id: str, cycle_start: datetime) -> tuple[BurnLine, ...]:
        """What to burn for a cycle's claims beyond what was burned for them; nothing for lines that did not change."""
        lines = (
            self.change_of(claim)
            for claim in self.claims
            if (claim.key.subscription_id, claim.key.cycle_start) == (subscription_id, cycle_start)
        )
        return tuple(line for line in lines if line.draws or line.overage != "0")

    def change_of(self, claim: Claim) -> BurnLine:
        """What a claim draws and counts beyond what invoices that stand did."""
        settled, key = self.by_key[claim.key], claim.key.line_key
        before = self.standing.get(key) or StandingLine(cycle_end=claim.key.cycle_end, draws={})
        now = settled.by_grant()
        changes = {
            grant_id: number.minus(now.get(grant_id, ZERO), before.draws.get(grant_id, ZERO))
            for grant_id in sorted(now.keys() | before.draws.keys())
        }
        terms = claim.overage
        price = terms.price_per_credit if terms else None
        return BurnLine(
            product_id=key.product_id,
            meter_id=key.meter_id,
            draws=tuple(Draw(grant_id, number.plain(change)) for grant_id, change in changes.items() if change),
            overage=number.plain(number.minus(settled.overage, before.overage)),
            overage_behavior=terms.behavior if terms else before.overage_behavior,
            price_per_credit=None if price is None else number.plain(price),
        )


class Balance(msgspec.Struct, frozen=True):
    """What a customer can use, and the overage that is outstanding."""

    credits: Decimal
    overage: Decimal


def summed(draws: Sequence[Drawn | Draw]) -> dict[str, Decimal]:
    """Draws added up by grant."""
    sums: dict[str, Decimal] = {}
    for draw in draws:
        sums[draw.grant_id] = number.plus(sums.get(draw.grant_id, ZERO), Decimal(draw.credits))
    return sums


def instants(account: CreditAccount, start: datetime, end: datetime) -> list[datetime]:
    """The instants inside a cycle at which its claims need a step, besides the cycle's end."""
    return turning_points(account.grants.values(), account.rolled, start, end)


def settle(account: CreditAccount, claims: Sequence[Claim], until: datetime) -> Settlement:
    """Settle all claims. Rollovers are looked at up to ``until``, and to the end of the last claim's cycle.

    Raises ``ValueError`` when a claim lacks a step or two are for one line.
    """
    running = _Running(account, claims)
    running.walk(max([until, *(claim.key.cycle_end for claim in claims)]))
    return running.outcome()


def balance(settlement: Settlement, at: datetime) -> Balance:
    """The balance at an instant: what the grants valid then hold, and the overage outstanding."""
    credits_left = number.total(settlement.left(grant_id, at) for grant_id in settlement.grants)
    return Balance(credits_left, outstanding(settlement, at))


def outstanding(settlement: Settlement, at: datetime) -> Decimal:
    """The overage at an instant: forgiven with its cycle's end, invoiced with its close, or carried until repaid."""
    claimed = {claim.key.line_key for claim in settlement.claims}
    parts = [
        line.overage
        for key, line in settlement.standing.items()
        if key not in claimed and line.overage_behavior is not None and line.overage_behavior.carries
    ]
    for claim in settlement.claims:
        counted = settlement.by_key[claim.key].overage
        behavior = claim.overage.behavior if claim.overage else OverageBehavior.forgive_at_reset
        if behavior is OverageBehavior.invoice_at_billing:
            invoiced = settlement.standing.get(claim.key.line_key)
            parts.append(ZERO if claim.closed else number.minus(counted, invoiced.overage if invoiced else ZERO))
        elif behavior.carries or claim.key.cycle_end > at:
            parts.append(counted)
    repaid = number.total(repayment.credits for repayment in settlement.repayments if repayment.at <= at)
    return number.minus(number.total(parts), repaid)


def _subscription_of(grant: Grant) -> str | None:
    return grant.cycle.subscription_id if grant.cycle else None


def _kept(drawn: Decimal, claimed: bool) -> Decimal:
    """A line's own final draws. Where its invoice is void and a correction of it still stands they are below 0."""
    return max(ZERO, drawn) if claimed else drawn


class _Running:
    """A settlement under way. ``free`` is what a grant has for the claims to come."""

    def __init__(self, account: CreditAccount, claims: Sequence[Claim]) -> None:
        self.precision = account.precision
        self.claims = sorted(claims, key=lambda claim: claim.key)
        self.standing = standing_lines(account.burns)
        self.claimed = {claim.key.line_key for claim in self.claims}
        if len(self.claimed) < len(self.claims):
            raise ValueError("two claims are for one line")
        self.grants = dict(account.grants)
        self.rolled = dict(account.rolled)
        self.taken = self._final_draws(account)
        self.reserved: dict[str, Decimal] = {}
        self.free: dict[str, Decimal] = {}
        for grant in account.grants.values():
            self._take_in(grant, self.rolled.get(grant.id, ZERO))
        self.outstanding = Outstanding(self.standing)
        self.by_key: dict[ClaimKey, Settled] = {}
        self.rollovers: list[Rolled] = []
        self.repayments: list[Repayment] = []
        self.ahead: list[tuple[datetime, int, tuple[int | str, ...], Callable[[], None]]] = []

    def _final_draws(self, account: CreditAccount) -> dict[str, Decimal]:
        """What final draws and debits hold of each grant, among them children that are not recorded yet.

        A line that is claimed keeps its own for itself until its turn comes.
        """
        taken: dict[str, Decimal] = {}
        draws = [(draw.grant_id, draw.amount) for debit in account.debits for draw in debit.draws]
        for key, line in self.standing.items():
            draws += ((grant_id, _kept(drawn, key in self.claimed)) for grant_id, drawn in line.draws.items())
        for grant_id, drawn in draws:
            taken[grant_id] = number.plus(taken.get(grant_id, ZERO), drawn)
        return taken

    def _take_in(self, grant: Grant, rolled: Decimal) -> None:
        """Note what a grant has. What final draws took from children yet to be recorded is kept for its rollover."""
        self.reserved[grant.id] = ZERO if grant.id in self.rolled else self._promised(grant)
        held = number.total((self.taken.get(grant.id, ZERO), self.reserved[grant.id], rolled))
        self.free[grant.id] = number.minus(grant.amount, held)

    def _promised(self, grant: Grant) -> Decimal:
        later = (
            (child_place(grant_id), drawn) for grant_id, drawn in self.taken.items() if grant_id not in self.grants
        )
        return number.total(
            drawn for place, drawn in later if place and place[0] == grant.root_id and place[1] > grant.rollover_count
        )

    def walk(self, horizon: datetime) -> None:
        """Everything that happens up to the horizon, in order."""
        for place, claim in enumerate(self.claims):
            self._push(claim.key.cycle_end, _CLAIM, (0, place), partial(self._settle, claim))
        for place, (cycle_end, key) in enumerate(self.outstanding.places()):
            if key not in self.claimed:
                self._push(cycle_end, _CLAIM, (1, place), partial(self.outstanding.enter, key))
        for grant in self.grants.values():
            self._expect(grant)
        while self.ahead and self.ahead[0][0] <= horizon:
            heapq.heappop(self.ahead)[-1]()

    def _push(self, at: datetime, phase: int, place: tuple[int | str, ...], action: Callable[[], None]) -> None:
        heapq.heappush(self.ahead, (at, phase, place, action))

    def _expect(self, grant: Grant) -> None:
        if grant.never_was:
            return
        place = grant.place
        self._push(grant.begins, _REPAYMENT, place, partial(self._repay, grant))
        at = grant.rolls_at
        if at is not None and grant.id not in self.rolled:
            self._push(at, _ROLLOVER, place, partial(self._roll_over, grant, at))

    def _settle(self, claim: Claim) -> None:
        start, end = claim.key.cycle_start, claim.key.cycle_end
        claim.check_steps(turning_points(self.grants.values(), self.grants, start, end))
        bounds = self._release(claim)
        ordered = sorted(self.grants.values(), key=burn_key(claim.burn_order))
        draws, uncovered = list[Drawn](), ZERO
        for since, until, rise in claim.rises(self.precision):
            for grant in ordered:
                if not grant.valid_at(since):
                    continue
                taken = min(rise, self.free[grant.id], bounds.get(grant.id, rise))
                if taken <= 0:
                    continue
                draws.append(Drawn(grant.id, taken, since, until))
                self.free[grant.id] = number.minus(self.free[grant.id], taken)
                if grant.id in bounds:
                    bounds[grant.id] = number.minus(bounds[grant.id], taken)
                rise = number.minus(rise, taken)
            uncovered = number.plus(uncovered, rise)
        self.by_key[claim.key] = Settled(
            draws=tuple(draws),
            credits=number.total(draw.credits for draw in draws),
            uncovered=uncovered,
            overage=self.outstanding.count(claim, uncovered, self._repayers(end)),
        )

    def _release(self, claim: Claim) -> dict[str, Decimal]:
        """Give a line's own final draws back before it draws anew, and say how much it may draw of which grants.

        The line of a closed cycle may have its own again, and more only of grants that expired by the cycle's end.
        """
        line = self.standing.get(claim.key.line_key)
        own = {grant_id: _kept(drawn, True) for grant_id, drawn in line.draws.items()} if line else {}
        for grant_id, drawn in own.items():
            self.free[grant_id] = number.plus(self.free[grant_id], drawn)
        if not claim.closed:
            return {}
        lasting = (grant_id for grant_id, grant in self.grants.items() if not grant.expired_by(claim.key.cycle_end))
        return {grant_id: own.get(grant_id, ZERO) for grant_id in lasting}

    def _repayers(self, since: datetime) -> list[Repayer]:
        return [
            Repayer(one.begins, self.free[one.id])
            for one in self.grants.values()
            if one.begins >= since and not one.never_was
        ]

    def _roll_over(self, grant: Grant, at: datetime) -> None:
        reserved = self.reserved[grant.id]
        left = number.plus(self.free[grant.id], reserved)
        amount = max(reserved, rolled_amount(grant, left, self.precision))
        child = child_of(grant, amount) if amount else None
        rest = number.minus(left, amount)
        self.rollovers.append(Rolled(parent_id=grant.id, at=at, amount=amount, forfeited=rest, child=child))
        self.rolled[grant.id], self.reserved[grant.id], self.free[grant.id] = amount, ZERO, rest
        if child is not None:
            self.grants[child.id] = child
            self._take_in(child, ZERO)
            self._expect(child)

    def _repay(self, grant: Grant) -> None:
        repaid = self.outstanding.repay(self.free[grant.id])
        if repaid:
            self.free[grant.id] = number.minus(self.free[grant.id], repaid)
            self.repayments.append(Repayment(grant.id, grant.begins, repaid))

    def outcome(self) -> Settlement:
        """What it all came to."""
        return Settlement(
            claims=tuple(self.claims),
            by_key=self.by_key,
            grants=self.grants,
            remaining={
                grant_id: number.total((self.free[grant_id], self.reserved[grant_id], self.rolled.get(grant_id, ZERO)))
                for grant_id in self.grants
            },
            rollovers=tuple(self.rollovers),
            repayments=tuple(self.repayments),
            standing=self.standing,
        )
