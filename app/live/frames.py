"""What is said on the socket, as JSON text: the frames that come in and the frames that go out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

import msgspec

from app.alerting.rows import AlertFiring
from app.live.standing import CycleStanding
from domain.event import CUSTOMER_ID_MAX_CHARS
from projections.log_reader import END

FRAME_MAX_BYTES = 4 * 1_024
"""Bytes of a frame that comes in. The largest legal one, two ids of 64 and 256 escaped characters, has 2 kB."""

NAME_MAX_CHARS = 64
"""Characters of the id that a client gives to what it subscribes to. It stands in every frame of it."""

Name: TypeAlias = Annotated[
    str, msgspec.Meta(min_length=1, max_length=NAME_MAX_CHARS, description="The client's own; all frames of it have it")
]
ObjectId: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=CUSTOMER_ID_MAX_CHARS)]
LogPosition: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=END, description="A position of the tenant's log")]


class Subscribe(msgspec.Struct, tag="subscribe", forbid_unknown_fields=True, frozen=True):
    """Show a customer, a subscription or, with ``tenant``, everybody; exactly one of them.

    ``after`` is the position of the last snapshot, update or heartbeat that was read: only what is newer is sent. For a
    tenant it brings the alerts since; everybody's values are sent again.
    """

    id: Name
    customer_id: ObjectId | None = None
    subscription_id: ObjectId | None = None
    tenant: bool = False
    after: LogPosition | None = None


class Unsubscribe(msgspec.Struct, tag="unsubscribe", forbid_unknown_fields=True, frozen=True):
    """Send nothing more of what was subscribed to under this id."""

    id: Name


class Values(msgspec.Struct, frozen=True):
    """What a customer stands at: whole values, of every open cycle or of those that changed."""

    position: LogPosition
    customer_id: str
    subscriptions: Sequence[CycleStanding]


class Snapshot(msgspec.Struct, tag="snapshot", frozen=True):
    """Every open cycle of the customer, or of the subscription. It replaces whatever was shown before."""

    id: Name
    position: LogPosition
    customer_id: str
    subscriptions: Sequence[CycleStanding]


class Update(msgspec.Struct, tag="update", frozen=True):
    """Only the cycles that changed, each with its whole values. Without any, nothing has changed."""

    id: Name
    position: LogPosition
    customer_id: str
    subscriptions: Sequence[CycleStanding]


class Alert(msgspec.Struct, tag="alert", frozen=True):
    """A threshold was crossed: ``firing`` as `GET /alert-firings` shows it.

    Its position orders the alerts and tells a repeated one; it is no position to subscribe ``after``.
    """

    id: Name
    firing: AlertFiring


class Heartbeat(msgspec.Struct, tag="heartbeat", frozen=True):
    """Everything up to ``position`` has been sent."""

    position: LogPosition


class Error(msgspec.Struct, tag="error", frozen=True, omit_defaults=True):
    """Something was refused. ``id`` is that of the frame it answers, if that could be read."""

    code: Annotated[str, msgspec.Meta(description="Stable, in capitals")]
    message: Annotated[str, msgspec.Meta(description="A sentence that names the field and the rule")]
    id: str | None = None


Incoming: TypeAlias = Subscribe | Unsubscribe
Outgoing: TypeAlias = Snapshot | Update | Alert | Heartbeat | Error

_INCOMING = msgspec.json.Decoder(Incoming)


class _Named(msgspec.Struct):
    id: Name


_NAMED = msgspec.json.Decoder(_Named)


class FrameRefused(Exception):
    """A frame that asks for nothing that can be done; ``name`` is its id, if that could be read."""

    def __init__(self, code: str, message: str, name: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.name = name


def read(text: str) -> Incoming:
    """The frame in a text message. Raises ``FrameRefused``, whatever the text is."""
    try:
        frame = _INCOMING.decode(text)
    except msgspec.ValidationError as error:
        raise FrameRefused("INVALID_FRAME", _said(error), _name(text)) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise FrameRefused("MALFORMED_JSON", f"the frame is not valid JSON: {error}") from None
    if isinstance(frame, Subscribe):
        _check_target(frame)
    return frame


def _said(error: msgspec.ValidationError) -> str:
    text = str(error)
    what, _, where = text.partition(" - at ")
    field = where.strip("`").removeprefix("$.")
    return f"{field}: {what}" if field else f"the frame is none of ours: {what}"


def _name(text: str) -> str | None:
    try:
        return _NAMED.decode(text).id
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _check_target(frame: Subscribe) -> None:
    if (frame.customer_id is not None) + (frame.subscription_id is not None) + frame.tenant != 1:
        rule = "exactly one of customer_id, subscription_id and tenant is required"
        raise FrameRefused("INVALID_FRAME", f"customer_id: {rule}", frame.id)
    for field, value in (("customer_id", frame.customer_id), ("subscription_id", frame.subscription_id)):
        if value is not None and "\0" in value:
            raise FrameRefused("INVALID_FRAME", f"{field}: an id must not hold a NUL character", frame.id)


def heartbeat(position: int) -> str:
    """The text of a heartbeat."""
    return msgspec.json.encode(Heartbeat(position)).decode()


def error(code: str, message: str, name: str | None = None) -> str:
    """The text of an error."""
    return msgspec.json.encode(Error(code, message, name)).decode()


def alert(name: str, firing: AlertFiring) -> str:
    """The text of an alert."""
    return msgspec.json.encode(Alert(name, firing)).decode()
