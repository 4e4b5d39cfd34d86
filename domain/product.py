"""The product: a name and the versions of its price."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Self

from domain.aggregate import Root
from domain.errors import Gone, Invalid
from domain.price import Price, PriceVersion, version_in_force


class Product(Root):
    """What a subscription is to. Its price versions share one currency and one cycle interval for ever."""

    TOPIC: ClassVar[str] = "product"

    class Created(Root.Created):
        """The first price version is in force from the beginning of time."""

        TOPIC: ClassVar[str] = "product.created"
        name: str
        tax_category: str
        description: str | None
        metadata: str
        price: Price

    class Described(Root.Event):
        """What people read about the product."""

        TOPIC: ClassVar[str] = "product.described"
        name: str
        tax_category: str
        description: str | None
        metadata: str

        def apply(self, aggregate: Product) -> None:
            """Write the four texts."""
            aggregate.name = self.name
            aggregate.tax_category = self.tax_category
            aggregate.description = self.description
            aggregate.metadata = self.metadata

    class Repriced(Root.Event):
        """A new price version, for the cycles that start at ``effective_at`` or later."""

        TOPIC: ClassVar[str] = "product.repriced"
        effective_at: datetime
        price: Price

        def apply(self, aggregate: Product) -> None:
            """Add the version."""
            aggregate.versions.append(PriceVersion(effective_at=self.effective_at, price=self.price))

    class Archived(Root.Event):
        """No new subscription; those that exist go on."""

        TOPIC: ClassVar[str] = "product.archived"

        def apply(self, aggregate: Product) -> None:
            """Mark it."""
            aggregate.archived = True

    class Unarchived(Root.Event):
        """New subscriptions are possible again."""

        TOPIC: ClassVar[str] = "product.unarchived"

        def apply(self, aggregate: Product) -> None:
            """Unmark it."""
            aggregate.archived = False

    def __init__(self, name: str, tax_category: str, description: str | None, metadata: str, price: Price) -> None:
        self.name = name
        self.tax_category = tax_category
        self.description = description
        self.metadata = metadata
        self.versions = [PriceVersion(effective_at=None, price=price)]
        self.archived = False

    @classmethod
    def create(
        cls,
        product_id: str,
        *,
        name: str,
        tax_category: str,
        description: str | None,
        metadata: str,
        price: Price,
        at: datetime,
    ) -> Self:
        """Declare a product. ``metadata`` is a flat JSON object as text; the price has been read by the caller."""
        return cls._create(
            cls.Created,
            id=cls.stream(product_id),
            timestamp=at,
            name=name,
            tax_category=tax_category,
            description=description,
            metadata=metadata,
            price=price,
        )

    @property
    def newest_price(self) -> Price:
        """The price that was recorded last, in force or not."""
        return self.versions[-1].price

    def price_at(self, cycle_start: datetime) -> Price:
        """The price of a cycle that starts then."""
        return self.versions[version_in_force(self.versions, cycle_start)].price

    def describe(self, name: str, tax_category: str, description: str | None, metadata: str, at: datetime) -> None:
        """Change what people read. Nothing happens when nothing differs."""
        new = (name, tax_category, description, metadata)
        if new != (self.name, self.tax_category, self.description, self.metadata):
            self.trigger_event(
                self.Described,
                timestamp=at,
                name=name,
                tax_category=tax_category,
                description=description,
                metadata=metadata,
            )

    def reprice(self, price: Price, effective_at: datetime | None, at: datetime) -> None:
        """Add a price version, by default for cycles that start from now on. Raises ``Invalid`` as `check_price`."""
        self.check_price(price)
        # The newest price may be one for later; only what already holds, now and later, needs no version.
        if effective_at is not None or not price == self.newest_price == self.price_at(at):
            self.trigger_event(self.Repriced, timestamp=at, effective_at=effective_at or at, price=price)

    def check_price(self, price: Price) -> None:
        """Raises ``Invalid`` when the currency or the cycle would change: subscriptions live by both."""
        if price.currency != self.newest_price.currency:
            raise Invalid("price.currency", f"a product's currency stays {self.newest_price.currency}")
        if price.cycle != self.newest_price.cycle:
            raise Invalid("price.payment_frequency_interval", "a product's billing cycle never changes")
        if price.tax_inclusive != self.newest_price.tax_inclusive:
            raise Invalid("price.tax_inclusive", "all prices of a product contain tax, or none does")

    def archive(self, at: datetime) -> None:
        """Take it off sale. Raises ``Gone`` when it is already."""
        if self.archived:
            raise Gone("PRODUCT_ARCHIVED", f"product '{self.object_id}' is archived already")
        self.trigger_event(self.Archived, timestamp=at)

    def unarchive(self, at: datetime) -> None:
        """Put it on sale again. Nothing happens when it is."""
        if self.archived:
            self.trigger_event(self.Unarchived, timestamp=at)
