"""The page for operators and the dashboard name exactly the measures that the service gives, in PromQL that parses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app import settings
from app.health import progress, readiness
from app.http.metrics import metrics
from app.limits import LIVE_SOCKETS_MAX, POOL_SIZE, READY_LAG_EVENTS
from app.web_process import GRACE_SECONDS
from tests.app.http.conftest import Making
from tests.conftest import Api

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "operating.md").read_text(encoding="utf-8")
DASHBOARD = json.loads((DOCS / "grafana" / "taximeter.json").read_text(encoding="utf-8"))
ROWS = re.findall(r"^\| `(taximeter_\w+)` \| ?(.*?) ?\| .+ \|$", PAGE, re.MULTILINE)
ALERTS = re.findall(r"^```promql\n(.+?)^```$", PAGE, re.MULTILINE | re.DOTALL)
OUR_OWN = "taximeter_"
PROMETHEUS_OWN = {"up"}
"""What Prometheus says of whom it asks."""

GRAFANA_OWN = {"$__rate_interval": "5m"}
"""What Grafana fills in."""


def expressions() -> list[str]:
    """Every expression of the dashboard."""
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    for variable, example in GRAFANA_OWN.items():
        found = [expr.replace(variable, example) for expr in found]
    return found


def named(expr: str) -> set[str]:
    """The series that an expression asks for."""
    found: set[str] = set()

    def note(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.add(node.name)
        elif isinstance(node, promql_parser.MatrixSelector):
            found.add(node.vector_selector.name)
        return True

    promql_parser.walk(promql_parser.parse(expr), note)
    return found


def family(series: str) -> str:
    """The measure that a series belongs to, by the name under which the page has it."""
    return re.sub(r"_(bucket|count|sum)$", "", series)


@pytest.fixture
async def given(api: Api) -> dict[str, set[str]]:
    """The series that the service gives, with their labels."""
    ids = await Making(api).everything()
    await api.get(f"/customers/{ids['customer_id']}")
    text = (await api.get("/metrics")).text
    found: dict[str, set[str]] = {}
    for measure in text_string_to_metric_families(text):
        for sample in measure.samples:
            if sample.name.startswith(OUR_OWN) and not sample.name.endswith("_created"):
                found.setdefault(sample.name, set()).update(sample.labels)
    return found


def labels_of(given: dict[str, set[str]], measure: str) -> set[str]:
    # Of which process a gauge is, is told where there are several.
    return {label for series, labels in given.items() if family(series) == measure for label in labels} - {"le", "pid"}


async def test_the_page_has_every_measure_with_its_labels_and_no_other(given: dict[str, set[str]]) -> None:
    told = {name: set(re.findall(r"`(\w+)`", labels)) - {"pid"} for name, labels in ROWS}
    assert len(told) == len(ROWS) >= 15
    assert told == {measure: labels_of(given, measure) for measure in {family(series) for series in given}}


async def test_the_dashboard_shows_every_measure_and_no_other(given: dict[str, set[str]]) -> None:
    shown = {series for expr in expressions() for series in named(expr)}
    assert shown <= set(given)
    assert {family(series) for series in shown} == {family(series) for series in given}


async def test_the_alerts_ask_for_what_is_there(given: dict[str, set[str]]) -> None:
    assert len(ALERTS) >= 8
    for expr in ALERTS:
        assert named(expr), expr
        assert named(expr) <= set(given) | PROMETHEUS_OWN, expr


def selectors(expr: str) -> Iterator[tuple[str, str]]:
    for labels in re.findall(r"\{([^}]*)\}", expr):
        yield from re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"', labels)


@pytest.mark.parametrize("expr", [*ALERTS, *expressions()])
async def test_labels_that_are_asked_for_are_there(given: dict[str, set[str]], expr: str) -> None:
    known = {label for labels in given.values() for label in labels} | {"job", "pid"}
    assert {label for label, _ in selectors(expr)} <= known
    for grouped in re.findall(r"\bby \(([^)]*)\)", expr):
        assert {label.strip() for label in grouped.split(",")} <= known


def test_what_is_no_promql_is_found() -> None:
    with pytest.raises(ValueError, match="parenthesis"):
        named("sum(rate(taximeter_cycles_closed_total[5m])")


def test_the_panels_are_numbered_and_do_not_lie_on_each_other() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in panels):
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert all(x < 24 for x, _ in cells)
        taken |= cells


def test_the_numbers_on_the_page_are_those_of_the_program() -> None:
    assert f"connections of a process's pool, of {POOL_SIZE}" in PAGE.replace("ten", "10")
    assert f"a web process holds {LIVE_SOCKETS_MAX:,} at most" in PAGE
    assert f"nothing moved for {progress.STALL_SECONDS:.0f} s" in PAGE
    assert f"more than {READY_LAG_EVENTS:,} events behind" in PAGE
    assert f"no connection becomes free within {readiness.PATIENCE_SECONDS:.0f} s" in PAGE
    assert f"for `{settings.DRAIN.flag}` ({settings.DRAIN.default.replace('s', ' s')})" in PAGE
    assert f"requests in flight have {GRACE_SECONDS} s to end" in PAGE
    assert all(f"GET {path}" in PAGE for path in metrics.paths)
