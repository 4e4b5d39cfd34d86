"""States of customers for the tests of the live channel, without a database."""

from __future__ import annotations

from app.live.standing import CycleStanding, MeterQuantity, Standing
from domain.invoice import Document


def cycle(quantity: int, *, subscription_id: str = "sub_1", month: int = 1, position: int = 0) -> CycleStanding:
    """A cycle whose estimate is its quantity in cents."""
    start, end = f"2026-{month:02}-01T00:00:00.000000Z", f"2026-{month + 1:02}-01T00:00:00.000000Z"
    return CycleStanding(
        subscription_id=subscription_id,
        cycle_start=start,
        cycle_end=end,
        meters=(MeterQuantity("mtr_1", str(quantity)),),
        estimate=Document(
            invoice_id=None,
            number=None,
            customer_id="ada",
            subscription_id=subscription_id,
            currency="USD",
            cycle_start=start,
            cycle_end=end,
            lines=(),
            subtotal_amount=quantity,
            wallet_amount=0,
            tax_amount=0,
            total_amount=quantity,
            position=position,
            digest=None,
            issued_at=None,
        ),
    )


def standing(
    position: int,
    *cycles: CycleStanding,
    customer_id: str = "ada",
    changed: tuple[int, ...] | None = None,
    left: int = 0,
) -> Standing:
    """A state in which every cycle changed last at ``position``, unless ``changed`` says when."""
    return Standing(customer_id, position, cycles, changed or (position,) * len(cycles), left)
