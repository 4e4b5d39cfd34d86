"""Answers of the service, and the errors they become."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Callable

import httpx
import pytest

from app.example.client import PAGE_SIZE, RETRIES_MAX, Client
from app.example.errors import ExampleError

Handler = Callable[[httpx.Request], httpx.Response]


def client(handler: Handler) -> Client:
    return Client("http://service.example", "secret", httpx.MockTransport(handler))


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were asked for, none of them taken."""
    asked: list[float] = []
    monkeypatch.setattr("app.example.client.time.sleep", asked.append)
    return asked


def test_the_key_goes_along() -> None:
    with client(lambda request: httpx.Response(200, json={"key": request.headers["authorization"]})) as opened:
        assert opened.get("/settings") == {"key": "Bearer secret"}


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_said_with_the_reason(status: int) -> None:
    problem = {"code": "UNAUTHORIZED", "message": "this API key opens nothing"}
    with (
        client(lambda _: httpx.Response(status, json=problem)) as opened,
        pytest.raises(ExampleError, match=rf"refused the key \({status}, .*opens nothing\).*taximeter key create"),
    ):
        opened.get("/settings")


@pytest.mark.parametrize("key", ["", " ", "clé", "two\nlines"])
def test_a_key_that_no_header_can_carry_is_refused_here(key: str) -> None:
    with pytest.raises(ExampleError, match="API key"):
        Client("http://service.example", key)


@pytest.mark.parametrize("url", ["localhost:8000", "service", "http://service.example:port", ""])
def test_what_is_no_url_is_named(url: str) -> None:
    with pytest.raises(ExampleError, match="URL"), Client(url, "secret") as opened:
        opened.get("/settings")


def test_another_failure_names_the_request_and_the_reason() -> None:
    problem = {"code": "INVALID_FIELD", "message": "name: is required"}
    with (
        client(lambda _: httpx.Response(422, json=problem)) as opened,
        pytest.raises(ExampleError, match=r"POST /meters failed \(422, INVALID_FIELD: name: is required\)"),
    ):
        opened.post("/meters", {})


def test_a_failure_without_a_problem_still_has_its_status() -> None:
    with (
        client(lambda _: httpx.Response(502, text="<html>")) as opened,
        pytest.raises(ExampleError, match="502 Bad Gateway"),
    ):
        opened.get("/settings")


@pytest.mark.parametrize("text", ["<html>", "[]", ""])
def test_an_answer_of_another_service_is_recognised(text: str) -> None:
    with (
        client(lambda _: httpx.Response(200, text=text)) as opened,
        pytest.raises(ExampleError, match="not as Taximeter does"),
    ):
        opened.get("/settings")


def test_a_connection_that_breaks_off_says_that_a_repeat_is_safe() -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("", request=request)

    with client(broken) as opened, pytest.raises(ExampleError, match=r"broke off \(ReadTimeout\).*nothing is recorded"):
        opened.get("/settings")


def test_a_missing_object_is_none_where_that_is_asked_for() -> None:
    with client(lambda _: httpx.Response(404, json={"code": "NOT_FOUND", "message": "no such customer"})) as opened:
        assert opened.find("/customers/carrier_UA") is None
        with pytest.raises(ExampleError, match="404"):
            opened.get("/customers/carrier_UA")


def test_a_busy_service_is_asked_again_after_the_pause_it_names(pauses: list[float]) -> None:
    answers = iter(
        [
            httpx.Response(503, headers={"retry-after": "2"}),
            httpx.Response(429),
            httpx.Response(503, headers={"retry-after": "3600"}),
            httpx.Response(200, json={"position": 7}),
        ]
    )
    with client(lambda _: next(answers)) as opened:
        assert opened.get("/log/head") == {"position": 7}
    assert pauses == [2, 1, 10]


def test_a_service_that_stays_busy_is_given_up(pauses: list[float]) -> None:
    problem = {"code": "NOT_PROJECTED_YET", "message": "position 9 is not projected"}
    with (
        client(lambda _: httpx.Response(503, json=problem)) as opened,
        pytest.raises(ExampleError, match="503, NOT_PROJECTED_YET"),
    ):
        opened.get("/meters/m/usage", at_least=9)
    assert len(pauses) == RETRIES_MAX


@pytest.mark.parametrize("count", [0, 1, PAGE_SIZE, PAGE_SIZE + 1, 2 * PAGE_SIZE])
def test_all_pages_of_a_list_are_read(count: int) -> None:
    def page(request: httpx.Request) -> httpx.Response:
        size, number = int(request.url.params["page_size"]), int(request.url.params["page_number"])
        rows = range(count)[size * number : size * (number + 1)]
        return httpx.Response(200, json={"items": [{"number": row} for row in rows]})

    with client(page) as opened:
        assert [item["number"] for item in opened.items("/invoices", subscription_id="s")] == list(range(count))


def test_events_go_out_packed_one_per_line() -> None:
    def ingest(request: httpx.Request) -> httpx.Response:
        assert request.headers["content-type"] == "application/x-ndjson"
        assert request.headers["content-encoding"] == "gzip"
        lines = gzip.decompress(request.content).splitlines()
        return httpx.Response(200, json={"events": [json.loads(line) for line in lines]})

    with client(ingest) as opened:
        assert opened.ingest(b'{"event_id":"a"}\n{"event_id":"b"}\n') == {
            "events": [{"event_id": "a"}, {"event_id": "b"}]
        }


@pytest.mark.parametrize(("path", "requests"), [("/meters", 1), ("/events/ingest", 2)])
def test_a_503_does_not_make_an_object_twice(path: str, requests: int, pauses: list[float]) -> None:
    """The answer does not say whether the request was carried out; only what counts once is sent again."""
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        return httpx.Response(503, headers={"retry-after": "0"}) if len(seen) == 1 else httpx.Response(200, json={})

    with client(answer) as opened, contextlib.suppress(ExampleError):
        opened.post(path, {})
    assert (seen, len(pauses)) == ([path] * requests, requests - 1)
