"""Domain events to bytes and back: the library's mapper over msgspec, with a closed list of kinds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import msgspec
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Mapper, MapperDeserialisationError, StoredEvent, Transcoder
from eventsourcing.utils import get_topic

from domain.aggregate import Fact, Root
from domain.alert import Alert
from domain.credit_account import CreditAccount
from domain.customer import Customer
from domain.entitlement import Entitlement
from domain.invoice import Invoice, InvoiceNumbers
from domain.meter import Meter
from domain.product import Product
from domain.subscription import Subscription
from domain.tenant import Tenant
from domain.wallet import Wallet

AGGREGATES: tuple[type[Root], ...] = (
    Alert,
    CreditAccount,
    Customer,
    Entitlement,
    Invoice,
    InvoiceNumbers,
    Meter,
    Product,
    Subscription,
    Tenant,
    Wallet,
)


def _facts_of(aggregate: type[Root]) -> Iterable[type[Fact]]:
    """The event classes of an aggregate that have a kind; those without are only bases, added by the library."""
    for member in vars(aggregate).values():
        if isinstance(member, type) and issubclass(member, Fact) and hasattr(member, "TOPIC"):
            yield member


KINDS: dict[str, type[Fact]] = {get_topic(fact): fact for aggregate in AGGREGATES for fact in _facts_of(aggregate)}
"""Every kind of domain event there is. The library would import any module path that a stored row names."""


class JsonTranscoder(Transcoder):
    """Event state as JSON. msgspec writes the fields in the order in which the event class states them."""

    def encode(self, obj: Any) -> bytes:
        """The JSON bytes of an event's state."""
        return msgspec.json.encode(obj)

    def decode(self, data: bytes) -> Any:
        """The plain values of stored state; the mapper gives them their types."""
        return msgspec.json.decode(data)


class FactMapper(Mapper[str]):
    """Stored events of known kinds, upcast to today's shape. It fails loudly on a kind or a field it does not know."""

    def __init__(self) -> None:
        super().__init__(transcoder=JsonTranscoder())

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[str]:
        """The event that was stored. Raises ``MapperDeserialisationError`` naming stream, version and kind."""
        try:
            return self._convert(stored_event)
        except (KeyError, ValueError, TypeError) as error:
            raise MapperDeserialisationError(
                f"event {stored_event.originator_version} of {stored_event.originator_id}"
                f" (kind {stored_event.topic}) cannot be read: {error}"
            ) from error

    def _convert(self, stored_event: StoredEvent) -> Fact:
        kind = KINDS[stored_event.topic]
        state: dict[str, Any] = self.transcoder.decode(stored_event.state)
        state["originator_id"] = stored_event.originator_id
        state["originator_version"] = stored_event.originator_version
        for version in range(state.pop("class_version", 1), kind.class_version):
            getattr(kind, f"upcast_v{version}_v{version + 1}")(state)
        unknown = state.keys() - kind.__dataclass_fields__.keys()
        if unknown:
            raise ValueError(f"unknown fields {sorted(unknown)}")
        return msgspec.convert(state, kind)


MAPPER = FactMapper()
"""One mapper for everybody: it holds no state."""


def to_stored(facts: Iterable[Fact]) -> list[StoredEvent]:
    """The stored forms of new events, in order."""
    return [MAPPER.to_stored_event(fact) for fact in facts]


def to_fact(stored_event: StoredEvent) -> Fact:
    """One stored event as the fact it is."""
    return cast("Fact", MAPPER.to_domain_event(stored_event))
