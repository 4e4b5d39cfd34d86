"""Reading what the routes share: ids in paths, pages, instants in queries, metadata of objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from difflib import get_close_matches
from typing import Annotated, Any, TypeAlias

import msgspec
from litestar import Request
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from app.http.gate import JSON_STATE
from app.http.raw_path import unquote_id
from app.limits import (
    METADATA_KEY_MAX_CHARS,
    METADATA_MAX_PAIRS,
    METADATA_VALUE_MAX_CHARS,
    PAGE_OFFSET_MAX,
    PAGE_SIZE_MAX,
)
from app.projecting import Doorbell
from app.reading_log import Knowledge
from app.recording import Recorder
from app.service import Caller, Service
from domain import instant, number
from domain.errors import Invalid, NotFound
from projections.aggregates import Aggregates
from projections.as_of import AsOf
from projections.log_reader import END

MISSPELT_RATIO = 0.84
"""How alike a field is to a known one to count as misspelt: one letter off in six, two in twelve."""

Asked: TypeAlias = Request[Any, Caller, Any]
"""A request behind the guard: ``request.auth`` is the caller."""

Serving: TypeAlias = NamedDependency[Service]
"""The process's service, given to a route."""

Ringing: TypeAlias = NamedDependency[Doorbell]
"""The process's doorbell, given to a route."""

Recording: TypeAlias = NamedDependency[Recorder]
"""The process's recorder of usage, given to a route."""

PageNumber: TypeAlias = Annotated[int, QueryParameter(ge=0, le=PAGE_OFFSET_MAX, description="0-based")]
PageSize: TypeAlias = Annotated[int, QueryParameter(ge=1, le=PAGE_SIZE_MAX)]
PAGE_SIZE = 10
"""The wire contract's default."""

Position: TypeAlias = Annotated[int, QueryParameter(ge=0, le=END)]
"""A position of the log."""

AsOfQuery: TypeAlias = Annotated[
    str | None,
    QueryParameter(
        description=(
            "What was known then: a position of the log, or an RFC 3339 time for the last commit recorded by it. The "
            "answer is the one of that moment, whatever came later."
        )
    ),
]
"""A question about what was known earlier."""

KnownAt: TypeAlias = int | msgspec.UnsetType
"""The position at which an answer to such a question was known; left out of an answer of now."""

Metadata: TypeAlias = dict[str, str | int | float | bool]
"""Notes on an object as the wire shows them. They are read exactly with ``metadata_text``, never through floats."""


@dataclass(frozen=True)
class Page:
    """Rows ``offset`` to ``offset + size``."""

    size: int
    offset: int


def page(page_number: int, page_size: int) -> Page:
    """The rows of a page. Raises ``Invalid`` past the depth that is read."""
    offset = page_number * page_size
    if offset > PAGE_OFFSET_MAX:
        raise Invalid("page_number", f"pages end at row {PAGE_OFFSET_MAX}; narrow the question instead")
    return Page(page_size, offset)


def path_id(value: str, what: str) -> str:
    """An id out of the path. What cannot be the id of anything is not found."""
    try:
        return unquote_id(value)
    except ValueError:
        raise NotFound(what, value) from None


def read_instant(value: str | None, field: str) -> datetime | None:
    """An instant of a query or a body. Raises ``Invalid``."""
    if value is None:
        return None
    try:
        # A plus sign of an offset arrives as a space where a client did not encode it.
        return instant.parse(value)
    except instant.InvalidInstant as error:
        raise Invalid(field, str(error)) from None


def read_as_of(value: str | None) -> Knowledge | None:
    """What ``as_of`` names: a position or an instant. Raises ``Invalid``."""
    if value is None:
        return None
    if value.isascii() and value.isdigit() and len(value) <= len(str(END)):
        position = int(value)
        if 1 <= position <= END:
            return position
        raise Invalid("as_of", f"a position is a whole number from 1 to {END}")
    try:
        return instant.parse(value)
    except instant.InvalidInstant:
        raise Invalid("as_of", "must be a position of the log, from 1, or an RFC 3339 time with an offset") from None


def known_at(aggregates: Aggregates) -> KnownAt:
    """The position to state in an answer about an earlier one."""
    return aggregates.position if isinstance(aggregates, AsOf) else msgspec.UNSET


def members(request: Asked) -> Mapping[str, Any]:
    """The body's members, numbers as exact decimals; empty when there was no body."""
    found: Mapping[str, Any] = request.scope["state"].get(JSON_STATE, {})
    return found


def metadata_text(request: Asked, kept: str = "{}") -> str:
    """The body's ``metadata`` as JSON text, its numbers digit by digit; ``kept`` when there is none.

    Raises ``Invalid`` when it is no flat map within the wire contract's limits.
    """
    value = members(request).get("metadata")
    if value is None:
        return kept
    if not isinstance(value, dict):
        raise Invalid("metadata", "must be an object")
    if len(value) > METADATA_MAX_PAIRS:
        raise Invalid("metadata", f"at most {METADATA_MAX_PAIRS} pairs")
    return msgspec.json.encode({key: _metadata_value(key, item) for key, item in value.items()}).decode()


def _metadata_value(key: str, value: object) -> str | bool | msgspec.Raw:
    field = f"metadata.{key[:METADATA_KEY_MAX_CHARS]}"
    if len(key) > METADATA_KEY_MAX_CHARS:
        raise Invalid(field, f"a key has at most {METADATA_KEY_MAX_CHARS} characters")
    if isinstance(value, str):
        if len(value) > METADATA_VALUE_MAX_CHARS:
            raise Invalid(field, f"a value has at most {METADATA_VALUE_MAX_CHARS} characters")
        return value
    if isinstance(value, bool):
        return value
    if isinstance(value, Decimal):
        try:
            return exact_number(value)
        except number.InvalidNumber as error:
            raise Invalid(field, str(error)) from None
    raise Invalid(field, "must be a string, a number or a boolean")


def exact_number(value: Decimal) -> msgspec.Raw:
    """A number for a JSON answer, in all its digits. Raises ``number.InvalidNumber`` past the limits."""
    return msgspec.Raw(number.plain(number.parse_json(str(value))).encode())


def raw(text: str) -> msgspec.Raw:
    """Stored JSON text for an answer, as it is."""
    return msgspec.Raw(text.encode())


def refuse_unbilled(given: Mapping[str, Any], fields: tuple[str, ...], where: str = "") -> None:
    """Raise ``Invalid`` for a field that would change an amount and is not honoured.

    Ignoring it would bill something else than was asked. Empty values ask for nothing and pass.
    """
    for field in fields:
        if given.get(field):
            raise Invalid(f"{where}{field}", "would change what is billed and is not supported", "UNSUPPORTED_FIELD")


def check_spelling(given: Mapping[str, Any], known: tuple[str, ...], where: str = "") -> None:
    """Raise ``Invalid`` for a field that is nearly one of ``known``: a misspelt price must not become another price.

    Other unknown fields pass, for the wire contract has more of them than are carried out here.
    """
    for field in given:
        if field not in known and (meant := get_close_matches(field, known, 1, MISSPELT_RATIO)):
            raise Invalid(f"{where}{field}", f"is unknown; did you mean {meant[0]}?", "UNKNOWN_FIELD")


def check_known(given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Raise ``Invalid`` for any field but ``known``, where the body is ours and not the wire contract's."""
    for field in given:
        if field not in known:
            raise Invalid(field, f"is unknown; known are {', '.join(known)}", "UNKNOWN_FIELD")
