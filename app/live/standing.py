"""What a customer stands at: the quantities and estimates of the cycles that are not closed, at one position."""

from __future__ import annotations

import msgspec

from domain.invoice import Document


class MeterQuantity(msgspec.Struct, frozen=True):
    """What a meter counted in a cycle, as a plain decimal."""

    meter_id: str
    quantity: str


class CycleStanding(msgspec.Struct, frozen=True):
    """One cycle of a subscription that is not closed: whole values, as they are on the wire.

    ``estimate`` is what closing the cycle at its end would give if nothing more were recorded.
    """

    subscription_id: str
    cycle_start: str
    cycle_end: str
    meters: tuple[MeterQuantity, ...]
    estimate: Document


class Standing(msgspec.Struct, frozen=True):
    """A customer at ``position``. ``changed`` holds, for each cycle, the position at which its values last changed.

    A cycle that is no longer listed was closed or its subscription has ended; ``left`` is the position at which
    one last disappeared.
    """

    customer_id: str
    position: int
    cycles: tuple[CycleStanding, ...]
    changed: tuple[int, ...]
    left: int = 0

    def of(self, subscription_id: str) -> Standing:
        """The same, for one subscription alone."""
        kept = [index for index, cycle in enumerate(self.cycles) if cycle.subscription_id == subscription_id]
        return msgspec.structs.replace(
            self,
            cycles=tuple(self.cycles[index] for index in kept),
            changed=tuple(self.changed[index] for index in kept),
        )
