"""What schemathesis cannot know of this API: objects that exist, lines of JSON, and what a refusal has to say."""

from __future__ import annotations

import json
import os
import re
import zlib
from typing import Any

import schemathesis

IDS: dict[str, str] = json.loads(os.environ["TAXIMETER_FUZZ_IDS"])
"""By the name of its field, the id of an object that exists."""

KEY_ID = os.environ["TAXIMETER_FUZZ_KEY_ID"]
"""The key that all requests are sent with: once it is revoked, nothing would be asked any more."""

STRANGE_IDS = 3
"""One generated id in so many is left as it is; the others become those of objects that exist."""

ID_MAX_CHARS = 64
"""Longer ids are left alone: they were made to be too long."""

OPEN_CODES = {"UNKNOWN_FIELD", "DUPLICATE_KEY", "INVALID_TEXT"}
"""Refusals that may name a field which the description does not know, since the sender made it up."""

_CODE = re.compile(r"[A-Z][A-Z0-9_]*")
_SUBJECT = re.compile(r"(?:event \d+: )?(\w+)")
_SENTENCE = {"the", "send", "there", "pages", "cycle", "body", "data", "event"}
"""How a message begins that is about the whole request."""


def existing(name: str, value: Any) -> Any:
    """The id in place of a generated one, most of the time; the same one for the same value."""
    if name not in IDS or not isinstance(value, str) or not 1 <= len(value) <= ID_MAX_CHARS:
        return value
    return IDS[name] if zlib.crc32(value.encode(errors="replace")) % STRANGE_IDS else value


def with_existing(value: Any) -> Any:
    """A body with ids of objects that exist."""
    if isinstance(value, dict):
        return {name: existing(name, with_existing(item)) for name, item in value.items()}
    return [with_existing(item) for item in value] if isinstance(value, list) else value


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    return with_existing(path_parameters)


@schemathesis.hook
def map_query(context: Any, query: dict[str, Any] | None) -> dict[str, Any] | None:
    return with_existing(query)


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    return with_existing(body)


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Never revoke the key that is asked with."""
    return KEY_ID not in (case.path_parameters or {}).values()


@schemathesis.serializer("application/x-ndjson")
def lines(context: Any, value: Any) -> bytes:
    """A text as it is, anything else as one line."""
    return (value if isinstance(value, str) else json.dumps(value)).encode(errors="surrogatepass")


def known_names(value: Any) -> set[str]:
    """The name of every property and parameter in the description."""
    if isinstance(value, dict):
        names = set(value["properties"]) if isinstance(value.get("properties"), dict) else set[str]()
        if isinstance(value.get("name"), str):
            names.add(value["name"])
        return names.union(*(known_names(item) for item in value.values()))
    return set[str]().union(*(known_names(item) for item in value)) if isinstance(value, list) else set()


NAMES: set[str] = set()


@schemathesis.check
def refusal_names_its_reason(ctx: Any, response: Any, case: Any) -> None:
    """Every refusal is a problem: a code in capitals and a sentence, which names the field that breaks a rule."""
    if response.status_code < 400 or case.operation.path.startswith("/health/"):
        return
    problem = json.loads(response.content)
    assert set(problem) in ({"code", "message"}, {"code", "message", "errors"}), problem
    assert _CODE.fullmatch(problem["code"]), problem
    assert problem["message"], problem
    if response.status_code not in (400, 422) or problem["code"] in OPEN_CODES:
        return
    if not NAMES:
        NAMES.update(known_names(case.operation.schema.raw_schema))
    subject = _SUBJECT.match(problem["message"])
    assert subject, problem
    assert subject[1].lower() in NAMES | _SENTENCE, f"{problem['message']!r} names no field"
