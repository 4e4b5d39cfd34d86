"""Products: price versions that never change currency or cycle."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from domain.cycle import Interval, Unit
from domain.errors import Gone, Invalid
from domain.price import UNTIL_CANCELLED, IncludedCredits, Price
from domain.product import Product

AT = datetime(2026, 3, 10, tzinfo=UTC)
PRICE = Price(
    currency="USD", fixed_price=100, cycle=Interval(count=1, unit=Unit.Month), subscription_period=UNTIL_CANCELLED
)
DEARER = msgspec.structs.replace(PRICE, fixed_price=200)


def product() -> Product:
    return Product.create("pdt_1", name="API", tax_category="saas", description=None, metadata="{}", price=PRICE, at=AT)


def test_a_new_price_holds_for_the_cycles_that_start_from_now_on() -> None:
    sold = product()
    sold.reprice(DEARER, None, AT)
    assert sold.price_at(datetime(2026, 3, 1, tzinfo=UTC)) == PRICE
    assert sold.price_at(datetime(2026, 4, 1, tzinfo=UTC)) == DEARER


def test_a_price_may_be_effective_in_the_past_or_later() -> None:
    sold = product()
    sold.reprice(DEARER, datetime(2026, 2, 1, tzinfo=UTC), AT)
    assert sold.price_at(datetime(2026, 1, 1, tzinfo=UTC)) == PRICE
    assert sold.price_at(datetime(2026, 2, 1, tzinfo=UTC)) == DEARER


def test_the_same_price_again_is_no_version() -> None:
    sold = product()
    sold.reprice(PRICE, None, AT)
    assert len(sold.versions) == 1


def test_other_included_credits_are_a_version() -> None:
    sold = product()
    included = (IncludedCredits(credit_entitlement_id="cde_1", credits_amount="10"),)
    sold.reprice(msgspec.structs.replace(PRICE, credits=included), None, AT)
    assert [version.price.credits for version in sold.versions] == [(), included]


@pytest.mark.parametrize(
    "changed",
    [{"currency": "EUR"}, {"cycle": Interval(count=1, unit=Unit.Year)}],
)
def test_currency_and_cycle_stay(changed: dict[str, object]) -> None:
    sold = product()
    with pytest.raises(Invalid):
        sold.reprice(msgspec.structs.replace(PRICE, **changed), None, AT)
    assert len(sold.versions) == 1


def test_archiving_twice_is_gone_and_unarchiving_is_not() -> None:
    sold = product()
    sold.archive(AT)
    with pytest.raises(Gone):
        sold.archive(AT)
    sold.unarchive(AT)
    sold.unarchive(AT)
    assert not sold.archived


def test_a_price_scheduled_for_later_can_be_brought_forward() -> None:
    sold = product()
    sold.reprice(DEARER, datetime(2027, 1, 1, tzinfo=UTC), AT)
    sold.reprice(DEARER, None, AT)
    assert sold.price_at(datetime(2026, 4, 1, tzinfo=UTC)) == DEARER
