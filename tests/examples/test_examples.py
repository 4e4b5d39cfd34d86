"""Each example runs against a real service with nothing but the standard library, and finds the invoice beside it."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SHARED = "taximeter"
TARIFFS = sorted(path for path in EXAMPLES.glob("*.py") if path.stem != SHARED)
RUN_SECONDS = 120


def run(path: Path, service: Any, **environment: str) -> subprocess.CompletedProcess[str]:
    """The example in a process of its own, which has no other packages than Python's."""
    known = {"TAXIMETER_URL": service.base_url, "TAXIMETER_API_KEY": service.api_key, **environment}
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys, runpy; sys.path.insert(0, {str(path.parent)!r});"
         f" runpy.run_path({str(path)!r}, run_name='__main__')"],
        env={"PATH": os.environ["PATH"], "NO_PROXY": "*", **known},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )  # fmt: skip


def test_there_are_the_four_classic_tariffs() -> None:
    assert [path.stem for path in TARIFFS] == ["api_calls", "images", "sms", "transfer"]


@pytest.mark.parametrize("path", TARIFFS, ids=lambda path: path.stem)
def test_an_example_gives_the_invoice_beside_it(running_service: Any, path: Path) -> None:
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    for _ in range(2):
        done = run(path, running_service)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"Total ${expected['total_amount'] / 100:.2f}" in done.stdout
        assert done.stdout.endswith(f"As expected in {path.stem}.json.\n")


def test_another_invoice_is_told(running_service: Any, tmp_path: Path) -> None:
    """The comparison can fail."""
    shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True)
    changed = tmp_path / "transfer.json"
    changed.write_text(changed.read_text(encoding="utf-8").replace("1250", "1251"), encoding="utf-8")
    done = run(tmp_path / "transfer.py", running_service)
    assert done.returncode == 1
    assert "this is not the invoice" in done.stderr


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"TAXIMETER_API_KEY": ""}, "set TAXIMETER_API_KEY"),
        ({"TAXIMETER_API_KEY": "wrong"}, "401"),
        ({"TAXIMETER_URL": "http://127.0.0.1:9"}, "no service answers"),
    ],
)
def test_a_newcomer_is_told_what_is_missing(running_service: Any, environment: dict[str, str], told: str) -> None:
    done = run(EXAMPLES / "transfer.py", running_service, **environment)
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("path", [*TARIFFS, EXAMPLES / f"{SHARED}.py"], ids=lambda path: path.stem)
def test_an_example_needs_the_standard_library_only(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert {str(name).split(".")[0] for name in names} <= sys.stdlib_module_names | {SHARED}
