"""How templates write what the service knows: money, numbers, times, ids in paths, files of ours."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.template.config import TemplateConfig

from domain import instant
from domain.money import DECIMALS, UnknownCurrency, major_text

DIRECTORY = Path(__file__).parent
STATIC = DIRECTORY / "static"
STATIC_PATH = "/dashboard/static"

USUAL_PLACES = 2
"""Decimals of most currencies; the pages are told those of the others."""

UNUSUAL_PLACES = {code: places for code, places in DECIMALS.items() if places != USUAL_PLACES}


def number(value: str | int | Decimal) -> str:
    """A plain decimal with its whole digits in groups of three: 1234.5 is ``1,234.5``. Other text stays as it is."""
    text = f"{value:f}" if isinstance(value, Decimal) else str(value)
    whole, point, fraction = text.partition(".")
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    if not (digits.isascii() and digits.isdigit()):
        return text
    return f"{sign}{int(digits):,}{point}{fraction}"


def money(minor: int, currency: str) -> str:
    """An amount of minor units as people read it: 123456 of USD is ``1,234.56 USD``."""
    try:
        return f"{number(major_text(minor, currency))} {currency}"
    except UnknownCurrency:
        return f"{number(minor)} minor units of {currency}"


def moment(value: str | datetime) -> str:
    """An instant as RFC 3339 text in UTC."""
    return value if isinstance(value, str) else instant.text(value)


def spoken(value: str | datetime) -> str:
    """An instant for people whose browser does not run our script: date and time of day in UTC."""
    text = moment(value)
    return f"{text[:10]} {text[11:16]} UTC"


def size(count: int) -> str:
    """A number of bytes in the largest unit that leaves a whole part."""
    amount = Decimal(count)
    for unit in ("bytes", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def segment(value: str) -> str:
    """An id as one segment of a path."""
    return quote(value, safe="")


def _digests() -> Mapping[str, str]:
    files = (path for path in STATIC.rglob("*") if path.is_file())
    return {path.relative_to(STATIC).as_posix(): sha256(path.read_bytes()).hexdigest()[:12] for path in files}


def _static() -> object:
    digests = _digests()

    def static(name: str) -> str:
        """The address of a file of ours: it changes with the file, so that browsers may keep it for long."""
        return f"{STATIC_PATH}/{name}?v={digests[name]}"

    return static


def environment() -> Environment:
    """The templates, with names that are not given as errors and everything escaped."""
    made = Environment(
        loader=FileSystemLoader(DIRECTORY / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"segment": segment, "size": size, "number": number, "moment": moment, "spoken": spoken}
    made.globals |= {"static": _static(), "money_text": money, "unusual_places": UNUSUAL_PLACES}
    return made


def templates() -> TemplateConfig[JinjaTemplateEngine]:
    """The framework's configuration of templates."""
    return TemplateConfig(instance=JinjaTemplateEngine(engine_instance=environment()))
