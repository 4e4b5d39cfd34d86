"""Settlement over random histories: against a naive model, and against itself in other orders and at other times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from hypothesis import given, settings

from domain.claim import Claim, ClaimKey
from domain.entitlement import BurnOrder, OverageBehavior
from domain.settlement import settle
from tests.domain.credit_histories import EVERYTHING, OPEN_ONLY, WITH_DEBITS, Happening, happen, happenings, shops
from tests.domain.credit_shop import CreditShop, Subscription

NEVER = datetime.max


@dataclass
class NaiveGrant:
    id: str
    begins: datetime
    expires: datetime | None
    left: Fraction
    count: int
    order: int
    subscription: Subscription | None
    index: int

    def beside(self) -> tuple[int, str, int]:
        return -self.count, self.subscription.name if self.subscription else "", self.order


class Naive:
    """Claim by claim, unit by unit: a stack of what was drawn, from which a fall takes the latest."""

    def __init__(self, shop: CreditShop) -> None:
        self.shop = shop
        self.grants: list[NaiveGrant] = []
        self.draws: dict[ClaimKey, dict[str, Fraction]] = {}
        self.overage: dict[ClaimKey, Fraction] = {}
        self.repayable = self.outstanding = Fraction(0)
        for grant in shop.account.grants.values():
            sub = shop.subscriptions.get(grant.id.partition("-")[0])
            index = int(grant.id.partition("-")[2]) if sub else 0
            amount = Fraction(grant.amount)
            self.grants.append(NaiveGrant(grant.id, grant.begins, grant.expires, amount, 0, grant.order, sub, index))
        self.walk(shop.claims())

    def walk(self, claims: Sequence[Claim]) -> None:
        done: set[tuple[str, str]] = set()
        ends = {claim.key.cycle_end for claim in claims} | {self.shop.now}
        last = max(ends)
        while True:
            waiting: list[tuple[datetime, int, object, NaiveGrant | Claim]] = [
                (claim.key.cycle_end, 0, claim.key, claim) for claim in claims if claim.key not in self.draws
            ]
            for grant in self.grants:
                if grant.expires is not None and self.rolls(grant) and ("roll", grant.id) not in done:
                    waiting.append((grant.expires, 1, grant.beside(), grant))
                if ("repay", grant.id) not in done:
                    waiting.append((grant.begins, 2, grant.beside(), grant))
            waiting = [one for one in waiting if one[0] <= last]
            if not waiting:
                return
            _, phase, _, what = min(waiting, key=lambda one: one[:3])
            if isinstance(what, Claim):
                self.claim(what)
            elif phase == 1:
                done.add(("roll", what.id))
                self.roll(what)
            else:
                done.add(("repay", what.id))
                self.repay(what)

    def rolls(self, grant: NaiveGrant) -> bool:
        sub = grant.subscription
        if sub is None or sub.percentage is None or (sub.max_count is not None and grant.count >= sub.max_count):
            return False
        return grant.count > 0 or grant.expires == sub.span(grant.index)[1]

    def roll(self, grant: NaiveGrant) -> None:
        sub, begins = grant.subscription, grant.expires
        assert sub is not None
        assert sub.percentage is not None
        assert begins is not None
        rolled = min(grant.left, self.rounded(grant.left * sub.percentage / 100))
        if not rolled:
            return
        grant.left -= rolled
        days = (sub.timeframe or sub.days) * 86_400
        expires = datetime.fromtimestamp(begins.timestamp() + days, begins.tzinfo)
        root = grant.id.partition(".")[0]
        child = f"{root}.{grant.count + 1}"
        self.grants.append(NaiveGrant(child, begins, expires, rolled, grant.count + 1, grant.order, sub, grant.index))

    def repay(self, grant: NaiveGrant) -> None:
        repaid = min(grant.left, self.repayable)
        grant.left -= repaid
        self.repayable -= repaid
        self.outstanding -= repaid

    def claim(self, claim: Claim) -> None:
        stack: list[tuple[NaiveGrant | None, Fraction]] = []
        since, have = claim.key.cycle_start, Fraction(0)
        for step in claim.steps:
            wanted = self.rounded(Fraction(step.chargeable) / Fraction(claim.units_per_credit))
            self.rise(stack, wanted - have, since)
            since, have = step.until, wanted
        drawn: dict[str, Fraction] = {}
        for grant, amount in stack:
            if grant is not None:
                drawn[grant.id] = drawn.get(grant.id, Fraction(0)) + amount
        self.draws[claim.key] = drawn
        self.count(claim, sum((amount for grant, amount in stack if grant is None), Fraction(0)))

    def rise(self, stack: list[tuple[NaiveGrant | None, Fraction]], rise: Fraction, since: datetime) -> None:
        while rise < 0:
            grant, amount = stack.pop()
            back = min(amount, -rise)
            if grant is not None:
                grant.left += back
            if amount > back:
                stack.append((grant, amount - back))
            rise += back
        valid = [one for one in self.grants if one.begins <= since and (one.expires is None or since < one.expires)]
        for grant in sorted(valid, key=self.place):
            taken = min(grant.left, rise)
            if taken:
                grant.left -= taken
                rise -= taken
                stack.append((grant, taken))
        if rise:
            stack.append((None, rise))

    def place(self, grant: NaiveGrant) -> tuple[float, float, tuple[int, str, int]]:
        begins = grant.begins.timestamp()
        expires = grant.expires.timestamp() if grant.expires else NEVER.timestamp()
        first = begins if self.shop.order is BurnOrder.oldest else expires
        return first, begins, grant.beside()

    def count(self, claim: Claim, uncovered: Fraction) -> None:
        terms = claim.overage
        if terms is None:
            self.overage[claim.key] = Fraction(0)
            return
        carries = terms.behavior.value.startswith("carry")
        of_cycle = sum(
            amount
            for key, amount in self.overage.items()
            if (key.subscription_id, key.cycle_start) == (claim.key.subscription_id, claim.key.cycle_start)
        )
        counted = uncovered
        if terms.limit is not None:
            counted = max(
                Fraction(0), min(uncovered, Fraction(terms.limit) - (self.outstanding if carries else of_cycle))
            )
        self.overage[claim.key] = counted
        if carries:
            self.outstanding += counted
        if terms.behavior is OverageBehavior.carry_deficit_auto_repay:
            self.repayable += counted

    def rounded(self, number: Fraction) -> Fraction:
        scale = 10**self.shop.account.precision
        return Fraction(int(number * scale + Fraction(1, 2)), scale)


@settings(max_examples=80, deadline=None)
@given(shop=shops(), story=happenings(OPEN_ONLY, 14))
def test_it_draws_what_a_naive_model_draws(shop: CreditShop, story: list[Happening]) -> None:
    for happening in story:
        happen(shop, happening)
    settlement, naive = shop.settled(), Naive(shop)
    assert {key: settled.by_grant() for key, settled in settlement.by_key.items()} == naive.draws
    assert {key: settled.overage for key, settled in settlement.by_key.items()} == naive.overage
    left = {grant.id: grant.left for grant in naive.grants}
    rolled = {rollover.parent_id: rollover.amount for rollover in settlement.rollovers}
    assert {one: amount - rolled.get(one, 0) for one, amount in settlement.remaining.items()} == left


@settings(max_examples=60, deadline=None)
@given(shop=shops(), story=happenings(WITH_DEBITS, 14))
def test_a_claim_depends_on_none_that_comes_after_it(shop: CreditShop, story: list[Happening]) -> None:
    for happening in story:
        happen(shop, happening)
    claims = sorted(shop.claims(), key=lambda claim: claim.key)
    whole = shop.settled()
    for count in range(len(claims)):
        part = settle(shop.account, claims[:count], shop.now)
        assert part.by_key.items() <= whole.by_key.items()
    assert settle(shop.account, claims[::-1], shop.now) == whole


def state(shop: CreditShop) -> tuple[object, ...]:
    settlement = shop.settled()
    return shop.drawn(), shop.overage(), settlement.remaining, settlement.repayments


@settings(max_examples=60, deadline=None)
@given(shop=shops(), story=happenings(WITH_DEBITS, 16))
def test_closing_and_settling_anew_change_nothing(shop: CreditShop, story: list[Happening]) -> None:
    for happening in story:
        happen(shop, happening)
    before = state(shop)
    ended = sorted(
        (shop.key(sub.name, index), sub.name, index)
        for sub in shop.subscriptions.values()
        for index in sub.begun(shop.now)
        if sub.span(index)[1] <= shop.now
    )
    for _, name, index in ended:
        shop.close(name, index)
        assert state(shop) == before
        shop.late = {(sub.name, closed) for sub in shop.subscriptions.values() for closed in sub.closed}
        settlement = shop.settled()
        for again, closed in shop.late:
            assert settlement.burn_lines(again, shop.subscriptions[again].span(closed)[0]) == ()
        shop.late = set()


@settings(max_examples=80, deadline=None)
@given(shop=shops(), story=happenings(EVERYTHING, 25))
def test_no_grant_is_overdrawn_and_the_ledger_balances(shop: CreditShop, story: list[Happening]) -> None:
    for happening in story:
        happen(shop, happening)
        assert shop.problems() == []
