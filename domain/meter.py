"""The meter: which usage events count, and how. Event name, aggregation and filter never change."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Self

from domain.aggregate import Root
from domain.aggregation import Aggregation
from domain.errors import Gone


class Meter(Root):
    """A declaration. Archived, it counts nothing recorded after that position and keeps its history."""

    TOPIC: ClassVar[str] = "meter"

    class Created(Root.Created):
        """``filter`` is the filter as JSON text, empty when every event of the name counts."""

        TOPIC: ClassVar[str] = "meter.created"
        name: str
        event_name: str
        aggregation: Aggregation
        filter: str
        measurement_unit: str
        description: str | None

    class Described(Root.Event):
        """What people read about the meter; what it counts stays the same."""

        TOPIC: ClassVar[str] = "meter.described"
        name: str
        measurement_unit: str
        description: str | None

        def apply(self, aggregate: Meter) -> None:
            """Write the three texts."""
            aggregate.name = self.name
            aggregate.measurement_unit = self.measurement_unit
            aggregate.description = self.description

    class Archived(Root.Event):
        """It stops counting."""

        TOPIC: ClassVar[str] = "meter.archived"

        def apply(self, aggregate: Meter) -> None:
            """Mark it."""
            aggregate.archived = True

    class Unarchived(Root.Event):
        """It counts again what is recorded from here on."""

        TOPIC: ClassVar[str] = "meter.unarchived"

        def apply(self, aggregate: Meter) -> None:
            """Unmark it."""
            aggregate.archived = False

    def __init__(
        self,
        name: str,
        event_name: str,
        aggregation: Aggregation,
        filter: str,
        measurement_unit: str,
        description: str | None,
    ) -> None:
        self.name = name
        self.event_name = event_name
        self.aggregation = aggregation
        self.filter = filter
        self.measurement_unit = measurement_unit
        self.description = description
        self.archived = False

    @classmethod
    def create(
        cls,
        meter_id: str,
        *,
        name: str,
        event_name: str,
        aggregation: Aggregation,
        filter: str,
        measurement_unit: str,
        description: str | None,
        at: datetime,
    ) -> Self:
        """Declare a meter. Its texts and its filter have been read by the caller."""
        return cls._create(
            cls.Created,
            id=cls.stream(meter_id),
            timestamp=at,
            name=name,
            event_name=event_name,
            aggregation=aggregation,
            filter=filter,
            measurement_unit=measurement_unit,
            description=description,
        )

    def describe(self, name: str, measurement_unit: str, description: str | None, at: datetime) -> None:
        """Change what people read. Nothing happens when nothing differs."""
        if (name, measurement_unit, description) != (self.name, self.measurement_unit, self.description):
            self.trigger_event(
                self.Described,
                timestamp=at,
                name=name,
                measurement_unit=measurement_unit,
                description=description,
            )

    def archive(self, at: datetime) -> None:
        """Stop counting. Raises ``Gone`` when it is archived already."""
        if self.archived:
            raise Gone("METER_ARCHIVED", f"meter '{self.object_id}' is archived already")
        self.trigger_event(self.Archived, timestamp=at)

    def unarchive(self, at: datetime) -> None:
        """Count again. Nothing happens when it is not archived."""
        if self.archived:
            self.trigger_event(self.Unarchived, timestamp=at)
