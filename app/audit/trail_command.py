"""`taximeter audit trail`: who changed what, for people at a terminal and for programs behind it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from datetime import datetime

import msgspec

from app import settings
from app.audit.trail import Change, Entry, Sought, trail
from app.commands import database, open_service
from app.service import Via
from app.settings import SettingError
from domain import instant
from projections.log_reader import END

ENTRIES = 20
"""Entries shown when nobody says how many: a screen of them."""


def add_trail_flags(command: ArgumentParser) -> None:
    """The flags of the action."""
    settings.add_flags(command, (settings.TENANT, *settings.DATABASE))
    command.add_argument("--object", metavar="KIND:ID", help="changes of one object, such as meter:mtr_1")
    command.add_argument("--kind", help="one kind of fact, such as product.repriced")
    command.add_argument("--key", metavar="KEY_ID", help="what one key did, also in the dashboard")
    command.add_argument("--via", choices=[one.value for one in Via], help="how it was asked for")
    command.add_argument("--since", metavar="TIME", help="recorded then or later, such as 2026-03-10T00:00:00Z")
    command.add_argument("--until", metavar="TIME", help="recorded before that")
    command.add_argument("--limit", type=int, default=ENTRIES, help=f"how many entries, newest first ({ENTRIES})")
    command.add_argument("--json", action="store_true", help="one JSON object a line, as GET /audit/trail has them")


async def show_trail(flags: Namespace, environment: Mapping[str, str]) -> int:
    """Print the newest entries that are looked for, however far back they are."""
    # As the API answers: the web framework comes with it, which hardly any command needs.
    from app.http.trail import trail_answer

    sought, tenant_id = _sought(flags), settings.value(settings.TENANT, flags, environment)
    left, before = max(flags.limit, 1), END
    async with (
        database(flags, environment, create=False) as dsn,
        open_service(dsn, settings.rules(flags, environment)) as service,
    ):
        while left > 0:
            async with service.pool.acquire() as connection:
                found = await trail(connection, tenant_id, sought, before, left)
            answered = trail_answer(found)
            for entry, answer in zip(found.entries, answered.items, strict=True):
                print(msgspec.json.encode(answer).decode() if flags.json else "\n".join(lines_of(entry)))
            if found.next_before is None:
                break
            left, before = left - len(found.entries), found.next_before
    return 0


def _sought(flags: Namespace) -> Sought:
    kind, _, object_id = (flags.object or "").partition(":")
    if flags.object and not object_id:
        raise SettingError("--object is a kind and an id, such as meter:mtr_1")
    return Sought(
        object_kind=kind or None,
        object_id=object_id or None,
        kind=flags.kind,
        key_id=flags.key,
        via=Via(flags.via) if flags.via else None,
        since=_instant("--since", flags.since),
        until=_instant("--until", flags.until),
    )


def _instant(flag: str, text: str | None) -> datetime | None:
    try:
        return None if text is None else instant.parse(text)
    except instant.InvalidInstant as error:
        raise SettingError(f"{flag} {error}") from None


def lines_of(entry: Entry) -> list[str]:
    """An entry for a person: who, when and where in a line, and below it what changed."""
    name = f" ({entry.key_name})" if entry.key_name else ""
    who = f"{entry.origin.how()} {entry.origin.key_id}{name} from {entry.origin.address or 'nowhere told'}"
    lines = [f"{instant.text(entry.recorded_at)}  position {entry.last_position}  {entry.origin.command}  {who}"]
    lines += [line for change in entry.changes for line in _change(change)]
    hidden = entry.positions - len(entry.changes)
    return [*lines, f"    and {hidden} more facts"] if hidden > 0 else lines


def _change(change: Change) -> list[str]:
    fields = [f"        {one.field}: {_text(one.before)} -> {_text(one.after)}" for one in change.fields]
    return [f"    {change.object_kind} {change.object_id}: {change.kind}", *fields]


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
