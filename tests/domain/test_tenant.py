"""Tenants: settings over the service's defaults, and keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from domain.errors import Conflict, NotFound
from domain.tenant import Rules, Settings, Tenant, rules_in_force

AT = datetime(2026, 3, 1, tzinfo=UTC)
DEFAULT = Rules(
    event_ahead_max=timedelta(minutes=5),
    event_age_max=timedelta(days=35),
    close_grace=timedelta(hours=1),
    number_prefix="INV-",
    company={},
)


def test_a_tenant_without_settings_follows_the_service() -> None:
    assert rules_in_force(Settings(), DEFAULT) == DEFAULT


def test_a_limit_that_is_lifted_is_not_one_that_was_never_set() -> None:
    rules = rules_in_force(Settings(event_age_max=None), DEFAULT)
    assert rules.event_age_max is None
    assert rules.event_ahead_max == DEFAULT.event_ahead_max
    stored = msgspec.json.decode(msgspec.json.encode(Settings(event_age_max=None)), type=Settings)
    assert stored == Settings(event_age_max=None)


def test_settings_are_exact_to_the_microsecond() -> None:
    rules = rules_in_force(Settings(close_grace=1, event_ahead_max=3_600_000_001), DEFAULT)
    assert rules.close_grace == timedelta(microseconds=1)
    assert rules.event_ahead_max == timedelta(hours=1, microseconds=1)


def test_the_same_settings_again_record_nothing() -> None:
    tenant = Tenant.create("acme", AT)
    tenant.change_settings(Settings(), AT)
    assert tenant.version == 1


def test_a_revoked_key_cannot_be_revoked_again() -> None:
    tenant = Tenant.create("acme", AT)
    tenant.create_key("key_1", "read", "", AT)
    with pytest.raises(Conflict):
        tenant.create_key("key_1", "write", "", AT)
    tenant.revoke_key("key_1", AT)
    with pytest.raises(NotFound):
        tenant.revoke_key("key_1", AT)
