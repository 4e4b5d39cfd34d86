"""The access trail: which command changed what, when, on whose behalf and from where. Read from the log itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from eventsourcing.utils import get_topic

from app.dashboard.recorded import SQL as RECORDED
from app.keys import SQL as KEYS
from app.keys import SYSTEM
from app.service import Via
from domain.aggregate import Fact
from domain.alert import Alert
from domain.customer import Customer
from domain.entitlement import Entitlement
from domain.errors import Invalid
from domain.instant import MICROSECOND
from domain.meter import Meter
from domain.product import Product
from domain.subscription import Subscription
from domain.tenant import Tenant
from projections.changed_fields import FieldChange, changes_of, own_fields
from projections.database import Database
from projections.log_reader import END, Retraction, facts_of_streams
from projections.trail import Decided, decided_before, facts_of_commits, retractions_of_commits

WALKED = 200
"""Commits read in one step: some milliseconds."""

WALKED_MAX = 5_000
"""Commits that one page looks through. A page that finds less says where to look further."""

FACTS_MAX = 50
"""Facts told of one commit. The close of a group has hundreds, which the invoices and ledgers tell better."""

REPLAYED = (Alert, Customer, Entitlement, Meter, Product, Subscription, Tenant)
"""Aggregates whose fields are compared with what they were. The others only add entries, and may have many."""

EVENT = "event"
RETRACTED = "event.retracted"
"""What a retraction is called beside the kinds of domain events."""

API_KEY = "api_key"
"""Keys are facts of the tenant's stream; to whoever looks for a key it is the object."""


class Origin(msgspec.Struct, frozen=True, rename={"address": "from"}):
    """Who asked for a commit, as the chain covers it. Older commits do not say how."""

    key_id: str
    address: str
    command: str
    via: Via | None = None

    def how(self) -> Via:
        """How it was asked for. Where the log does not say, it was a key, or what the service did by itself."""
        return self.via or (Via.service if self.key_id == SYSTEM else Via.key)


class Sought(msgspec.Struct, frozen=True, kw_only=True):
    """What to look for. ``None`` does not matter; without ``via``, all but what the service did by itself.

    ``object_kind`` and ``object_id`` belong together; ``kind`` is that of a fact. ``since`` is included, ``until`` not.
    """

    object_kind: str | None = None
    object_id: str | None = None
    kind: str | None = None
    key_id: str | None = None
    via: Via | None = None
    since: datetime | None = None
    until: datetime | None = None

    def stream(self, tenant_id: str) -> str | None:
        """The stream in which the facts about the object are."""
        if self.object_kind is None or self.object_kind == EVENT:
            return None
        if self.object_kind in (API_KEY, Tenant.TOPIC):
            return Tenant.stream(tenant_id)
        return f"{self.object_kind}:{self.object_id}"

    def fits(self, origin: Origin) -> bool:
        """Whether it is asked for what this caller did."""
        if self.key_id not in (None, origin.key_id):
            return False
        how = origin.how()
        return how is self.via if self.via else how is not Via.service or self.key_id is not None


class Change(msgspec.Struct, frozen=True):
    """One fact: where it stands in the log, its kind, what it is about, and the fields that it changed."""

    position: int
    kind: str
    object_kind: str
    object_id: str
    fields: list[FieldChange]


class Entry(msgspec.Struct, frozen=True):
    """One command that changed something. ``digest`` is the chain's at ``last_position``, so that it can be proven.

    Of ``changes`` the first are told; ``positions`` says how many facts the commit has.
    """

    first_position: int
    last_position: int
    recorded_at: datetime
    digest: bytes
    origin: Origin
    key_name: str
    changes: list[Change]

    @property
    def positions(self) -> int:
        """How many facts the commit has."""
        return self.last_position - self.first_position + 1


class Found(msgspec.Struct, frozen=True):
    """Entries, newest first. What was recorded before ``next_before`` was not looked at; ``None`` when all was."""

    entries: list[Entry]
    next_before: int | None


class _Met(msgspec.Struct, frozen=True):
    """A commit that fits, with those of its facts and retractions that are looked for."""

    commit: Decided
    origin: Origin
    facts: list[tuple[int, Fact]]
    retractions: list[Retraction]


