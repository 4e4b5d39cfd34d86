"""The description of the live channel: AsyncAPI at ``/schema/asyncapi.json``, from the frames themselves."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from litestar import MediaType, Response, Router, get

from app import __version__
from app.http.live_door import BEARER, SUBPROTOCOL
from app.live import frames

REFERENCES = "#/components/schemas/{name}"

CLIENT = (frames.Subscribe, frames.Unsubscribe)
SERVER = (frames.Snapshot, frames.Update, frames.Alert, frames.Heartbeat, frames.Error)
"""Who says what, in the order in which a reader wants to know it."""

DESCRIPTION = f"""Usage and cost as they happen. Frames are JSON text, one per message.

Open with an API key of the scope `read` or `write`, or a customer token, as `Authorization: Bearer`; or, where headers
cannot be set, with the subprotocols `{SUBPROTOCOL}, {BEARER}TOKEN`, of which the first is chosen. Values are whole, so
that a lost frame does no harm, and a slow reader is sent fewer and newer ones.

A socket is closed with 1008 when too many frames are sent, 1009 when a frame is too large, 1012 when the service stops
or restarts, and 4401 when its key, token or session has ended."""


def _described(kind: type[msgspec.Struct]) -> str:
    return (kind.__doc__ or "").replace("``", "`")


@cache
def description() -> bytes:
    """The document, as JSON."""
    _, schemas = msgspec.json.schema_components((*CLIENT, *SERVER), ref_template=REFERENCES)
    messages = {
        kind.__name__: {
            "name": str(kind.__struct_config__.tag),
            "title": kind.__name__,
            "summary": " ".join(_described(kind).partition("\n\n")[0].split()),
            "contentType": "application/json",
            "payload": {"$ref": REFERENCES.format(name=kind.__name__)},
        }
        for kind in (*CLIENT, *SERVER)
    }
    document: dict[str, Any] = {
        "asyncapi": "3.0.0",
        "info": {"title": "Taximeter live", "version": __version__, "description": DESCRIPTION},
        "defaultContentType": "application/json",
        "channels": {
            "live": {
                "address": "/live",
                "description": "One websocket, with any number of subscriptions up to its limit.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
            }
        },
        "operations": {
            # Told from the service's side, as the specification wants it.
            "hear": _operation("receive", "What a client says", CLIENT),
            "tell": _operation("send", "What the service says", SERVER),
        },
        "components": {
            "messages": messages,
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "A key or customer token"}},
        },
    }
    return msgspec.json.encode(document)


def _operation(action: str, summary: str, kinds: tuple[type[msgspec.Struct], ...]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/live"},
        "summary": summary,
        "security": [{"$ref": "#/components/securitySchemes/key"}],
        "messages": [{"$ref": f"#/channels/live/messages/{kind.__name__}"} for kind in kinds],
    }


@get("/schema/asyncapi.json", include_in_schema=False, sync_to_thread=False)
def get_asyncapi() -> Response[bytes]:
    """The AsyncAPI document."""
    return Response(description(), media_type=MediaType.JSON)


ROUTER = Router("/", route_handlers=[get_asyncapi])
