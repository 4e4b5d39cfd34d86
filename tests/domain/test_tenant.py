"""Tenants: settings over the service's defaults, and keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest

from domain.errors import Conflict, Invalid, NotFound
from domain.rating import Tax
from domain.tenant import Rules, Settings, Tenant, move_clock, rules_in_force

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


def test_taxes_that_were_taken_away_are_not_those_of_the_service() -> None:
    vat = Tax(name="VAT", percent=Decimal("19.5"), included=False)
    service = msgspec.structs.replace(DEFAULT, taxes=(vat,))
    assert rules_in_force(Settings(), service).taxes == (vat,)
    assert rules_in_force(Settings(tax_lines=()), service).taxes == ()
    stored = msgspec.json.encode(Settings(tax_lines=(vat,)))
    assert stored == b'{"tax_lines":[{"name":"VAT","percent":"19.5","included":false}]}'
    assert msgspec.json.decode(stored, type=Settings) == Settings(tax_lines=(vat,))


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


def test_a_tenant_lives_in_real_time_until_test_mode_begins() -> None:
    tenant = Tenant.create("acme", AT)
    tenant.set_test_mode(False, has_usage=True, at=AT)
    assert (tenant.test_clock, tenant.version) == (None, 1)
    with pytest.raises(Conflict, match="before the first usage"):
        tenant.set_test_mode(True, has_usage=True, at=AT)
    tenant.set_test_mode(True, has_usage=False, at=AT)
    assert tenant.test_clock == AT


def test_test_mode_is_never_left() -> None:
    tenant = Tenant.create("acme", AT)
    tenant.set_test_mode(True, has_usage=False, at=AT)
    with pytest.raises(Conflict, match="never left"):
        tenant.set_test_mode(False, has_usage=False, at=AT)
    tenant.set_test_mode(True, has_usage=True, at=AT + timedelta(days=1))
    assert (tenant.test_clock, tenant.version) == (AT, 2)


def test_a_test_clock_moves_forward_only() -> None:
    tenant = Tenant.create("acme", AT)
    tenant.set_test_mode(True, has_usage=False, at=AT)
    with pytest.raises(Invalid, match="2026-03-01T00:00:00"):
        move_clock("acme", tenant.version, AT, AT)
    move_clock("acme", tenant.version, AT, AT + timedelta(microseconds=1)).mutate(tenant)
    assert tenant.test_clock == AT + timedelta(microseconds=1)
