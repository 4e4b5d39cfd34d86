"""What happens when a process has as much to do as it may take on: who comes then is told so, and nothing is lost."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.http.admission import Admission, Full, Held, Room
from app.http.gate import Gate
from app.http.raw_path import Receive, Scope, Send

SOON = 5.0


class Working:
    """An application that keeps every request until it is told to answer, and remembers what it was given."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.come = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.bodies.append((await receive()).get("body", b""))
        self.come.set()
        await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class Asked:
    """One request to the gate: what it sends in which pieces, and what it is answered."""

    def __init__(self, gate: Gate, method: str, path: str, query: str, parts: Iterable[bytes], **headers: str) -> None:
        self.read = 0
        self._parts = list(parts)
        self._sent: list[dict[str, Any]] = []
        self._more = asyncio.Event()
        names = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": names}
        self.task = asyncio.create_task(gate(scope, self._receive, lambda message: self._send(message)))

    async def _receive(self) -> dict[str, Any]:
        if self.read >= len(self._parts):
            await self._more.wait()
            return {"type": "http.request", "body": b"", "more_body": False}
        self.read += 1
        last = self.read == len(self._parts) and not self._open
        return {"type": "http.request", "body": self._parts[self.read - 1], "more_body": not last}

    _open = False

    async def _send(self, message: Any) -> None:
        self._sent.append(message)

    async def answer(self) -> tuple[int, dict[bytes, bytes], Any]:
        async with asyncio.timeout(SOON):
            await self.task
        start, body = self._sent
        return start["status"], dict(start["headers"]), json.loads(body["body"] or b"{}")


def ask(
    gate: Gate, path: str = "/meters", query: str = "", method: str = "GET", body: bytes = b"", **more: str
) -> Asked:
    return Asked(gate, method, path, query, [body], **more)


@asynccontextmanager
async def one_at_work(admission: Admission) -> AsyncIterator[tuple[Gate, Working]]:
    """A gate behind which a request is at work, and goes on until the block ends."""
    working = Working()
    gate = Gate(working, admission)
    first = ask(gate)
    async with asyncio.timeout(SOON):
        await working.come.wait()
    yield gate, working
    working.go.set()
    assert (await first.answer())[0] == 200


async def test_one_too_many_is_told_so_before_his_body_is_read() -> None:
    async with one_at_work(Admission(requests=1)) as (gate, working):
        late = ask(gate, "/events/ingest", method="POST", body=b"{}")
        status, headers, problem = await late.answer()
        assert (status, problem["code"], headers[b"retry-after"]) == (503, "OVERLOADED", b"1")
        assert late.read == 0
        assert (await ask(gate).answer())[0] == 503
        assert len(working.bodies) == 1


async def test_when_one_is_answered_the_next_is_taken() -> None:
    admission = Admission(requests=1)
    async with one_at_work(admission) as (gate, working):
        working.go.set()
        await asyncio.sleep(0)
        assert (await ask(gate).answer())[0] == 200
    assert admission.room("/meters", b"").taken == 0


async def test_who_is_slow_to_read_takes_no_place() -> None:
    admission, read = Admission(requests=1), asyncio.Event()
    working = Working()
    working.go.set()
    gate = Gate(working, admission)
    for method in ("GET", "POST"):
        deaf = ask(gate, "/events/ingest", method=method)
        taken = deaf._send

        async def never(message: Any, taken: Any = taken) -> None:
            await taken(message)
            await read.wait()

        deaf._send = never  # type: ignore[method-assign]
        while not deaf._sent:
            await asyncio.sleep(0)
        assert (await ask(gate).answer())[0] == 200
        read.set()
        assert (await deaf.answer())[0] == 200
        read.clear()
    assert admission.room("/meters", b"").taken == 0


async def test_health_is_asked_however_full_it_is() -> None:
    async with one_at_work(Admission(requests=1)) as (gate, working):
        for path in ("/health/live", "/health/ready"):
            asked = ask(gate, path)
            working.go.set()
            assert (await asked.answer())[0] == 200


