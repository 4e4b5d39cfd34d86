"""Customers: sealed fields are replaced whole."""

from __future__ import annotations

from datetime import UTC, datetime

from domain.customer import Customer

AT = datetime(2026, 3, 10, tzinfo=UTC)


def test_a_change_replaces_the_fields() -> None:
    customer = Customer.create("ada", personal="AQ==", time_zone="UTC", preferred_locale=None, metadata="{}", at=AT)
    customer.change(personal="Ag==", time_zone="Asia/Tokyo", preferred_locale="ja", metadata='{"a":1}', at=AT)
    assert (customer.personal, customer.time_zone, customer.preferred_locale) == ("Ag==", "Asia/Tokyo", "ja")
    assert (customer.metadata, customer.object_id) == ('{"a":1}', "ada")


def test_an_id_may_hold_the_separator_of_stream_names() -> None:
    customer = Customer.create("a:b", personal="", time_zone="UTC", preferred_locale=None, metadata="{}", at=AT)
    assert customer.object_id == "a:b"
