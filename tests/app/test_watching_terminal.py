"""``taximeter watch``: what the terminal shows, and that a lost connection loses nothing."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from websockets.asyncio.server import ServerConnection, serve

from app.live.shared import Shared
from app.settings import SettingError
from app.watching_terminal import ALERTS_SHOWN, Watched, WatchEnded, socket_url, watch
from domain.invoice import Document
from domain.rating import Line
from tests.app.http.live_server import live_server
from tests.app.live.standings import cycle, standing

ROOT = Path(__file__).resolve().parents[2]
FIRING = {
    "position": 7,
    "kind": "quantity",
    "meter_id": "mtr_1",
    "credit_entitlement_id": None,
    "threshold": "10",
    "value": "12",
}


def shown(watched: Watched) -> str:
    console = Console(file=io.StringIO(), width=120, color_system=None)
    console.print(watched)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def values(kind: Any, position: int, *quantities: int) -> dict[str, Any]:
    cycles = [cycle(quantity, month=month) for month, quantity in enumerate(quantities, 1)]
    return json.loads(Shared().frame(kind, "watch", standing(position, *cycles), position, tuple(range(len(cycles)))))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/live"),
        ("https://meter.example.com/", "wss://meter.example.com/live"),
        ("https://example.com/meter/", "wss://example.com/meter/live"),
    ],
)
def test_the_channel_is_beside_the_api(url: str, address: str) -> None:
    assert socket_url(url) == address


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "ftp://host", "http://"])
def test_another_address_is_refused(url: str) -> None:
    with pytest.raises(SettingError, match=r"--url is .* must begin with http"):
        socket_url(url)


def test_it_shows_each_cycle_with_its_estimate() -> None:
    watched = Watched("ada")
    watched.hear(values("snapshot", 5, 1234, 7))
    text = shown(watched)
    assert "Customer ada" in text
    assert "2026-01-01 to 2026-02-01" in text
    assert "12.34 USD" in text
    assert "0.07 USD" in text
    assert "position 5" in text
    watched.hear(values("update", 6, 1300))
    assert "13.00 USD" in shown(watched)
    assert "0.07 USD" in shown(watched)
    watched.hear(values("snapshot", 8))
    assert "no open cycle" in shown(watched)


def test_names_of_others_are_text_and_no_markup() -> None:
    watched = Watched("[red]ada[/red]")
    line = Line(
        kind="usage",
        product_id="pdt_1",
        meter_id="mtr_1",
        description="[link=http://evil]Calls[/nothing]",
        consumed_units="1280.5",
        free_units="0",
        credit_units="0",
        paid_units="1280.5",
        price_per_unit="1",
        amount=1281,
    )
    frame = values("snapshot", 5, 1)
    document = {**frame["subscriptions"][0]["estimate"], "lines": [line]}
    frame["subscriptions"][0]["estimate"] = json.loads(
        json.dumps(document, default=lambda one: {name: getattr(one, name) for name in one.__struct_fields__})
    )
    assert set(document) <= set(Document.__struct_fields__)
    watched.hear(frame)
    text = shown(watched)
    assert "[red]ada[/red]" in text
    assert "[link=http://evil]Calls[/nothing]" in text
    assert "1280.5" in text
    assert "12.81" in text


def test_an_alert_is_shown_once_and_the_last_few_stay() -> None:
    watched = Watched("ada")
    watched.hear(values("snapshot", 5, 1))
    for _ in range(2):
        watched.hear({"type": "alert", "id": "watch", "firing": FIRING})
    assert shown(watched).count("alert: quantity of mtr_1 reached 10 (now 12)") == 1
    for position in range(20):
        watched.hear({"type": "alert", "id": "watch", "firing": {**FIRING, "position": 100 + position}})
    assert shown(watched).count("alert:") == ALERTS_SHOWN


def test_it_carries_on_from_the_last_values_or_heartbeat() -> None:
    watched = Watched("ada")
    watched.hear({"type": "heartbeat", "position": 3})
    assert "after" not in json.loads(watched.request())
    watched.hear(values("snapshot", 5, 1))
    watched.hear({"type": "alert", "id": "watch", "firing": {**FIRING, "position": 9}})
    assert json.loads(watched.request())["after"] == 5
    watched.hear({"type": "heartbeat", "position": 8})
    assert json.loads(watched.request()) == {"type": "subscribe", "id": "watch", "customer_id": "ada", "after": 8}


def test_an_error_that_will_not_pass_ends_it() -> None:
    watched = Watched("ada")
    watched.hear({"type": "error", "code": "DATABASE_UNAVAILABLE", "message": "not now"})
    assert "not now" in shown(watched)
    with pytest.raises(WatchEnded, match="there is no customer 'ada'"):
        watched.hear({"type": "error", "code": "CUSTOMER_NOT_FOUND", "message": "there is no customer 'ada'"})


@asynccontextmanager
async def service_of(answer: Any, **more: Any) -> AsyncIterator[str]:
    async with serve(answer, "127.0.0.1", 0, **more) as server:
        host, port = server.sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}"


async def test_a_lost_connection_is_made_again_from_where_it_was() -> None:
    heard: list[dict[str, Any]] = []

    async def answer(connection: ServerConnection) -> None:
        assert connection.request is not None
        assert connection.request.headers["Authorization"] == "Bearer secret"
        heard.append(json.loads(await connection.recv()))
        await connection.send(json.dumps(values("snapshot" if len(heard) == 1 else "update", 5 * len(heard), 100)))
        if len(heard) == 3:
            await connection.send('{"type":"error","code":"CREDENTIAL_ENDED","message":"it was revoked"}')
        connection.transport.abort() if len(heard) == 1 else await connection.close(1012)

    console = Console(file=io.StringIO(), width=120)
    async with service_of(answer) as url:
        with pytest.raises(WatchEnded, match="it was revoked"):
            async with asyncio.timeout(30):
                await watch(url, "secret", "ada", console)
    assert [frame.get("after") for frame in heard] == [None, 5, 10]


async def test_a_refusal_ends_it_with_the_reason() -> None:
    def refuse(connection: ServerConnection, _: Any) -> Any:
        return connection.respond(HTTPStatus.UNAUTHORIZED, '{"code":"UNAUTHORIZED","message":"this opens nothing"}')

    async with service_of(lambda _: asyncio.sleep(0), process_request=refuse) as url:
        with pytest.raises(WatchEnded, match="this opens nothing"):
            await watch(url, "secret", "ada", Console(file=io.StringIO()))


async def test_an_address_where_nothing_answers_is_named_at_once() -> None:
    async with service_of(lambda _: asyncio.sleep(0)) as url:
        pass
    with pytest.raises(WatchEnded, match=f"nothing answers at {url}"):
        async with asyncio.timeout(10):
            await watch(url, "secret", "ada", Console(file=io.StringIO()))


async def test_something_else_at_the_address_is_named() -> None:
    def refuse(connection: ServerConnection, _: Any) -> Any:
        return connection.respond(HTTPStatus.NOT_FOUND, "<html>")

    async with service_of(lambda _: asyncio.sleep(0), process_request=refuse) as url:
        with pytest.raises(WatchEnded, match="answered 404; is this Taximeter"):
            await watch(url, "secret", "ada", Console(file=io.StringIO()))


async def test_the_command_watches_a_real_service(api: Any) -> None:
    async with live_server(api) as live:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app", "watch", "nobody", "--url", f"http://{live.host}"),
            *("--api-key", live.secret),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        shown, said = await process.communicate()
    assert "Customer" not in shown.decode()
    assert said.decode().strip() == "taximeter: there is no customer 'nobody'"
    assert process.returncode == 1
