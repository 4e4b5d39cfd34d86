"""The tenant: one business, its settings and its API keys."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Self

import msgspec

from domain import instant
from domain.aggregate import Fact, Root
from domain.errors import Conflict, Invalid, NotFound
from domain.rating import Tax


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a tenant may decide for itself. Durations are microseconds; ``None`` lifts the limit.

    A field that the tenant never set is ``UNSET`` and follows the service's own setting.
    """

    event_ahead_max: int | msgspec.UnsetType | None = msgspec.UNSET
    event_age_max: int | msgspec.UnsetType | None = msgspec.UNSET
    close_grace: int | msgspec.UnsetType = msgspec.UNSET
    number_prefix: str | msgspec.UnsetType = msgspec.UNSET
    company: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    tax_lines: tuple[Tax, ...] | msgspec.UnsetType = msgspec.UNSET


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The settings in force: a tenant's own where it has them, else the service's.

    ``test_clock`` is the now of a tenant in test mode, and ``None`` for all others.
    """

    event_ahead_max: timedelta | None
    event_age_max: timedelta | None
    close_grace: timedelta
    number_prefix: str
    company: dict[str, str]
    taxes: tuple[Tax, ...] = ()
    test_clock: datetime | None = None


def duration_of(setting: int | None) -> timedelta | None:
    """A stored duration of so many microseconds; ``None`` stays ``None``."""
    return None if setting is None else timedelta(microseconds=setting)


def rules_in_force(settings: Settings, default: Rules, test_clock: datetime | None = None) -> Rules:
    """The tenant's settings over the service's, and its test clock."""
    unset = msgspec.UNSET
    ahead, age, grace = settings.event_ahead_max, settings.event_age_max, settings.close_grace
    return Rules(
        event_ahead_max=default.event_ahead_max if ahead is unset else duration_of(ahead),
        event_age_max=default.event_age_max if age is unset else duration_of(age),
        close_grace=default.close_grace if grace is unset else timedelta(microseconds=grace),
        number_prefix=default.number_prefix if settings.number_prefix is unset else settings.number_prefix,
        company=default.company if settings.company is unset else settings.company,
        taxes=default.taxes if settings.tax_lines is unset else settings.tax_lines,
        test_clock=test_clock,
    )


class Tenant(Root):
    """A business. Its stream records who could do what, and since when."""

    TOPIC: ClassVar[str] = "tenant"

    class Created(Root.Created):
        """The tenant exists."""

        TOPIC: ClassVar[str] = "tenant.created"

    class KeyCreated(Root.Event):
        """An API key was made; its secret is nowhere, its hash beside the log."""

        TOPIC: ClassVar[str] = "api_key.created"
        key_id: str
        scope: str
        name: str

        def apply(self, aggregate: Tenant) -> None:
            """Add the key's id."""
            aggregate.key_ids.add(self.key_id)

    class KeyRevoked(Root.Event):
        """An API key opens nothing any more."""

        TOPIC: ClassVar[str] = "api_key.revoked"
        key_id: str

        def apply(self, aggregate: Tenant) -> None:
            """Drop the key's id."""
            aggregate.key_ids.discard(self.key_id)

    class SettingsChanged(Root.Event):
        """The new whole of the tenant's own settings."""

        TOPIC: ClassVar[str] = "tenant.settings_changed"
        settings: Settings

        def apply(self, aggregate: Tenant) -> None:
            """Write them."""
            aggregate.settings = self.settings

    class TestModeBegun(Root.Event):
        """From here on the tenant has a clock of its own, which stands at ``now``."""

        TOPIC: ClassVar[str] = "tenant.test_mode_begun"
        now: datetime

        def apply(self, aggregate: Tenant) -> None:
            """Set the clock."""
            aggregate.test_clock = self.now

    @dataclass(frozen=True)
    class ClockMoved(Root.Event):
        """The test clock stands at a later instant."""

        TOPIC: ClassVar[str] = "test_clock.moved"
        to: datetime

        def apply(self, aggregate: Tenant) -> None:
            """Set the clock."""
            aggregate.test_clock = self.to

    class UsageRetired(Root.Event):
        """The rows of the usage that was recorded in a month ("2026-01") were dropped: an archive holds them.

        ``archive`` is the digest of its manifest. Nothing that happened before ``settled_until`` changes any more.
        """

        TOPIC: ClassVar[str] = "usage.retired"
        month: str
        first_position: int
        last_position: int
        events: int
        settled_until: datetime
        archive: str

        def apply(self, aggregate: Tenant) -> None:
            """Add the month."""
            aggregate.retired_months[self.month] = self.archive

    class UsageBroughtBack(Root.Event):
        """The rows of a retired month are here again, out of an archive with this digest."""

        TOPIC: ClassVar[str] = "usage.brought_back"
        month: str
        archive: str

        def apply(self, aggregate: Tenant) -> None:
            """Drop the month."""
            aggregate.retired_months.pop(self.month, None)

    def __init__(self) -> None:
        self.retired_months: dict[str, str] = {}
        self.key_ids: set[str] = set()
        self.settings = Settings()
        self.test_clock: datetime | None = None

    @classmethod
    def create(cls, tenant_id: str, at: datetime) -> Self:
        """The first event of a tenant's log."""
        return cls._create(cls.Created, id=cls.stream(tenant_id), timestamp=at)

    def create_key(self, key_id: str, scope: str, name: str, at: datetime) -> None:
        """Record a new key. Raises ``Conflict`` when the id is taken."""
        if key_id in self.key_ids:
            raise Conflict("API_KEY_EXISTS", f"there is an API key '{key_id}' already")
        self.trigger_event(self.KeyCreated, timestamp=at, key_id=key_id, scope=scope, name=name)

    def revoke_key(self, key_id: str, at: datetime) -> None:
        """Record that a key is revoked. Raises ``NotFound`` for one that does not open anything."""
        if key_id not in self.key_ids:
            raise NotFound("api_key", key_id)
        self.trigger_event(self.KeyRevoked, timestamp=at, key_id=key_id)

    def change_settings(self, settings: Settings, at: datetime) -> None:
        """Replace the settings. Nothing happens when nothing differs."""
        if settings != self.settings:
            self.trigger_event(self.SettingsChanged, timestamp=at, settings=settings)

    def set_test_mode(self, wanted: bool, has_usage: bool, at: datetime) -> None:
        """Begin test mode: the clock stands at ``at`` until it is moved. Nothing happens when nothing differs.

        Raises ``Conflict`` once there is usage, whose times are those of the real clock, and for an end of test mode.
        """
        if wanted == (self.test_clock is not None):
            return
        if not wanted:
            raise Conflict("TEST_MODE_IS_FOR_EVER", "test mode is never left; real billing needs a tenant of its own")
        if has_usage:
            raise Conflict("USAGE_WAS_RECORDED", "test mode begins before the first usage event is recorded")
        self.trigger_event(self.TestModeBegun, timestamp=at, now=at)

    def retire_usage(
        self, month: str, span: tuple[int, int], events: int, settled_until: datetime, archive: str, at: datetime
    ) -> None:
        """Record that the rows of a month, so many events of a span of positions, are in an archive alone."""
        self.trigger_event(
            self.UsageRetired,
            timestamp=at,
            month=month,
            first_position=span[0],
            last_position=span[1],
            events=events,
            settled_until=settled_until,
            archive=archive,
        )

    def bring_back_usage(self, month: str, archive: str, at: datetime) -> None:
        """Record that a month's rows are here again. Raises ``NotFound`` when they are."""
        if month not in self.retired_months:
            raise NotFound("retired_month", month)
        self.trigger_event(self.UsageBroughtBack, timestamp=at, month=month, archive=archive)


def move_clock(tenant_id: str, last: int, clock: datetime, to: datetime) -> Fact:
    """The event that moves a test clock from ``clock`` forward; ``last`` is the length of the tenant's stream.

    A walk through years makes many of these, so the stream is not replayed for each; the log refuses a version that is
    taken. It is recorded at the instant it moves to, as everything after it is. Raises ``Invalid``.
    """
    if to <= clock:
        raise Invalid("to", f"must lie after the tenant's now, which is {instant.text(clock)}")
    return Tenant.ClockMoved(originator_id=Tenant.stream(tenant_id), originator_version=last + 1, timestamp=to, to=to)
