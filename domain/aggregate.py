"""The shape of every aggregate, on the `eventsourcing` library: string ids, explicit kinds, time as an argument.

Deciding and applying are apart. A public method of an aggregate decides: it may refuse, and it triggers an event with
the time that its caller gives. An event's ``apply`` only writes attributes: it never validates and reads no clock, so a
stored event means the same for ever. The library calls an event's kind its ``TOPIC``: a short stable name that every
event class states, so that a module path is never stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from eventsourcing.domain import BaseAggregate, CanInitAggregate, CanMutateAggregate, MetaDomainEvent


@dataclass(frozen=True)
class Fact(CanMutateAggregate[str], metaclass=MetaDomainEvent):
    """A domain event: a fact that an aggregate decided at ``timestamp`` (the recording time, UTC)."""

    class_version: ClassVar[int] = 1

    originator_id: str
    originator_version: int
    timestamp: datetime


@dataclass(frozen=True)
class Opening(CanInitAggregate[str], Fact):
    """The first event of an aggregate's stream."""

    originator_topic: str


class Root(BaseAggregate[str]):
    """An aggregate. Its stream is named by kind and id, so that ids chosen by a caller cannot collide across kinds."""

    TOPIC: ClassVar[str]

    class Event(Fact):
        """A later event of the stream."""

    class Created(Event, Opening):
        """The first event of the stream."""

    @classmethod
    def stream(cls, object_id: str) -> str:
        """The stream of the aggregate with this public id."""
        return f"{cls.TOPIC}:{object_id}"

    @property
    def object_id(self) -> str:
        """The public id: the stream's name without its kind."""
        return self.id.partition(":")[2]
