"""What the guide to the API says of a case that a reader could not guess."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.http.problems import STATUS
from app.retired import archived
from domain.errors import Gone

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text(encoding="utf-8")


async def test_an_event_whose_id_is_rejected_is_read_as_the_page_says(api: Any) -> None:
    path = "/events/%72ejected"
    assert f"`{path}`" in PAGE
    event = {"event_id": "rejected", "customer_id": "ada", "event_name": "api.call"}
    assert (await api.ingest(event)).json()["ingested_count"] == 1
    assert (await api.get(path)).json()["event_id"] == "rejected"
    assert (await api.get("/events/rejected")).json() == {"items": []}


def test_the_page_tells_what_archived_usage_is_answered_with() -> None:
    (row,) = [line for line in PAGE.splitlines() if line.startswith("| 410 |")]
    assert archived("").code in row
    assert f"| {STATUS[Gone]} |" in row
