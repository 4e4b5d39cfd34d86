"""``taximeter watch``: a customer's usage and cost in a terminal, as they happen."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from app.settings import SettingError
from domain.money import major_text

ALERTS_SHOWN = 5
"""Alerts that stay on the screen."""

RECONNECT_SECONDS = 0.5
RECONNECT_SECONDS_MAX = 15.0
"""How long it waits before it connects again, at first and at most; with some chance, so that many do not come at
once."""

_FINAL = frozenset({"CUSTOMER_NOT_FOUND", "CREDENTIAL_ENDED", "FORBIDDEN"})
"""Errors that connecting again does not mend."""

_NAME = "watch"


class WatchEnded(Exception):
    """There is nothing to watch any more; the message says why."""


def socket_url(url: str) -> str:
    """The address of the live channel of a service. Raises ``SettingError``."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme)
    if scheme is None or not parts.netloc:
        raise SettingError(f"--url is {url!r}: must begin with http:// or https://")
    return urlunsplit((scheme, parts.netloc, f"{parts.path.rstrip('/')}/live", "", ""))


class Watched:
    """What is known of the customer, and what to ask for when the connection comes back."""

    def __init__(self, customer_id: str) -> None:
        self.customer_id = customer_id
        self.status = "connecting"
        self.position: int | None = None
        self._cycles: dict[tuple[str, str], dict[str, Any]] = {}
        self._alerts: deque[dict[str, Any]] = deque(maxlen=ALERTS_SHOWN)

    def request(self) -> str:
        """The frame that begins, or carries on from what was seen."""
        frame: dict[str, Any] = {"type": "subscribe", "id": _NAME, "customer_id": self.customer_id}
        if self.position is not None:
            frame["after"] = self.position
        return msgspec.json.encode(frame).decode()

    def hear(self, frame: dict[str, Any]) -> None:
        """Take in a frame. Raises ``WatchEnded`` for an error that will not pass."""
        match frame["type"]:
            case "snapshot" | "update":
                if frame["type"] == "snapshot":
                    self._cycles.clear()
                for cycle in frame["subscriptions"]:
                    self._cycles[cycle["subscription_id"], cycle["cycle_start"]] = cycle
                self.position, self.status = frame["position"], "live"
            case "heartbeat" if self.position is not None:
                self.position = frame["position"]
            case "alert":
                # After a reconnect one may come twice; its position tells.
                if frame["firing"]["position"] not in [one["position"] for one in self._alerts]:
                    self._alerts.append(frame["firing"])
            case "error":
                if frame["code"] in _FINAL:
                    raise WatchEnded(frame["message"])
                self.status = frame["message"]
            case _:
                pass  # A later service may say more.

    def __rich__(self) -> RenderableType:
        """What the terminal shows: nothing of the customer before the service knows it."""
        if self.position is None:
            return Text(self.status, style="dim")
        table = Table(title=Text(f"Customer {self.customer_id}"), title_justify="left")
        table.add_column("Subscription and cycle")
        table.add_column("Line")
        table.add_column("Quantity", justify="right")
        table.add_column("Amount", justify="right")
        for _, cycle in sorted(self._cycles.items()):
            _add_cycle(table, cycle)
        if not self._cycles:
            table.add_row("no open cycle", "", "", "")
        alerts = [Text(_alert_text(one), style="yellow") for one in self._alerts]
        return Group(table, *alerts, Text(f"{self.status}, position {self.position}   Ctrl-C ends", style="dim"))


def _add_cycle(table: Table, cycle: dict[str, Any]) -> None:
    estimate, currency = cycle["estimate"], cycle["estimate"]["currency"]
    title = f"{cycle['subscription_id']}\n{cycle['cycle_start'][:10]} to {cycle['cycle_end'][:10]}"
    for line in estimate["lines"]:
        quantity = line["consumed_units"] if line["kind"] == "usage" else ""
        # Names are other people's text: as Text they are no markup.
        table.add_row(Text(title), Text(line["description"]), quantity, major_text(line["amount"], currency))
        title = ""
    total = f"{major_text(estimate['total_amount'], currency)} {currency}"
    table.add_row(Text(title), Text("Estimate", style="bold"), "", Text(total, style="bold"), end_section=True)


def _alert_text(firing: dict[str, Any]) -> str:
    what = firing["meter_id"] or firing["credit_entitlement_id"] or "amount"
    return f"alert: {firing['kind']} of {what} reached {firing['threshold']} (now {firing['value']})"


async def watch(url: str, api_key: str, customer_id: str, console: Console | None = None) -> None:
    """Show the customer until interrupted; a lost connection is made again.

    Raises ``WatchEnded``, also when nothing has ever answered at the address, and ``SettingError``.
    """
    address, watched, seconds = socket_url(url), Watched(customer_id), RECONNECT_SECONDS
    answered = False
    with Live(watched, console=console, auto_refresh=False) as screen:
        while True:
            try:
                async with connect(address, additional_headers={"Authorization": f"Bearer {api_key}"}) as connection:
                    answered = True
                    await connection.send(watched.request())
                    async for message in connection:
                        watched.hear(msgspec.json.decode(message))
                        screen.refresh()
                        seconds = RECONNECT_SECONDS
                why = "the service closed the connection"
            except InvalidStatus as refused:
                answered, why = True, _refusal(refused)
            except (OSError, ConnectionClosed, InvalidHandshake) as error:
                why = str(error) or type(error).__name__
                # A service that stops comes back; an address where there never was one is a wrong address.
                if not answered:
                    raise WatchEnded(f"nothing answers at {url} ({why})") from None
            watched.status = f"connecting again: {why}"
            screen.refresh()
            await asyncio.sleep(seconds * random.uniform(0.5, 1))
            seconds = min(seconds * 2, RECONNECT_SECONDS_MAX)


def _refusal(refused: InvalidStatus) -> str:
    """Why the service did not let us in. Raises ``WatchEnded`` when it will not the next time either."""
    answer = refused.response
    if answer.status_code >= 500:
        return f"the service answered {answer.status_code}"
    try:
        message = msgspec.json.decode(answer.body or b"", type=dict[str, str])["message"]
    except (msgspec.DecodeError, KeyError):
        message = f"the service answered {answer.status_code}; is this Taximeter?"
    raise WatchEnded(message)
