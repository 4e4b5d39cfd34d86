"""A shop with one subscription, and what is asked of its settlement."""

from __future__ import annotations

from decimal import Decimal

from domain.entitlement import OverageBehavior
from domain.settlement import Settled, balance
from tests.domain.credit_shop import CreditShop, Meter, Subscription, day

CALLS = (Meter("calls"),)


def shop(included: int = 10, **terms: int | None) -> CreditShop:
    """One subscription with cycles of 10 days."""
    return CreditShop(Subscription("A", 0, 10, Decimal(included), CALLS, **terms))


def settled(shop: CreditShop, name: str = "A", index: int = 0, place: int = 0) -> Settled:
    return shop.settled().by_key[shop.key(name, index, place)]


def draws(shop: CreditShop, name: str = "A", index: int = 0) -> dict[str, int]:
    """What a line draws of each grant, closed or not."""
    key = shop.key(name, index).line_key
    return {grant: int(drawn) for grant, drawn in shop.drawn().get(key, {}).items()}


def credit(shop: CreditShop, name: str, amount: int, expires: int | None = None) -> None:
    shop.account.credit(name, amount=Decimal(amount), expires=None if expires is None else day(expires), at=shop.now)


def left(shop: CreditShop) -> Decimal:
    return balance(shop.settled(), shop.now).credits


def with_overage(behavior: OverageBehavior, limit: int | None = None) -> CreditShop:
    bound = None if limit is None else Decimal(limit)
    return CreditShop(Subscription("A", 0, 10, Decimal(2), (Meter("calls", behavior=behavior, limit=bound),)))
