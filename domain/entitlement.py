"""The credit entitlement: a kind of credits that products include and meters burn."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, Self

import msgspec

from domain import number
from domain.aggregate import Root
from domain.cycle import Interval
from domain.errors import Gone, Invalid

PRECISION_MAX = 10
"""Digits after the point of an amount of credits: the wire contract's limit."""

CREDITS_MAX_WHOLE_DIGITS = 10
"""Digits before the point of an amount of credits: the wire contract's limit."""

PERCENT_MAX = 100


class OverageBehavior(StrEnum):
    """What becomes of usage that no credits cover, as written on the wire."""

    forgive_at_reset = "forgive_at_reset"
    invoice_at_billing = "invoice_at_billing"
    carry_deficit = "carry_deficit"
    carry_deficit_auto_repay = "carry_deficit_auto_repay"

    @property
    def carries(self) -> bool:
        """Whether the overage stays outstanding after its cycle."""
        return self in (OverageBehavior.carry_deficit, OverageBehavior.carry_deficit_auto_repay)


class BurnOrder(StrEnum):
    """Which grant is drawn on first: the one that began first, or the one that expires first."""

    oldest = "oldest"
    earliest_expiry = "earliest_expiry"


class Rollover(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of a cycle's grant when the cycle closes. Without ``percentage`` all of it is rolled over.

    Without ``timeframe`` the child lasts until the end of the next cycle; without ``max_count`` it may be rolled over
    any number of times.
    """

    enabled: bool = False
    percentage: int | None = None
    timeframe: Interval | None = None
    max_count: int | None = None


class Overage(msgspec.Struct, frozen=True, kw_only=True):
    """How uncovered credits are counted. ``limit`` is decimal text; beyond it nothing is counted."""

    enabled: bool = False
    behavior: OverageBehavior = OverageBehavior.forgive_at_reset
    limit: str | None = None


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """All of an entitlement that may change. ``price_per_unit`` is decimal minor units per credit of overage."""

    name: str
    unit: str
    description: str | None = None
    expires_after_days: int | None = None
    rollover: Rollover = Rollover()
    overage: Overage = Overage()
    currency: str | None = None
    price_per_unit: str | None = None
    burn_order: BurnOrder = BurnOrder.oldest


class Entitlement(Root):
    """A kind of credits. Its precision stays; everything else may change and never touches a grant that was made."""

    TOPIC: ClassVar[str] = "credit_entitlement"

    class Created(Root.Created):
        """``precision`` is how many digits after the point its credits have, for ever."""

        TOPIC: ClassVar[str] = "credit_entitlement.created"
        precision: int
        terms: Terms

    class Changed(Root.Event):
        """The new terms, whole."""

        TOPIC: ClassVar[str] = "credit_entitlement.changed"
        terms: Terms

        def apply(self, aggregate: Entitlement) -> None:
            """Write them."""
            aggregate.terms = self.terms

    class Deleted(Root.Event):
        """No product may include it any more; balances stay."""

        TOPIC: ClassVar[str] = "credit_entitlement.deleted"

        def apply(self, aggregate: Entitlement) -> None:
            """Mark it."""
            aggregate.deleted = True

    class Undeleted(Root.Event):
        """It is in use again."""

        TOPIC: ClassVar[str] = "credit_entitlement.undeleted"

        def apply(self, aggregate: Entitlement) -> None:
            """Unmark it."""
            aggregate.deleted = False

    def __init__(self, precision: int, terms: Terms) -> None:
        self.precision = precision
        self.terms = terms
        self.deleted = False

    @classmethod
    def create(cls, entitlement_id: str, *, precision: int, terms: Terms, at: datetime) -> Self:
        """Declare a kind of credits. Raises ``Invalid`` for a precision or terms that break a rule."""
        if not 0 <= precision <= PRECISION_MAX:
            raise Invalid("precision", f"must be a whole number from 0 to {PRECISION_MAX}")
        check_terms(terms)
        return cls._create(cls.Created, id=cls.stream(entitlement_id), timestamp=at, precision=precision, terms=terms)

    def change(self, terms: Terms, at: datetime) -> None:
        """Replace the terms. Nothing happens when nothing differs. Raises ``Invalid`` as ``create`` does."""
        check_terms(terms)
        if terms != self.terms:
            self.trigger_event(self.Changed, timestamp=at, terms=terms)

    def delete(self, at: datetime) -> None:
        """Take it out of use. Raises ``Gone`` when it is already."""
        if self.deleted:
            raise Gone("CREDIT_ENTITLEMENT_DELETED", f"credit entitlement '{self.object_id}' is deleted already")
        self.trigger_event(self.Deleted, timestamp=at)

    def undelete(self, at: datetime) -> None:
        """Put it into use again. Nothing happens when it is."""
        if self.deleted:
            self.trigger_event(self.Undeleted, timestamp=at)


def check_terms(terms: Terms) -> None:
    """Raises ``Invalid`` where the terms contradict themselves or a number is out of its range."""
    rollover, overage = terms.rollover, terms.overage
    if terms.expires_after_days is not None and terms.expires_after_days < 1:
        raise Invalid("expires_after_days", "must be at least 1")
    if rollover.percentage is not None and not 0 <= rollover.percentage <= PERCENT_MAX:
        raise Invalid("rollover_percentage", f"must be a whole number from 0 to {PERCENT_MAX}")
    if rollover.max_count is not None and rollover.max_count < 0:
        raise Invalid("max_rollover_count", "must not be negative")
    if overage.limit is not None and Decimal(overage.limit) < 0:
        raise Invalid("overage_limit", "must not be negative")
    if terms.price_per_unit is not None and terms.currency is None:
        raise Invalid("currency", "is needed with price_per_unit")
    charged = overage.enabled and overage.behavior is OverageBehavior.invoice_at_billing
    if charged and terms.price_per_unit is None:
        raise Invalid("price_per_unit", "is needed when overage is invoiced")


def check_credits(amount: Decimal, precision: int, field: str) -> Decimal:
    """The amount itself. Raises ``Invalid`` when it is negative or has more digits than credits of this precision."""
    if amount < 0:
        raise Invalid(field, "must not be negative")
    if number.whole_digits(amount) > CREDITS_MAX_WHOLE_DIGITS:
        raise Invalid(field, f"must be below 10^{CREDITS_MAX_WHOLE_DIGITS}")
    if number.fraction_digits(amount) > precision and number.round_half_away(amount, precision) != amount:
        raise Invalid(field, f"must have at most {precision} digits after the point, the entitlement's precision")
    return amount
