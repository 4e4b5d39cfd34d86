"""What a tenant's settings say of the company that sends invoices, and of the taxes on them."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

import msgspec

from app.documents.logo import InvalidLogo, logo_bytes
from app.limits import (
    ADDRESS_MAX_CHARS,
    ADDRESS_MAX_LINES,
    TAX_LINES_MAX,
    TAX_NAME_MAX_CHARS,
    TAX_PERCENT_MAX_DIGITS,
    TEXT_MAX_CHARS,
)
from domain import number
from domain.errors import Invalid
from domain.number import InvalidNumber
from domain.rating import PERCENT, Tax

COMPANY_FIELDS = ("name", "address", "tax_id", "email", "phone", "website", "logo")
"""What an invoice may say of the company that sends it."""


class TaxLineSetting(msgspec.Struct):
    """A tax on every invoice's subtotal: added to it, or contained in it already (``included``)."""

    name: Annotated[str, msgspec.Meta(examples=["VAT"])]
    percent: Annotated[str, msgspec.Meta(examples=["19"])]
    included: bool = False


def read_company(given: Mapping[str, str]) -> dict[str, str]:
    """The company's fields, an address in lines of its own. Raises ``Invalid`` naming the field."""
    company = {field: value.replace("\r\n", "\n") for field, value in given.items()}
    for field, value in company.items():
        where = f"company.{field}"
        if field not in COMPANY_FIELDS:
            raise Invalid(where, f"is not one of {', '.join(COMPANY_FIELDS)}")
        if field == "logo":
            _check_logo(where, value)
        elif field == "address":
            if value.count("\n") >= ADDRESS_MAX_LINES:
                raise Invalid(where, f"must have at most {ADDRESS_MAX_LINES} lines")
            _check_text(where, value.replace("\n", " "), ADDRESS_MAX_CHARS)
        else:
            _check_text(where, value, TEXT_MAX_CHARS)
    return company


def read_taxes(given: list[TaxLineSetting], sent: Any) -> tuple[Tax, ...]:
    """The taxes; ``sent`` is the same as JSON values, to see unknown fields. Raises ``Invalid`` naming the field."""
    if len(given) > TAX_LINES_MAX:
        raise Invalid("tax_lines", f"must hold at most {TAX_LINES_MAX} taxes")
    known = TaxLineSetting.__struct_fields__
    for index, members in enumerate(sent):
        for field in members:
            if field not in known:
                raise Invalid(
                    f"tax_lines[{index}].{field}", f"is unknown; known are {', '.join(known)}", "UNKNOWN_FIELD"
                )
    return tuple(_tax(f"tax_lines[{index}]", tax) for index, tax in enumerate(given))


def tax_answer(tax: Tax) -> TaxLineSetting:
    """A tax on the wire."""
    return TaxLineSetting(name=tax.name, percent=number.plain(tax.percent), included=tax.included)


def _tax(where: str, given: TaxLineSetting) -> Tax:
    if not given.name.strip():
        raise Invalid(f"{where}.name", "must not be empty")
    _check_text(f"{where}.name", given.name, TAX_NAME_MAX_CHARS)
    return Tax(name=given.name, percent=_percent(f"{where}.percent", given.percent), included=given.included)


def _percent(where: str, text: str) -> Decimal:
    try:
        percent = number.parse_plain(text)
    except InvalidNumber as error:
        raise Invalid(where, str(error)) from None
    if not 0 <= percent <= PERCENT or number.fraction_digits(percent) > TAX_PERCENT_MAX_DIGITS:
        raise Invalid(where, f"must lie from 0 to 100, with at most {TAX_PERCENT_MAX_DIGITS} digits after the point")
    # Without zeros at its end, so that the same tax is stored the same.
    return Decimal(number.plain(percent))


def _check_text(where: str, text: str, max_chars: int) -> None:
    if len(text) > max_chars:
        raise Invalid(where, f"must have at most {max_chars} characters")
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in text):
        raise Invalid(where, "must not hold control characters")


def _check_logo(where: str, uri: str) -> None:
    try:
        # An empty one takes the logo away.
        if uri:
            logo_bytes(uri)
    except InvalidLogo as error:
        raise Invalid(where, str(error)) from None
