"""Numbers are exact: reading, writing, arithmetic and the two functions that round."""

import decimal
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import number
from domain.number import MAX_FRACTION_DIGITS, MAX_WHOLE_DIGITS, InvalidNumber

BOUND = 10 ** (MAX_WHOLE_DIGITS + MAX_FRACTION_DIGITS)
DECIMALS = st.builds(
    lambda units, places: number.times(Decimal(units), Decimal((0, (1,), -places))),
    st.integers(1 - BOUND, BOUND - 1),
    st.integers(MAX_FRACTION_DIGITS, MAX_FRACTION_DIGITS),
) | st.builds(
    lambda units, places: number.times(Decimal(units), Decimal((0, (1,), -places))),
    st.integers(-10_000, 10_000),
    st.integers(0, 6),
)


def same_sign_and_digits(a: Decimal, b: Decimal) -> bool:
    return a.as_tuple() == b.as_tuple()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("12", "12"),
        ("-1.50", "-1.5"),
        ("1e3", "1000"),
        ("1E+3", "1000"),
        ("1.5e-3", "0.0015"),
        ("0.1e1", "1"),
        ("9" * 20, "9" * 20),
        ("0." + "1" * 30, "0." + "1" * 30),
        ("9" * 20 + "." + "9" * 30, "9" * 20 + "." + "9" * 30),
        ("1e19", "1" + "0" * 19),
        ("1e-30", "0." + "0" * 29 + "1"),
        ("0.0001e23", "1" + "0" * 19),
    ],
)
def test_json_numbers_are_read_from_their_text(text: str, value: str) -> None:
    assert number.plain(number.parse_json(text)) == value


@pytest.mark.parametrize(
    "text",
    ["", "-", "+1", "01", "-01", ".5", "1.", "1e", "1e+", "0x1", "1_0", " 1", "1 ", "1\n", "NaN", "Infinity",
     "-Infinity", "true", "null", '"1"', "\u0661", "\uff11", "1\u0661", "1,5", "--1", "1e1.5"],
)  # fmt: skip
def test_what_is_no_json_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidNumber, match="must be a JSON number"):
        number.parse_json(text)


@pytest.mark.parametrize(
    "text",
    [
        "1e400",
        "-1e400",
        "1e20",
        "1" + "0" * 20,
        "1e-31",
        "0." + "0" * 30 + "1",
        "1." + "0" * 31,
        "0e400",
        "0e-31",
        "1e999999999999999999999999",
        "1e-999999999999999999999999",
        "1e" + "9" * 10_000,
    ],
)
def test_limits_hold_for_the_number_written_out(text: str) -> None:
    with pytest.raises(InvalidNumber, match="at most 20 digits before and 30 after the decimal point"):
        number.parse_json(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", "0"), ("-0", "0"), ("007", "7"), ("-1.50", "-1.5"), ("0" * 40 + "1", "1"), ("-0.0", "0")],
)
def test_plain_notation_is_read(text: str, value: str) -> None:
    assert number.plain(number.parse_plain(text)) == value


@pytest.mark.parametrize(
    "text",
    ["", "-", "+1", "1_0", " 1", "1 ", "1\n", ".5", "1.", "1e3", "1E3", "--1", "NaN", "Infinity", "\u0661", "\uff11",
     "1,5"],
)  # fmt: skip
def test_everything_else_is_no_plain_notation(text: str) -> None:
    with pytest.raises(InvalidNumber, match="plain decimal notation"):
        number.parse_plain(text)


@pytest.mark.parametrize("text", ["1" * 21, "-" + "1" * 21, "0." + "1" * 31, "1" * 500])
def test_plain_notation_has_the_same_limits(text: str) -> None:
    with pytest.raises(InvalidNumber, match="at most 20 digits"):
        number.parse_plain(text)


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("Infinity"), Decimal("1e20"), Decimal("1e-31")])
def test_limits_of_a_decimal(value: Decimal) -> None:
    with pytest.raises(InvalidNumber):
        number.check_limits(value)
    assert number.check_limits(Decimal("12.5")) == Decimal("12.5")


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (Decimal("1.5"), Decimal("1.5")),
        (7, Decimal(7)),
        ("12.50", Decimal("12.5")),
        ("-3", Decimal(-3)),
        ("007", Decimal(7)),
        ("1e3", None),
        ("", None),
        ("twelve", None),
        (" 1", None),
        ("1" * 21, None),
        ("NaN", None),
        (Decimal("NaN"), None),
        (True, None),
        (False, None),
        (None, None),
        (1.5, None),
        ([1], None),
    ],
)
def test_what_a_meter_sees(value: object, seen: Decimal | None) -> None:
    assert number.measure(value) == seen


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("-0.00", "0"),
        ("0E+5", "0"),
        ("1E+3", "1000"),
        ("100", "100"),
        ("1.500", "1.5"),
        ("-2.0", "-2"),
        ("1E-7", "0.0000001"),
        ("1" * 60 + "." + "2" * 60, "1" * 60 + "." + "2" * 60),
    ],
)
def test_plain_writes_no_exponent_and_no_needless_zero(value: str, text: str) -> None:
    assert number.plain(Decimal(value)) == text


