"""The customer: who is billed. Personal fields are sealed; everything else is in clear."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Self

from domain.aggregate import Root


class Customer(Root):
    """``personal`` holds e-mail, name and phone number, sealed with the customer's own key (base64 text).

    It is empty once they were erased. Destroying that key erases the person and leaves every byte of the chain as it
    was.
    """

    TOPIC: ClassVar[str] = "customer"

    class Created(Root.Created):
        """``time_zone`` is an IANA name; ``metadata`` a flat JSON object as text."""

        TOPIC: ClassVar[str] = "customer.created"
        personal: str
        time_zone: str
        preferred_locale: str | None
        metadata: str

    class Changed(Root.Event):
        """The new whole of the customer's fields."""

        TOPIC: ClassVar[str] = "customer.changed"
        personal: str
        time_zone: str
        preferred_locale: str | None
        metadata: str

        def apply(self, aggregate: Customer) -> None:
            """Write the fields."""
            aggregate.personal = self.personal
            aggregate.time_zone = self.time_zone
            aggregate.preferred_locale = self.preferred_locale
            aggregate.metadata = self.metadata

    class PersonalDataErased(Root.Event):
        """The key of all that was sealed so far is destroyed: of these fields and of the subscriptions' addresses."""

        TOPIC: ClassVar[str] = "customer.personal_data_erased"

        def apply(self, aggregate: Customer) -> None:
            """Let go of what nobody can open any more."""
            aggregate.personal = ""

    def __init__(self, personal: str, time_zone: str, preferred_locale: str | None, metadata: str) -> None:
        self.personal = personal
        self.time_zone = time_zone
        self.preferred_locale = preferred_locale
        self.metadata = metadata

    @classmethod
    def create(
        cls,
        customer_id: str,
        *,
        personal: str,
        time_zone: str,
        preferred_locale: str | None,
        metadata: str,
        at: datetime,
    ) -> Self:
        """Make a customer. Usage under this id counts, also from before."""
        return cls._create(
            cls.Created,
            id=cls.stream(customer_id),
            timestamp=at,
            personal=personal,
            time_zone=time_zone,
            preferred_locale=preferred_locale,
            metadata=metadata,
        )

    def change(
        self, *, personal: str, time_zone: str, preferred_locale: str | None, metadata: str, at: datetime
    ) -> None:
        """Replace the fields. A new time zone moves only cycles that have not opened."""
        self.trigger_event(
            self.Changed,
            timestamp=at,
            personal=personal,
            time_zone=time_zone,
            preferred_locale=preferred_locale,
            metadata=metadata,
        )

    def erase_personal_data(self, at: datetime) -> None:
        """Record that the customer's key is destroyed. Fields that are set later are sealed with another one."""
        self.trigger_event(self.PersonalDataErased, timestamp=at)
