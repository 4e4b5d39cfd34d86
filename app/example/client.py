"""The part of the service's HTTP API that the examples use, with errors in words."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import httpx

from app.example.errors import ExampleError

TIMEOUT_SECONDS = 60
"""Longer than the service itself waits for anything before it answers."""

RETRIES_MAX = 15
"""Waiting for the projection may be answered 503 after 20 s each time: five minutes in all, for a slow machine."""

RETRY_AFTER_MAX_SECONDS = 10
"""A service that asks for a longer pause than this is taken at its word only so far."""

PAGE_SIZE = 100
"""Rows asked for at once: the most that the service gives."""

REPEATABLE_POSTS = ("/events/ingest", "/close-cycle")
"""What may be sent again after a 503, which does not say whether the request was carried out: an event counts once,
and a closed cycle answers its invoice. Making an object again would make a second one."""

Json = dict[str, Any]


class Client:
    """Sends requests with one key. Every method raises ``ExampleError`` when the answer is no success."""

    def __init__(self, base_url: str, api_key: str, transport: httpx.BaseTransport | None = None) -> None:
        if not api_key:
            raise ExampleError("no API key: give --api-key or set TAXIMETER_API_KEY")
        if not (api_key.isascii() and api_key.isprintable() and api_key.strip()):
            raise ExampleError("the API key must be printable ASCII characters; make one with `taximeter key create`")
        self._base_url = base_url
        try:
            self._http = httpx.Client(
                base_url=base_url,
                headers={"Authorization": f"Bearer {api_key.strip()}", "Accept": "application/json"},
                timeout=TIMEOUT_SECONDS,
                transport=transport,
            )
        except httpx.InvalidURL as error:
            raise ExampleError(f"{base_url} is no URL: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **params: str | int) -> Json:
        """The object at a path."""
        return self._object(self._send("GET", path, params=params))

    def find(self, path: str) -> Json | None:
        """The object at a path; ``None`` when there is none."""
        answer = self._send("GET", path, missing_is_fine=True)
        return None if answer.status_code == HTTPStatus.NOT_FOUND else self._object(answer)

    def post(self, path: str, body: Mapping[str, Any]) -> Json:
        """The answer to a posted object."""
        return self._object(self._send("POST", path, json=body))

    def patch(self, path: str, body: Mapping[str, Any]) -> Json:
        """The answer to a change."""
        return self._object(self._send("PATCH", path, json=body))

    def ingest(self, lines: bytes) -> Json:
        """Send usage events, one JSON object per line; answers what became of them once they are durable."""
        headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
        # The lightest compression makes a batch many times smaller and costs a fraction of what building it does.
        packed = gzip.compress(lines, compresslevel=1, mtime=0)
        return self._object(self._send("POST", "/events/ingest", content=packed, headers=headers))

    def items(self, path: str, **params: str | int) -> Iterator[Json]:
        """Every row of a list, page by page."""
        page_number = 0
        while True:
            page = self.get(path, **params, page_size=PAGE_SIZE, page_number=page_number)["items"]
            yield from page
            if len(page) < PAGE_SIZE:
                return
            page_number += 1

    def _send(self, method: str, path: str, *, missing_is_fine: bool = False, **request: Any) -> httpx.Response:
        answer = self._try(method, path, **request)
        for _ in range(RETRIES_MAX):
            if not _may_repeat(method, path, answer.status_code):
                break
            time.sleep(_pause(answer))
            answer = self._try(method, path, **request)
        if answer.is_success or (missing_is_fine and answer.status_code == HTTPStatus.NOT_FOUND):
            return answer
        if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise ExampleError(
                f"the service refused the key ({_reason(answer)}); a key with the scope 'write' is needed,"
                " make one with `taximeter key create`"
            )
        raise ExampleError(f"{method} {path} failed ({_reason(answer)})")

    def _try(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ExampleError(
                f"no service can be reached at {self._base_url} ({error}); start one with `taximeter serve`"
            ) from error
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise ExampleError(f"{self._base_url} is no URL of a service ({error})") from error
        except httpx.HTTPError as error:
            raise ExampleError(
                f"{method} {path} broke off ({str(error) or type(error).__name__});"
                " run this again, nothing is recorded twice"
            ) from error

    def _object(self, answer: httpx.Response) -> Json:
        """The JSON object of an answer; something else means that another service answers there."""
        try:
            value = answer.json()
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise ExampleError(f"{self._base_url} answers, but not as Taximeter does; is the URL right?")
        return value


def _pause(answer: httpx.Response) -> int:
    """Seconds to wait before the same request is sent again."""
    asked = answer.headers.get("retry-after", "")
    return min(int(asked), RETRY_AFTER_MAX_SECONDS) if asked.isdecimal() else 1


def _reason(answer: httpx.Response) -> str:
    """The status, and what the service says about it."""
    try:
        problem = answer.json()
        return f"{answer.status_code}, {problem['code']}: {problem['message']}"
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code} {answer.reason_phrase}"


def _may_repeat(method: str, path: str, status: int) -> bool:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return True
    repeatable = method != "POST" or path.endswith(REPEATABLE_POSTS)
    return status == HTTPStatus.SERVICE_UNAVAILABLE and repeatable