@given(DECIMALS)
def test_plain_and_back_is_the_same_number(value: Decimal) -> None:
    text = number.plain(value)
    assert number.parse_plain(text) == value
    assert number.parse_json(text) == value
    assert number.plain(number.parse_json(str(value))) == text


@given(DECIMALS, DECIMALS)
def test_arithmetic_is_exact(a: Decimal, b: Decimal) -> None:
    assert Fraction(number.plus(a, b)) == Fraction(a) + Fraction(b)
    assert Fraction(number.minus(a, b)) == Fraction(a) - Fraction(b)
    assert Fraction(number.times(a, b)) == Fraction(a) * Fraction(b)


@given(st.lists(DECIMALS, max_size=20))
def test_a_total_is_exact(numbers: list[Decimal]) -> None:
    assert Fraction(number.total(numbers)) == sum(map(Fraction, numbers))


def test_arithmetic_does_not_depend_on_the_context() -> None:
    a, b = Decimal("99999999999999999999.000000000000000000000000000001"), Decimal("0.3333333333")
    with decimal.localcontext(decimal.Context(prec=3)):
        assert number.plain(number.plus(a, b)) == "99999999999999999999.333333333300000000000000000001"
        assert number.plain(number.times(a, Decimal(10))) == "999999999999999999990.00000000000000000000000000001"
        assert number.plain(number.round_half_away(Decimal("123456.5"))) == "123457"
        assert number.plain(number.quotient(Decimal(200_000), Decimal(3))) == "66666.666666666667"


def test_a_product_of_thousands_of_digits_is_exact() -> None:
    assert number.times(Decimal(3**5000), Decimal(7**3000)) == Decimal(3**5000 * 7**3000)


def rounded(exact: Fraction, places: int) -> Fraction:
    """Half away from zero, by the book: the sign, and the magnitude rounded half up."""
    scaled = abs(exact) * 10**places
    whole = scaled.numerator // scaled.denominator
    if scaled - whole >= Fraction(1, 2):
        whole += 1
    return Fraction(whole if exact >= 0 else -whole, 10**places)


@given(DECIMALS, DECIMALS.filter(bool), st.integers(0, 20))
def test_a_quotient_is_rounded_once_half_away_from_zero(a: Decimal, b: Decimal, places: int) -> None:
    assert Fraction(number.quotient(a, b, places)) == rounded(Fraction(a) / Fraction(b), places)


@pytest.mark.parametrize(
    ("a", "b", "places", "text"),
    [
        ("1", "3", 12, "0.333333333333"),
        ("2", "3", 12, "0.666666666667"),
        ("-2", "3", 12, "-0.666666666667"),
        ("2", "-3", 12, "-0.666666666667"),
        ("1", "2", 0, "1"),
        ("-1", "2", 0, "-1"),
        ("1", "-2", 0, "-1"),
        ("5", "2", 0, "3"),
        ("6", "3", 12, "2"),
        # Rounded to 13 places first, this would be rounded up a second time.
        ("0.4444444444449", "1", 12, "0.444444444445"),
        ("0.49999999999999", "1", 0, "0"),
        ("-1", "1000", 2, "0"),
    ],
)
def test_quotients(a: str, b: str, places: int, text: str) -> None:
    assert number.plain(number.quotient(Decimal(a), Decimal(b), places)) == text


def test_a_quotient_by_zero_is_an_error() -> None:
    with pytest.raises(ZeroDivisionError):
        number.quotient(Decimal(1), Decimal("0.00"))
    with pytest.raises(ZeroDivisionError):
        number.quotient_up(Decimal(1), Decimal("0.00"))


@pytest.mark.parametrize(
    ("a", "b", "whole"),
    [
        ("0", "100", "0"),
        ("0.000000000000000000000000000001", "100", "1"),
        ("100", "100", "1"),
        ("100.000000000000000000000000000001", "100", "2"),
        ("99999999999999999999", "0.1", "999999999999999999990"),
        ("1", "0.3", "4"),
        ("-0.5", "1", "0"),
    ],
)
def test_quotients_made_whole_upwards(a: str, b: str, whole: str) -> None:
    assert number.plain(number.quotient_up(Decimal(a), Decimal(b))) == whole


@given(DECIMALS, st.integers(0, 20))
def test_rounding_is_half_away_from_zero(value: Decimal, places: int) -> None:
    assert Fraction(number.round_half_away(value, places)) == rounded(Fraction(value), places)


@pytest.mark.parametrize(
    ("value", "places", "result"),
    [
        ("0.5", 0, "1"),
        ("-0.5", 0, "-1"),
        ("1.5", 0, "2"),
        ("2.5", 0, "3"),
        ("-2.5", 0, "-3"),
        ("2.4999999999999999999999999999999", 0, "2"),
        ("1.005", 2, "1.01"),
        ("1", 2, "1.00"),
        ("1E+2", 0, "100"),
    ],
)
def test_rounding(value: str, places: int, result: str) -> None:
    assert same_sign_and_digits(number.round_half_away(Decimal(value), places), Decimal(result))


def test_a_rounded_zero_has_no_sign() -> None:
    assert same_sign_and_digits(number.round_half_away(Decimal("-0.4")), Decimal(0))
