"""Money: whole minor units (cents) of an ISO 4217 currency, and how people read them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType

from domain import number
from domain.number import InvalidNumber

PRICE_MAX_WHOLE_DIGITS = 5
"""Digits before the point of a price per unit, in minor units: the wire contract's limit."""

PRICE_MAX_FRACTION_DIGITS = 12
"""Digits after the point of a price per unit, in minor units: the wire contract's limit."""

PRICE_TEXTS_MAX = 1_000
"""Texts of prices that are kept. A price stands on the lines of all its customers, and live estimates name it all the
time."""

# ISO 4217, list one, by number of decimals, without the codes that have none (metals, units of account,
# test codes). ANG, BGN, HRK and SLL are withdrawn, but the wire contract still names them.
_CODES: Mapping[int, str] = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: """
        AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN
        BZD CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP
        GEL GHS GIP GMD GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK
        LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK
        NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD
        SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD
        XCG YER ZAR ZMW ZWG
    """,
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}

DECIMALS: Mapping[str, int] = MappingProxyType(
    {code: places for places, codes in _CODES.items() for code in codes.split()}
)
"""Every currency there is, and how many decimals its major unit has."""


class UnknownCurrency(ValueError):
    """Not an ISO 4217 currency code in capitals. The message says the rule, ready to follow a field name."""


def decimals(currency: str) -> int:
    """How many decimals the currency's major unit has. Raises ``UnknownCurrency``."""
    places = DECIMALS.get(currency)
    if places is None:
        raise UnknownCurrency("must be an ISO 4217 currency code in capitals, such as USD")
    return places


def major_text(minor: int, currency: str) -> str:
    """An amount of minor units in major units, with all of the currency's decimals: 1234 of USD is ``12.34``.

    Raises ``UnknownCurrency``.
    """
    places = decimals(currency)
    digits = str(abs(minor)).rjust(places + 1, "0")
    whole, fraction = digits[: len(digits) - places], digits[len(digits) - places :]
    sign = "-" if minor < 0 else ""
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


@lru_cache(PRICE_TEXTS_MAX)
def price_major_text(minor_price: Decimal, currency: str) -> str:
    """A price in minor units, exact, in major units: 0.1 of USD is ``0.001``.

    It shows at least the currency's decimals, so that 50 of USD is ``0.50``. Raises ``UnknownCurrency``.
    """
    places = decimals(currency)
    whole, _, fraction = number.plain(number.times(minor_price, Decimal((0, (1,), -places)))).partition(".")
    fraction = fraction.ljust(places, "0")
    return f"{whole}.{fraction}" if fraction else whole


def parse_price(text: str) -> Decimal:
    """A price per unit in minor units, from plain decimal notation, exact.

    Raises ``InvalidNumber`` when the text is no such number, is negative, or has more digits than the
    limits allow.
    """
    price = number.parse_plain(text)
    if price < 0:
        raise InvalidNumber("must not be negative")
    if number.whole_digits(price) > PRICE_MAX_WHOLE_DIGITS or number.fraction_digits(price) > PRICE_MAX_FRACTION_DIGITS:
        raise InvalidNumber(
            f"must have at most {PRICE_MAX_WHOLE_DIGITS} digits before"
            f" and {PRICE_MAX_FRACTION_DIGITS} after the decimal point"
        )
    return price


def round_to_minor(amount: Decimal) -> int:
    """An exact amount as whole minor units, half away from zero: the only rounding of money there is."""
    return int(number.round_half_away(amount))
