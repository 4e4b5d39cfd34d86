"""Bodies are read as the types that they are described with: a number is no switch, and a text no number."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import msgspec
from litestar import Request
from litestar.exceptions import ValidationException

_PLACE = re.compile(r" - at `\$\.?(?P<path>.*)`$")
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`$")

BODIES_MAX = 100
"""Types of bodies whose decoders are kept: more than there are routes."""


class TypedRequest(Request[Any, Any, Any]):
    """A request whose JSON body is decoded into the type that its route asks for.

    The framework would convert decoded values and take ``0`` for false and ``"5"`` for 5 on the way, against the
    description of the API. What has its type already it passes on as it is.
    """

    async def json(self) -> Any:
        """The body as the route's type. Raises ``ValidationException`` with the field and the rule it breaks."""
        field = self.route_handler.parsed_data_field
        if field is None:
            return await super().json()
        try:
            return _decoder(field.annotation).decode(await self.body())
        except msgspec.ValidationError as error:
            key, rule = _told(str(error))
            raise ValidationException(rule, extra=[{"key": key, "message": rule}]) from None


@lru_cache(BODIES_MAX)
def _decoder(body: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(body)


def _told(message: str) -> tuple[str, str]:
    """The field that an error of the decoder is about, and its rule."""
    place = _PLACE.search(message)
    path, rule = (place["path"], message[: place.start()]) if place else ("", message)
    if missing := _MISSING.search(rule):
        return ".".join(filter(None, (path, missing["name"]))), "is required"
    return path or "body", rule
