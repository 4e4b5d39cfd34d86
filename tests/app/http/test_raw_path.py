"""Ids in paths arrive exactly as the client meant them, whatever characters they hold."""

from typing import Any
from urllib.parse import quote

import pytest
from httpx import ASGITransport, AsyncClient
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from app.http.raw_path import RawPath, unquote_id


@get("/events/{event_id:str}", sync_to_thread=False)
def show(event_id: FromPath[str]) -> dict[str, str]:
    try:
        return {"id": unquote_id(event_id)}
    except ValueError as error:
        raise NotFoundException(str(error)) from None


@get("/events/{event_id:str}/parts/{part:str}", sync_to_thread=False)
def show_part(event_id: FromPath[str], part: FromPath[str]) -> dict[str, str]:
    return {"id": unquote_id(event_id), "part": unquote_id(part)}


@get("/invoices/{invoice_id:str}", sync_to_thread=False)
def show_invoice(invoice_id: FromPath[str]) -> dict[str, str]:
    return {"id": unquote_id(invoice_id)}


@get("/invoices/{invoice_id:str}/pdf", sync_to_thread=False)
def show_file(invoice_id: FromPath[str]) -> dict[str, str]:
    return {"file of": unquote_id(invoice_id)}


ROUTES = Litestar([show, show_part, show_invoice, show_file], openapi_config=None)
APP = RawPath(ROUTES)


async def fetch(path: str, app: Any = APP) -> tuple[int, dict[str, str]]:
    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        response = await client.get(path)
    return response.status_code, response.json()


async def test_without_it_a_slash_in_an_id_is_lost() -> None:
    assert (await fetch("/events/a%2Fb", ROUTES))[0] == 404


IDS = ["a/b", "a%b", "100%", "%2F", "a?b", "a#b", "..", ".", "é", "日本語", "😀", "a//b", "/", "a/"]
IDS += ["+", "a+b", "a&b=c", "a;b", "a\\b", "{}", "ingest", "a:b@c", " ", "a b", "a\nb"]


@pytest.mark.parametrize("event_id", IDS)
async def test_an_id_reaches_its_handler(event_id: str) -> None:
    encoded = "".join(f"%{byte:02X}" for byte in event_id.encode())
    assert await fetch(f"/events/{encoded}") == (200, {"id": event_id})


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/invoices/inv_1.pdf", {"file of": "inv_1"}),
        ("/invoices/a.b.pdf?x=1", {"file of": "a.b"}),
        ("/invoices/a%2Fb.pdf", {"file of": "a/b"}),
        ("/invoices/inv_1.PDF", {"id": "inv_1.PDF"}),
        ("/invoices/inv_1.json", {"id": "inv_1.json"}),
        ("/invoices/.pdf", {"id": ".pdf"}),
        ("/events/report.pdf", {"id": "report.pdf"}),
    ],
)
async def test_a_files_suffix_is_no_part_of_an_invoices_id(path: str, found: dict[str, str]) -> None:
    assert await fetch(path) == (200, found)


async def test_the_query_is_no_part_of_the_id() -> None:
    assert await fetch("/events/a%3Fb?c=d%2Fe") == (200, {"id": "a?b"})


async def test_two_ids_in_one_path() -> None:
    assert await fetch("/events/a%2Fb/parts/c%2Fd") == (200, {"id": "a/b", "part": "c/d"})


@pytest.mark.parametrize("path", ["/events/%FF", "/events/%00", "/events/a%ED%A0%80"])
async def test_bytes_that_no_id_can_have_are_not_found(path: str) -> None:
    assert (await fetch(path))[0] == 404


async def path_seen(scope: dict[str, Any]) -> str:
    """The path that the application within sees."""
    seen: list[str] = []

    async def within(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])

    await RawPath(within)(scope, None, None)
    return seen[0]


async def test_a_server_that_gives_no_raw_path() -> None:
    path = await path_seen({"type": "http", "path": "/events/50% é?"})
    assert path == "/events/50%25%20%C3%A9%3F"
    assert unquote_id(path.rpartition("/")[2]) == "50% é?"


async def test_a_raw_path_with_a_query_or_with_unencoded_bytes() -> None:
    scope = {"type": "http", "path": "/x", "raw_path": "/events/é%2F?a=b".encode()}
    assert await path_seen(scope) == "/events/%C3%A9%2F"


async def test_the_callers_scope_is_left_alone() -> None:
    scope = {"type": "http", "path": "/a/b", "raw_path": b"/a%2Fb"}
    assert await path_seen(scope) == "/a%2Fb"
    assert scope["path"] == "/a/b"


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
async def test_other_connections_pass_unchanged(kind: str) -> None:
    assert await path_seen({"type": kind, "path": "/a/b", "raw_path": b"/a%2Fb"}) == "/a/b"


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_unquoting_undoes_quoting(text: str) -> None:
    assert unquote_id(quote(text, safe="")) == text


@pytest.mark.parametrize("value", ["%FF", "%C3", "%00", "a\0b"])
def test_an_impossible_id_is_an_error(value: str) -> None:
    with pytest.raises(ValueError, match="an id in a path must"):
        unquote_id(value)
