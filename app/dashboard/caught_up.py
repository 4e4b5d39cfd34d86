"""What a page reads anew is as new as the live values it shows already."""

from __future__ import annotations

from contextlib import suppress

from app.dashboard.page import AnyRequest
from app.projecting import NotProjected, wait_for
from domain.errors import Invalid

SEEN = "taximeter-seen"
"""The header in which a page says up to which position it has seen live values; see ``static/live.js``."""

POSITION_MAX_DIGITS = 18
"""Digits of a position: it fits 64 bits."""


async def caught_up(request: AnyRequest) -> None:
    """Before anything is read for a page, wait until the quantities are at the position that it has seen.

    Live values are ahead of the quantities by a moment. What they made a page ask for would not be there yet, and
    nothing would make it ask again. When the quantities do not come there in time the page is shown what there is.
    """
    seen = request.headers.get(SEEN, "")
    if not (seen.isascii() and seen.isdigit()) or len(seen) > POSITION_MAX_DIGITS:
        return
    with suppress(NotProjected, Invalid):
        await wait_for(request.app.state.service, request.auth.tenant_id, int(seen))
