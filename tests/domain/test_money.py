"""Money: minor units, major units on the page, prices, and the one rounding."""

from decimal import Decimal
from fractions import Fraction
from typing import get_args

import pytest
from dodopayments.types import Currency
from hypothesis import given
from hypothesis import strategies as st

from domain import money
from domain.money import DECIMALS, UnknownCurrency
from domain.number import InvalidNumber

CURRENCIES = st.sampled_from(sorted(DECIMALS))


def test_every_currency_of_the_wire_contract_is_known() -> None:
    named = set(get_args(Currency))
    assert len(named) > 140
    assert named <= DECIMALS.keys()


@pytest.mark.parametrize(
    ("currency", "places"),
    [
        ("JPY", 0),
        ("ISK", 0),
        ("CLP", 0),
        ("USD", 2),
        ("EUR", 2),
        ("HUF", 2),
        ("KWD", 3),
        ("IQD", 3),
        ("CLF", 4),
    ],
)
def test_decimals(currency: str, places: int) -> None:
    assert money.decimals(currency) == places


@pytest.mark.parametrize("currency", ["", "usd", "US", "USDT", "XXX", "XAU", " USD"])
def test_other_codes_are_unknown(currency: str) -> None:
    with pytest.raises(UnknownCurrency, match="ISO 4217"):
        money.decimals(currency)
    with pytest.raises(UnknownCurrency):
        money.major_text(1, currency)


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        DECIMALS["USD"] = 3


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (1234, "USD", "12.34"),
        (5, "USD", "0.05"),
        (0, "USD", "0.00"),
        (-5, "USD", "-0.05"),
        (-123456, "USD", "-1234.56"),
        (1234, "JPY", "1234"),
        (0, "JPY", "0"),
        (-1, "JPY", "-1"),
        (-1, "KWD", "-0.001"),
        (12345, "KWD", "12.345"),
        (10**30, "USD", "1" + "0" * 28 + ".00"),
    ],
)
def test_amounts_in_major_units(minor: int, currency: str, text: str) -> None:
    assert money.major_text(minor, currency) == text


@given(st.integers(-(10**30), 10**30), CURRENCIES)
def test_major_units_are_exact(minor: int, currency: str) -> None:
    assert Fraction(money.major_text(minor, currency)) * 10 ** DECIMALS[currency] == minor


@pytest.mark.parametrize(
    ("minor_price", "currency", "text"),
    [
        ("0.1", "USD", "0.001"),
        ("0.5", "USD", "0.005"),
        ("0.000000000001", "USD", "0.00000000000001"),
        ("50", "USD", "0.50"),
        ("100", "USD", "1.00"),
        ("100.10", "USD", "1.001"),
        ("0", "USD", "0.00"),
        ("-0.1", "USD", "-0.001"),
        ("0.1", "JPY", "0.1"),
        ("7", "JPY", "7"),
        ("7", "KWD", "0.007"),
        ("12345.5", "KWD", "12.3455"),
    ],
)
def test_prices_in_major_units(minor_price: str, currency: str, text: str) -> None:
    assert money.price_major_text(Decimal(minor_price), currency) == text


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("0.1", "0.1"),
        ("99999", "99999"),
        ("00012.50", "12.5"),
        ("99999.999999999999", "99999.999999999999"),
    ],
)
def test_prices_are_read(text: str, price: str) -> None:
    assert money.parse_price(text) == Decimal(price)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("100000", "5 digits before and 12 after"),
        ("0.0000000000001", "5 digits before and 12 after"),
        ("1.0000000000000", "5 digits before and 12 after"),
        ("-0.1", "negative"),
        ("1e2", "plain decimal"),
        ("$1", "plain decimal"),
        ("", "plain decimal"),
        ("9" * 21, "20 digits before"),
    ],
)
def test_other_prices_are_refused_with_their_rule(text: str, rule: str) -> None:
    with pytest.raises(InvalidNumber, match=rule):
        money.parse_price(text)


@pytest.mark.parametrize(
    ("amount", "minor"),
    [
        ("0.5", 1),
        ("-0.5", -1),
        ("1.5", 2),
        ("2.5", 3),
        ("-2.5", -3),
        ("0.4999999999999999999999999999", 0),
        ("-0.4", 0),
        ("12345678901234567890123456789012345.5", 12345678901234567890123456789012346),
    ],
)
def test_rounding_to_minor_units(amount: str, minor: int) -> None:
    result = money.round_to_minor(Decimal(amount))
    assert type(result) is int
    assert result == minor


@given(st.integers(-(10**20), 10**20), st.integers(1, 49))
def test_rounding_is_symmetric_around_zero_and_to_the_nearest(whole: int, hundredths: int) -> None:
    amount = Decimal(whole) + Decimal(hundredths).scaleb(-2)
    assert money.round_to_minor(amount) == whole
    assert money.round_to_minor(-amount) == -money.round_to_minor(amount)
