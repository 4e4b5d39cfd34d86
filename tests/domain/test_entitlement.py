"""Credit entitlements: terms that hold together, a precision that stays, deleting once."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from domain.entitlement import Entitlement, Overage, OverageBehavior, Rollover, Terms, check_credits
from domain.errors import Gone, Invalid

AT = datetime(2026, 3, 1, tzinfo=UTC)
TERMS = Terms(name="AI credits", unit="credit")


def entitlement(precision: int = 2) -> Entitlement:
    return Entitlement.create("cde_1", precision=precision, terms=TERMS, at=AT)


@pytest.mark.parametrize("precision", [-1, 11])
def test_the_precision_has_limits(precision: int) -> None:
    with pytest.raises(Invalid, match="precision"):
        entitlement(precision)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"expires_after_days": 0}, "expires_after_days"),
        ({"rollover": Rollover(enabled=True, percentage=101)}, "rollover_percentage"),
        ({"rollover": Rollover(enabled=True, percentage=-1)}, "rollover_percentage"),
        ({"rollover": Rollover(enabled=True, max_count=-1)}, "max_rollover_count"),
        ({"overage": Overage(enabled=True, limit="-1")}, "overage_limit"),
        ({"price_per_unit": "0.5"}, "currency"),
        ({"overage": Overage(enabled=True, behavior=OverageBehavior.invoice_at_billing)}, "price_per_unit"),
    ],
)
def test_terms_that_break_a_rule_name_the_field(changes: dict[str, object], field: str) -> None:
    wrong = msgspec.structs.replace(TERMS, **changes)
    with pytest.raises(Invalid) as made:
        Entitlement.create("cde_1", precision=2, terms=wrong, at=AT)
    assert made.value.field == field
    kept = entitlement()
    with pytest.raises(Invalid):
        kept.change(wrong, AT)
    assert kept.terms == TERMS


def test_a_change_replaces_the_terms_and_the_same_terms_are_no_change() -> None:
    changed = entitlement()
    renamed = msgspec.structs.replace(TERMS, name="Tokens")
    changed.change(renamed, AT)
    changed.change(renamed, AT)
    assert (changed.terms, changed.precision, changed.version) == (renamed, 2, 2)


def test_it_is_deleted_once_and_comes_back() -> None:
    gone = entitlement()
    gone.delete(AT)
    with pytest.raises(Gone) as refused:
        gone.delete(AT)
    assert refused.value.code == "CREDIT_ENTITLEMENT_DELETED"
    gone.undelete(AT)
    gone.undelete(AT)
    assert (gone.deleted, gone.version) == (False, 3)


@pytest.mark.parametrize(
    ("amount", "rule"),
    [("-1", "negative"), ("0.001", "at most 2 digits"), ("10000000000", "below 10"), ("1e10", "below 10")],
)
def test_an_amount_of_credits_has_limits(amount: str, rule: str) -> None:
    with pytest.raises(Invalid, match=rule):
        check_credits(Decimal(amount), 2, "amount")


@pytest.mark.parametrize("amount", ["0", "0.01", "1.500", "9999999999.99"])
def test_an_amount_within_the_limits_is_itself(amount: str) -> None:
    assert check_credits(Decimal(amount), 2, "amount") == Decimal(amount)
