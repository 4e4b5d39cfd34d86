"""The price versions of a product: when and by whom each was recorded, and which of them prices a cycle, and why."""

from __future__ import annotations

from datetime import datetime

import msgspec

from app.audit.invoice_facts import SQL
from domain import instant
from domain.price import PriceVersion, version_in_force
from domain.product import Product
from projections.aggregates import Aggregates


class Origin(msgspec.Struct, frozen=True):
    """Who asked for a commit, by which command and from where. Commits of the first versions may lack any of it."""

    key_id: str | None = None
    command: str | None = None
    address: str | None = msgspec.field(default=None, name="from")


class RecordedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A price version. ``index`` counts from 1, in the order of recording; ``why`` says what makes it apply or not."""

    index: int
    version: PriceVersion
    position: int
    recorded_at: datetime
    origin: Origin
    applies: bool
    why: str


async def price_history(
    known: Aggregates, product_id: str, cycle_start: datetime, known_at: int
) -> list[RecordedVersion]:
    """The versions that were known at a position, oldest first; one of them applies to the cycle."""
    product = await known.at_position(Product, product_id, known_at)
    stream = Product.stream(product_id)
    rows = await known.database.fetch(SQL["facts_with_origin"], known.tenant_id, stream, known_at)
    places = {row["originator_version"]: row for row in rows}
    facts = await known.facts(Product, product_id)
    priced = [fact for fact in facts if isinstance(fact, Product.Created | Product.Repriced)]
    chosen = version_in_force(product.versions, cycle_start)
    found: list[RecordedVersion] = []
    for index, (version, fact) in enumerate(zip(product.versions, priced, strict=False)):
        place = places[fact.originator_version]
        found.append(
            RecordedVersion(
                index=index + 1,
                version=version,
                position=place["position"],
                recorded_at=place["recorded_at"],
                origin=msgspec.json.decode(place["origin"] or b"{}", type=Origin),
                applies=index == chosen,
                why=_why(product.versions, index, chosen, cycle_start),
            )
        )
    return found


def _why(versions: list[PriceVersion], index: int, chosen: int, cycle_start: datetime) -> str:
    at, start = versions[index].effective_at, instant.moment(cycle_start)
    since = "from the beginning of time" if at is None else f"from {instant.moment(at)}"
    if index == chosen:
        return f"in force {since}, the latest that is in force when the cycle starts at {start}"
    if at is not None and at > cycle_start:
        return f"in force {since} only, and the cycle starts at {start}"
    if at == versions[chosen].effective_at:
        return f"in force {since}, as version {chosen + 1} is, which was recorded later"
    return f"in force {since}, until version {chosen + 1} took its place"
