"""What a fact changed: each field before and after, and nothing that stayed as it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from domain.aggregate import Fact, Root
from domain.customer import Customer
from domain.subscription_events import Status
from domain.tenant import Settings, Tenant
from projections.changed_fields import SEALED_WORD, VALUE_MAX_CHARS, FieldChange, changes_of, own_fields
from tests.domain.subscribed import subscribed

AT = datetime(2026, 3, 10, tzinfo=UTC)


def facts_of(root: Root) -> list[Fact]:
    return [fact for fact in root.collect_events() if isinstance(fact, Fact)]


def test_settings_are_told_member_by_member() -> None:
    tenant = Tenant.create("acme", AT)
    tenant.change_settings(Settings(close_grace=5, company={"name": "A"}), AT)
    tenant.change_settings(Settings(close_grace=5, number_prefix="X-"), AT)
    facts = facts_of(tenant)
    assert changes_of(facts, {2}) == {
        2: [FieldChange("settings.close_grace", None, 5), FieldChange("settings.company", None, {"name": "A"})]
    }
    assert changes_of(facts, {3}) == {
        3: [FieldChange("settings.company", {"name": "A"}, None), FieldChange("settings.number_prefix", None, "X-")]
    }


def test_only_what_is_asked_for_is_told_whatever_came_before() -> None:
    tenant = Tenant.create("acme", AT)
    for number in range(5):
        tenant.create_key(f"key_{number}", "read", "", AT)
    assert set(changes_of(facts_of(tenant), {3, 6})) == {3, 6}


def test_what_is_sealed_is_a_word_and_the_same_seal_is_no_change() -> None:
    customer = Customer.create("ada", personal="AQ==", time_zone="UTC", preferred_locale=None, metadata="{}", at=AT)
    customer.change(personal="AQ==", time_zone="UTC", preferred_locale="de", metadata="{}", at=AT)
    customer.change(personal="Ag==", time_zone="UTC", preferred_locale="de", metadata="{}", at=AT)
    customer.erase_personal_data(AT)
    assert changes_of(facts_of(customer), {1, 2, 3, 4}) == {
        1: [
            FieldChange("personal", None, SEALED_WORD),
            FieldChange("time_zone", None, "UTC"),
            FieldChange("metadata", None, "{}"),
        ],
        2: [FieldChange("preferred_locale", None, "de")],
        3: [FieldChange("personal", SEALED_WORD, SEALED_WORD)],
        4: [FieldChange("personal", SEALED_WORD, None)],
    }


def test_what_a_fact_turned_without_saying_so_is_told() -> None:
    paused = subscribed(at=AT)
    paused.advance("UTC", AT)
    paused.pause("UTC", AT + timedelta(days=3))
    facts = facts_of(paused)
    (changed,) = changes_of(facts, {facts[-1].originator_version}).values()
    assert FieldChange("status", Status.active.value, Status.paused.value) in changed


def test_a_long_text_is_cut_also_within_an_object() -> None:
    tenant = Tenant.create("acme", AT)
    tenant.change_settings(Settings(company={"logo": "x" * (VALUE_MAX_CHARS + 1)}, number_prefix="y" * 3_000), AT)
    (fact,) = facts_of(tenant)[1:]
    told = {one.field: one.after for one in own_fields(fact)}
    assert told["settings.company"]["logo"] == "x" * VALUE_MAX_CHARS + "…"
    assert told["settings.number_prefix"] == "y" * VALUE_MAX_CHARS + "…"