async def trail(database: Database, tenant_id: str, sought: Sought, before: int = END, size: int = 20) -> Found:
    """The newest entries that begin before a position, at most ``size``. Raises ``Invalid``."""
    if (sought.object_kind is None) != (sought.object_id is None):
        raise Invalid("object_id" if sought.object_id is None else "object_kind", "must be given with the other one")
    before = min(before, await _bound(database, tenant_id, sought.until))
    stream, met, walked = sought.stream(tenant_id), list[_Met](), 0
    next_before: int | None = before
    while next_before is not None and len(met) < size and walked < WALKED_MAX:
        page = await decided_before(database, tenant_id, next_before, WALKED, stream=stream)
        recent = [one for one in page if sought.since is None or one.recorded_at >= sought.since]
        walked += len(page)
        met += await _met(database, tenant_id, sought, recent)
        next_before = recent[-1].first_position if recent and len(recent) == len(page) else None
    if len(met) > size:
        met, next_before = met[:size], met[size - 1].commit.first_position
    return Found(await _entries(database, tenant_id, met), next_before)


async def _bound(database: Database, tenant_id: str, until: datetime | None) -> int:
    """The first position that is recorded at ``until`` or later."""
    if until is None:
        return END
    row = await database.fetchrow(RECORDED["recorded_by"], tenant_id, [until - MICROSECOND])
    return 0 if row is None else row["position"] + 1


async def _met(database: Database, tenant_id: str, sought: Sought, page: Sequence[Decided]) -> list[_Met]:
    fitting = [
        (commit, origin) for commit in page if sought.fits(origin := msgspec.json.decode(commit.origin, type=Origin))
    ]
    commits, facts, retractions = [commit for commit, _ in fitting], list[tuple[int, Fact]](), list[Retraction]()
    if sought.object_kind != EVENT and sought.kind != RETRACTED:
        stream = sought.stream(tenant_id)
        placed = await facts_of_commits(database, tenant_id, commits, FACTS_MAX, stream=stream, kind=sought.kind)
        facts = [one for one in placed if sought.object_kind in (None, about(one[1])[0])]
        if sought.object_id is not None:
            facts = [one for one in facts if about(one[1])[1] == sought.object_id]
    if sought.object_kind in (None, EVENT) and sought.kind in (None, RETRACTED):
        event_id = sought.object_id
        retractions = await retractions_of_commits(database, tenant_id, commits, FACTS_MAX, event_id=event_id)
    met = [
        _Met(
            commit,
            origin,
            [one for one in facts if commit.first_position <= one[0] <= commit.last_position],
            [one for one in retractions if commit.first_position <= one.position <= commit.last_position],
        )
        for commit, origin in fitting
    ]
    return [one for one in met if one.facts or one.retractions]


def about(fact: Fact) -> tuple[str, str]:
    """What a fact is about: kind and id of the object."""
    if isinstance(fact, Tenant.KeyCreated | Tenant.KeyRevoked):
        return API_KEY, fact.key_id
    kind, _, object_id = fact.originator_id.partition(":")
    return kind, object_id


async def _entries(database: Database, tenant_id: str, met: Sequence[_Met]) -> list[Entry]:
    rows = await database.fetch(KEYS["names"], tenant_id, list({one.origin.key_id for one in met}))
    names = {row["key_id"]: row["name"] for row in rows}
    fields = await _fields(database, tenant_id, [fact for one in met for fact in one.facts])
    return [
        Entry(
            first_position=one.commit.first_position,
            last_position=one.commit.last_position,
            recorded_at=one.commit.recorded_at,
            digest=one.commit.digest,
            origin=one.origin,
            key_name=names.get(one.origin.key_id, ""),
            changes=[
                *(Change(at, get_topic(type(fact)), *about(fact), fields[at]) for at, fact in one.facts),
                *(Change(gone.position, RETRACTED, EVENT, gone.event_id, _reason(gone)) for gone in one.retractions),
            ],
        )
        for one in met
    ]


def _reason(retraction: Retraction) -> list[FieldChange]:
    return [FieldChange("reason", None, retraction.reason)] if retraction.reason else []


async def _fields(
    database: Database, tenant_id: str, placed: Sequence[tuple[int, Fact]]
) -> dict[int, list[FieldChange]]:
    """What each of these facts changed, by its position. Streams are read once, up to the last that is asked for."""
    found = {position: own_fields(fact) for position, fact in placed}
    replayed = {kind.TOPIC for kind in REPLAYED}
    later = [
        (position, fact)
        for position, fact in placed
        if fact.originator_version > 1 and fact.originator_id.partition(":")[0] in replayed
    ]
    if later:
        ids, last = {fact.originator_id for _, fact in later}, max(position for position, _ in later)
        for stream, facts in (await facts_of_streams(database, tenant_id, ids, up_to=last)).items():
            wanted = {fact.originator_version: position for position, fact in later if fact.originator_id == stream}
            found |= {wanted[version]: fields for version, fields in changes_of(facts, wanted).items()}
    return found
