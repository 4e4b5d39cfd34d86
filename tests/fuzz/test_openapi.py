"""The served description against the service: a slice of what `make fuzz` asks for longer, the same each time."""

from __future__ import annotations

import tomllib
from typing import Any

from tests.app.example.conftest import RunningService
from tests.fuzz.openapi_run import CONFIG, SLICE_PHASES, run

SEED = 24
SLICE_EXAMPLES = 1
"""Generated requests per operation, beside those that cover each constraint of the description once: under a minute."""


def test_the_service_does_what_its_description_says(running_service: RunningService) -> None:
    ran = run(running_service.base_url, running_service.api_key, SEED, SLICE_EXAMPLES, phases=SLICE_PHASES)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    # Every operation was asked, and none of the checks came to nothing for want of requests.
    assert " passed" in ran.stdout
    assert "401 Unauthorized" not in ran.stdout


def test_the_checks_that_are_off_are_known() -> None:
    config: dict[str, Any] = tomllib.loads(CONFIG.read_text(encoding="utf-8"))
    off = {name for name, rule in config["checks"].items() if rule == {"enabled": False}}
    assert off == {"positive_data_acceptance"}
