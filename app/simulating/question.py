"""What a simulation is asked."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from domain.proposal import Proposal, Span


class Question(msgspec.Struct, frozen=True):
    """A proposal and the cycles that it is tried on, of some customers or (``None``) of all."""

    proposal: Proposal = Proposal()
    span: Span = Span(open_only=True)
    customer_ids: Sequence[str] | None = None
