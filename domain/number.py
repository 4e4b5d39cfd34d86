"""Exact decimals: how a number is read, written and computed with. No binary float ever takes part.

Python's own decimal operators round to the precision of the current context, so every sum, difference and
product of quantities and money goes through the functions here instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import (
    MAX_EMAX,
    MAX_PREC,
    MIN_EMIN,
    ROUND_HALF_UP,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
)
from functools import reduce

MAX_WHOLE_DIGITS = 20
"""Digits before the point of a number that comes in. Every 64-bit integer fits."""

MAX_FRACTION_DIGITS = 30
"""Digits after the point of a number that comes in: more than any price or measure in use needs, and so few
that a sum of any number of them fits into the database's exact numeric type."""

QUOTIENT_PLACES = 12
"""Places to which a quotient is rounded unless the caller says otherwise: as fine as a price can be."""

_ZERO = Decimal(0)
_LIMITS_RULE = (
    f"must have at most {MAX_WHOLE_DIGITS} digits before and {MAX_FRACTION_DIGITS} after the decimal point,"
    " written without an exponent"
)

# Whatever would have to be rounded raises instead: with this precision nothing that fits into memory is.
_EXACT = Context(
    prec=MAX_PREC,
    Emax=MAX_EMAX,
    Emin=MIN_EMIN,
    traps=[Inexact, InvalidOperation, Overflow, DivisionByZero],
)

# The same without the trap for inexact results, for the one function that rounds on purpose. Decimal's
# "half up" is half away from zero.
_ROUNDING = Context(
    prec=MAX_PREC,
    Emax=MAX_EMAX,
    Emin=MIN_EMIN,
    rounding=ROUND_HALF_UP,
    traps=[InvalidOperation, Overflow, DivisionByZero],
)

_PLAIN = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_JSON = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


class InvalidNumber(ValueError):
    """No number, or one beyond the limits. The message says the rule, ready to follow a field name."""


def parse_json(text: str) -> Decimal:
    """The exact value of a JSON number literal, which may have an exponent.

    Raises ``InvalidNumber`` when the text is no such literal, or when the number, written out without an
    exponent, has more digits than the limits allow.
    """
    if not _JSON.fullmatch(text):
        raise InvalidNumber("must be a JSON number")
    return _read(text)


def parse_plain(text: str) -> Decimal:
    """The exact value of plain notation: an optional ``-``, ASCII digits, an optional point with digits.

    Raises ``InvalidNumber`` for anything else (a ``+``, an exponent, white space, ``.5``, ``1.``) and beyond
    the limits. Zeros in front are allowed and mean nothing.
    """
    if not _PLAIN.fullmatch(text):
        raise InvalidNumber("must be a number in plain decimal notation, such as 12 or -0.5")
    return _read(text)


def check_limits(number: Decimal) -> Decimal:
    """The number itself. Raises ``InvalidNumber`` when it is not finite or has more digits than allowed."""
    if not number.is_finite():
        raise InvalidNumber("must be a finite number")
    if whole_digits(number) > MAX_WHOLE_DIGITS or fraction_digits(number) > MAX_FRACTION_DIGITS:
        raise InvalidNumber(_LIMITS_RULE)
    return number


def whole_digits(number: Decimal) -> int:
    """How many digits a finite number, written out, has before the point; leading zeros do not count."""
    return max(0, number.adjusted() + 1)


def fraction_digits(number: Decimal) -> int:
    """How many digits a finite number, written out, has after the point; trailing zeros count."""
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int), "only infinities and NaN have a letter for an exponent"
    return max(0, -exponent)


def measure(value: object) -> Decimal | None:
    """The number that a meter sees in a metadata value, or ``None`` when it sees none.

    A number is itself; a string in plain decimal notation within the limits means the same number. Booleans,
    other strings and everything else are no numbers.
    """
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if isinstance(value, str):
        try:
            return parse_plain(value)
        except InvalidNumber:
            return None
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    return None


def plain(number: Decimal) -> str:
    """Plain notation of a finite number: no exponent, no zeros that end a fraction, no minus before zero."""
    if not number:
        return "0"
    text = str(number)  # Several times cheaper than formatting, which few numbers need.
    if "E" in text:
        text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def plus(a: Decimal, b: Decimal) -> Decimal:
    """The exact sum."""
    return _EXACT.add(a, b)


def minus(a: Decimal, b: Decimal) -> Decimal:
    """The exact difference ``a - b``."""
    return _EXACT.subtract(a, b)


def times(a: Decimal, b: Decimal) -> Decimal:
    """The exact product."""
    return _EXACT.multiply(a, b)


def total(numbers: Iterable[Decimal]) -> Decimal:
    """The exact sum of all numbers, 0 of none."""
    return reduce(_EXACT.add, numbers, _ZERO)


def quotient(a: Decimal, b: Decimal, places: int = QUOTIENT_PLACES) -> Decimal:
    """The quotient ``a / b``, rounded once, half away from zero, to ``places`` digits after the point.

    Computed with integers, so that no intermediate result is rounded. Raises ``ZeroDivisionError`` when
    ``b`` is 0.
    """
    if not b:
        raise ZeroDivisionError("the divisor is 0")
    a_over, a_under = a.as_integer_ratio()
    b_over, b_under = b.as_integer_ratio()
    over, under = a_over * b_under * 10**places, a_under * b_over
    units = (2 * abs(over) + abs(under)) // (2 * abs(under))
    negative = (over < 0) != (under < 0)
    return _EXACT.scaleb(Decimal(-units if negative else units), -places)


def quotient_up(a: Decimal, b: Decimal) -> Decimal:
    """How many times ``b`` has to be taken to reach ``a``: the quotient ``a / b``, made whole upwards.

    Raises ``ZeroDivisionError`` when ``b`` is 0.
    """
    a_over, a_under = a.as_integer_ratio()
    b_over, b_under = b.as_integer_ratio()
    return Decimal(-(-(a_over * b_under) // (a_under * b_over)))


def round_half_away(number: Decimal, places: int = 0) -> Decimal:
    """The number rounded to ``places`` digits after the point; halfway between two, away from zero.

    A result of zero has no sign.
    """
    rounded = _ROUNDING.quantize(number, Decimal((0, (1,), -places)))
    return rounded or rounded.copy_abs()


def _read(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        # Only an exponent beyond what a Decimal can hold: the grammar was checked before.
        raise InvalidNumber(_LIMITS_RULE) from None
    # Text this short breaks no limit unless it has an exponent; most numbers take this way out.
    if len(text) <= MAX_WHOLE_DIGITS and "e" not in text and "E" not in text:
        return number
    return check_limits(number)
