"""The access trail at a terminal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.__main__ import parser
from app.audit.commands import run_audit
from app.settings import SettingError
from tests.conftest import Api


async def shown(api: Api, dsn: str, capsys: pytest.CaptureFixture[str], *flags: str) -> list[str]:
    asked = ["audit", "trail", "--tenant", api.caller.tenant_id, "--database-url", dsn, *flags]
    assert await run_audit(parser().parse_args(asked), {}) == 0
    return capsys.readouterr().out.splitlines()


async def described(api: Api) -> str:
    """A meter that got another name."""
    body = {"name": "Calls", "event_name": "call", "aggregation": {"type": "count"}, "measurement_unit": "call"}
    meter_id = (await api.post("/meters", json=body)).json()["id"]
    api.clock.advance(seconds=1)
    assert (await api.patch(f"/meters/{meter_id}", json={"name": "API calls"})).status_code == 200
    return meter_id


@pytest.mark.parametrize("flags", [["--object", "meter"], ["--since", "yesterday"], ["--until", "now"]])
async def test_a_flag_that_makes_no_sense_is_named(
    api: Api, dsn: str, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    with pytest.raises(SettingError, match=flags[0]):
        await shown(api, dsn, capsys, *flags)


async def test_what_changed_is_printed_with_who_and_from_where(
    api: Api, dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    meter_id = await described(api)
    key = api.caller.key_id
    position = (await api.get("/log/head")).json()["position"]
    lines = await shown(api, dsn, capsys, "--object", f"meter:{meter_id}", "--limit", "1")
    assert lines == [
        f"2026-03-10T12:00:01.000000Z  position {position}  meter.describe  key {key} from 127.0.0.1",
        f"    meter {meter_id}: meter.described",
        '        name: "Calls" -> "API calls"',
    ]


async def test_programs_read_what_the_api_answers(api: Api, dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    await described(api)
    lines = await shown(api, dsn, capsys, "--json", "--since", "2026-03-10T12:00:01Z")
    answered: dict[str, Any] = (await api.get("/audit/trail", params={"page_size": 1})).json()
    assert [json.loads(line) for line in lines] == answered["items"]
    assert [json.loads(line)["via"] for line in await shown(api, dsn, capsys, "--json", "--via", "service")] == [
        "service"
    ]