async def test_who_waits_by_intent_takes_no_place_of_others() -> None:
    async with one_at_work(Admission(requests=1, patient=1)) as (gate, working):
        waiting = ask(gate, "/meters/m/usage", "at_least=5")
        while len(working.bodies) < 2:
            await asyncio.sleep(0)
        assert (await ask(gate, "/subscriptions/s/estimate", "at_least=6").answer())[0] == 503
        assert (await ask(gate, "/test-clock/advance", method="POST", body=b"{}").answer())[0] == 503
        working.go.set()
        assert (await waiting.answer())[0] == 200


async def test_who_is_slow_to_send_takes_no_place() -> None:
    working = Working()
    gate = Gate(working, Admission(requests=1))
    slow = Asked(gate, "POST", "/events/ingest", "", [b"{"])
    slow._open = True
    await asyncio.sleep(0)
    working.go.set()
    assert (await ask(gate).answer())[0] == 200
    slow._more.set()
    assert (await slow.answer())[0] == 200


async def test_a_place_that_was_taken_while_a_body_arrived_is_gone() -> None:
    working = Working()
    gate = Gate(working, Admission(requests=1))
    slow = Asked(gate, "POST", "/events/ingest", "", [b"{"])
    slow._open = True
    first = ask(gate)
    async with asyncio.timeout(SOON):
        await working.come.wait()
    slow._more.set()
    assert (await slow.answer())[0] == 503
    working.go.set()
    assert (await first.answer())[0] == 200


async def test_bodies_have_so_many_bytes_together_and_give_them_back() -> None:
    admission, working = Admission(bodies=100), Working()
    gate = Gate(working, admission)
    first = ask(gate, "/events/ingest", method="POST", body=b"x" * 60)
    async with asyncio.timeout(SOON):
        await working.come.wait()
    status, headers, problem = await ask(gate, "/events/ingest", method="POST", body=b"x" * 41).answer()
    assert (status, problem["code"], headers[b"retry-after"]) == (503, "OVERLOADED", b"1")
    assert admission.bodies.taken == 60
    working.go.set()
    assert (await ask(gate, "/events/ingest", method="POST", body=b"x" * 40).answer())[0] == 200
    assert (await first.answer())[0] == 200
    assert admission.bodies.taken == 0


async def test_what_a_body_unpacks_to_counts_too() -> None:
    admission, working = Admission(bodies=10_000), Working()
    working.go.set()
    gate = Gate(working, admission)
    packed = gzip.compress(b" " * 20_000)
    asked = ask(gate, "/events/ingest", method="POST", body=packed, content_encoding="gzip")
    assert (await asked.answer())[0] == 503
    assert admission.bodies.taken == 0
    fits = ask(gate, "/events/ingest", method="POST", body=gzip.compress(b" " * 9_000), content_encoding="gzip")
    assert (await fits.answer())[0] == 200


async def test_a_body_that_is_refused_for_another_reason_gives_back_what_it_held() -> None:
    admission = Admission()
    asked = ask(Gate(Working(), admission), "/customers", method="POST", body=b"[]")
    assert (await asked.answer())[0] == 422
    assert admission.bodies.taken == admission.room("/customers", b"").taken == 0


def test_a_place_is_given_back_when_the_work_fails() -> None:
    room = Room(1)

    def fail() -> None:
        with room.entered():
            assert room.full
            raise ValueError("at work")

    with pytest.raises(ValueError, match="at work"):
        fail()
    assert not room.full


def test_each_refusal_is_one_of_its_own() -> None:
    refusals: list[Full] = []
    with Held(1).counted() as hold:
        for _ in range(2):
            with pytest.raises(Full) as caught:
                hold(2)
            refusals.append(caught.value)
    # One that is raised again and again would carry the trace of every time.
    assert refusals[0] is not refusals[1]


async def test_the_service_refuses_with_its_own_form(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Room, "full", True)
    for answered in (await api.get("/meters"), await api.post("/customers", json={}), await api.ingest()):
        assert (answered.status_code, answered.json()["code"]) == (503, "OVERLOADED")
        assert answered.headers["retry-after"] == "1"
    assert (await api.get("/health/ready")).status_code == 200
