"""The chain over HTTP."""

from __future__ import annotations

import re
from typing import Any

DIGEST = re.compile(r"[0-9a-f]{64}")


async def test_the_head_moves_with_every_commit(api: Any, make: Any) -> None:
    before = (await api.get("/log/head")).json()
    api.clock.advance(seconds=1)
    await api.ingest(make.event(1), make.event(2))
    head = (await api.get("/log/head")).json()
    assert head == {
        "tenant_id": api.caller.tenant_id,
        "position": before["position"] + 2,
        "digest": head["digest"],
        "recorded_at": "2026-03-10T12:00:01.000000Z",
    }
    assert DIGEST.fullmatch(head["digest"])
    assert head["digest"] != before["digest"]
    # What adds nothing leaves it.
    await api.ingest(make.event(1))
    assert (await api.get("/log/head")).json() == head


async def test_commits_are_listed_newest_first(api: Any, make: Any) -> None:
    start = (await api.get("/log/head")).json()["position"]
    await make.meter()
    await api.ingest(make.event(1), make.event(2))
    head = (await api.get("/log/head")).json()
    commits = (await api.get("/log/commits")).json()["items"]
    usage, meter = commits[:2]
    assert usage == {
        "kind": "usage",
        "first_position": start + 2,
        "last_position": start + 3,
        "recorded_at": "2026-03-10T12:00:00.000000Z",
        "root": usage["root"],
        "digest": head["digest"],
        "origin": None,
    }
    assert DIGEST.fullmatch(usage["root"])
    assert (meter["kind"], meter["first_position"], meter["last_position"]) == ("domain", start + 1, start + 1)
    assert meter["origin"] == {
        "key_id": api.caller.key_id,
        "from": "127.0.0.1",
        "command": "meter.create",
        "via": "key",
    }
    spans = [(commit["first_position"], commit["last_position"]) for commit in reversed(commits)]
    assert [first for first, _ in spans] == [1, *(last + 1 for _, last in spans[:-1])]


async def test_paging_on_with_before(api: Any, make: Any) -> None:
    for number in range(5):
        await api.ingest(make.event(number))
    whole = (await api.get("/log/commits", params={"page_size": 100})).json()["items"]
    paged: list[Any] = []
    before: dict[str, Any] = {}
    while page := (await api.get("/log/commits", params={"page_size": 2, **before})).json()["items"]:
        paged += page
        before = {"before": page[-1]["last_position"]}
    assert paged == whole
    assert len(whole) >= 6
    assert (await api.get("/log/commits", params={"page_size": 101})).status_code == 422


async def test_a_tenant_sees_its_own_log_only(api: Any, make: Any, stranger: Any) -> None:
    await api.ingest(*(make.event(number) for number in range(50)))
    theirs = (await stranger.get("/log/head")).json()
    assert theirs["tenant_id"] != api.caller.tenant_id
    assert theirs["position"] < 50
    assert all(commit["kind"] != "usage" for commit in (await stranger.get("/log/commits")).json()["items"])


async def test_scopes(api: Any, open_client: Any) -> None:
    reader = await open_client(tenant_id=api.caller.tenant_id, scope="read")
    sender = await open_client(tenant_id=api.caller.tenant_id, scope="ingest")
    for path in ("/log/head", "/log/commits"):
        assert (await reader.get(path)).status_code == 200
        assert (await sender.get(path)).status_code == 403
