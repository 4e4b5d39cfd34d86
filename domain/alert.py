"""The alert: a threshold that somebody wants to hear of, and the cycles in which it was reached.

It fires once in a cycle of a subscription, and what it fired for stays in its stream: whoever asks again, after a crash
or at the same moment, is told that it was done.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, Self

import msgspec

from domain import number
from domain.aggregate import Root
from domain.errors import Gone, Invalid

FREE_PERCENT_MAX = 1_000
"""Ten times the free threshold: what lies further is better said as a quantity."""

CREDIT_PERCENT_MAX = 100
"""All credits there are: more cannot be used."""


class AlertKind(StrEnum):
    """What the threshold is compared with, as written on the wire."""

    quantity = "quantity"
    free_percent = "free_percent"
    credit_percent = "credit_percent"
    amount = "amount"

    @property
    def needs_meter(self) -> bool:
        """Whether it looks at a meter."""
        return self in (AlertKind.quantity, AlertKind.free_percent)


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What an alert looks at.

    ``quantity`` is in units of the meter, ``free_percent`` in per cent of the line's free threshold, ``credit_percent``
    in per cent of the credits that the cycle had, ``amount`` in minor units of the subscription's currency: the
    estimate's total before the wallet.
    """

    kind: AlertKind
    meter_id: str | None = None
    credit_entitlement_id: str | None = None


class Reached(msgspec.Struct, frozen=True, kw_only=True):
    """What an alert's target came to in one cycle of a subscription, as known at ``position``."""

    subscription_id: str
    cycle_start: datetime
    cycle_end: datetime
    value: Decimal
    position: int


class Alert(Root):
    """A threshold on the cycles of one subscription, or of each subscription of a customer by itself."""

    TOPIC: ClassVar[str] = "alert"

    class Created(Root.Created):
        """``threshold`` is plain decimal text. Without ``subscription_id`` it holds for all of the customer's."""

        TOPIC: ClassVar[str] = "alert.created"
        customer_id: str
        subscription_id: str | None
        target: Target
        threshold: str

    class Fired(Root.Event):
        """The threshold was reached in a cycle. ``value`` is decimal text, as known at ``position``."""

        TOPIC: ClassVar[str] = "alert.fired"
        subscription_id: str
        cycle_start: datetime
        cycle_end: datetime
        value: str
        position: int

        def apply(self, aggregate: Alert) -> None:
            """Remember the cycle."""
            aggregate.fired.add((self.subscription_id, self.cycle_start))

    class Deleted(Root.Event):
        """It fires no more; what fired stays."""

        TOPIC: ClassVar[str] = "alert.deleted"

        def apply(self, aggregate: Alert) -> None:
            """Mark it."""
            aggregate.deleted = True

    def __init__(self, customer_id: str, subscription_id: str | None, target: Target, threshold: str) -> None:
        self.customer_id = customer_id
        self.subscription_id = subscription_id
        self.target = target
        self.threshold = threshold
        self.deleted = False
        self.fired: set[tuple[str, datetime]] = set()

    @classmethod
    def create(
        cls,
        alert_id: str,
        *,
        customer_id: str,
        subscription_id: str | None,
        target: Target,
        threshold: Decimal,
        at: datetime,
    ) -> Self:
        """Set a threshold. That customer, subscription, meter and entitlement exist has been found by the caller.

        Raises ``Invalid`` for a threshold out of its range, or a target that its kind does not look at.
        """
        check_target(target)
        check_threshold(target.kind, threshold)
        return cls._create(
            cls.Created,
            id=cls.stream(alert_id),
            timestamp=at,
            customer_id=customer_id,
            subscription_id=subscription_id,
            target=target,
            threshold=number.plain(threshold),
        )

    def fire(self, reached: Reached, at: datetime) -> bool:
        """Fire for the cycle if its value has reached the threshold and it has not fired for it; whether it did."""
        concerned = self.subscription_id in (None, reached.subscription_id)
        done = (reached.subscription_id, reached.cycle_start) in self.fired
        if self.deleted or done or not concerned or not crossed(Decimal(self.threshold), reached.value):
            return False
        self.trigger_event(
            self.Fired,
            timestamp=at,
            subscription_id=reached.subscription_id,
            cycle_start=reached.cycle_start,
            cycle_end=reached.cycle_end,
            value=number.plain(reached.value),
            position=reached.position,
        )
        return True

    def delete(self, at: datetime) -> None:
        """Fire no more. Raises ``Gone`` when it is deleted already."""
        if self.deleted:
            raise Gone("ALERT_DELETED", f"alert '{self.object_id}' is deleted already")
        self.trigger_event(self.Deleted, timestamp=at)


def crossed(threshold: Decimal, value: Decimal) -> bool:
    """Whether a value has reached the threshold: at it or past it."""
    return value >= threshold


def percent_of(part: Decimal, whole: Decimal) -> Decimal | None:
    """How many per cent of ``whole`` the part is; ``None`` of nothing, since no usage reaches a share of it."""
    return number.quotient(number.times(part, Decimal(100)), whole) if whole > 0 else None


def highest(values: Iterable[Decimal | None]) -> Decimal | None:
    """The greatest of the values that there are."""
    return max((value for value in values if value is not None), default=None)


def check_target(target: Target) -> None:
    """Raises ``Invalid`` where the target lacks what its kind looks at, or names what it does not."""
    wanted = {
        "meter_id": (target.meter_id, target.kind.needs_meter),
        "credit_entitlement_id": (target.credit_entitlement_id, target.kind is AlertKind.credit_percent),
    }
    for field, (given, needed) in wanted.items():
        if needed and given is None:
            raise Invalid(field, f"is needed for an alert of kind {target.kind}")
        if given is not None and not needed:
            raise Invalid(field, f"says nothing for an alert of kind {target.kind}; leave it out")


def check_threshold(kind: AlertKind, threshold: Decimal) -> None:
    """Raises ``Invalid`` for a threshold that is not above 0, is past 100 % or 1000 %, or is part of a minor unit."""
    most = {AlertKind.free_percent: FREE_PERCENT_MAX, AlertKind.credit_percent: CREDIT_PERCENT_MAX}.get(kind)
    if threshold <= 0:
        raise Invalid("threshold", "must be above 0")
    if most is not None and threshold > most:
        raise Invalid("threshold", f"must be at most {most} (per cent)")
    if kind is AlertKind.amount and number.round_half_away(threshold) != threshold:
        raise Invalid("threshold", "must be whole minor units")
