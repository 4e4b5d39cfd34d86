"""PostgreSQL's programs: what they say when they fail, and what nobody else may see."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.backup.programs import run_program, without_password
from app.engine.problems import EngineError


def install(directory: Path, script: str) -> Path:
    program = directory / "pg_tool"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return directory


async def test_a_failing_program_is_quoted_at_its_end(tmp_path: Path) -> None:
    install(tmp_path, "for n in 1 2 3 4 5 6 7; do echo line $n; done; echo disk full >&2; exit 3")
    with pytest.raises(EngineError, match=r"^pg_tool failed \(status 3\): line 3 / .* / line 7 / disk full$"):
        await run_program(tmp_path, "pg_tool")


async def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="has no pg_tool; install PostgreSQL's client programs"):
        await run_program(tmp_path, "pg_tool")


async def test_a_password_is_in_no_argument(tmp_path: Path) -> None:
    address, environment = without_password("postgresql://me:s%2Fcret@host:5432/db?sslmode=require")
    assert address == "postgresql://me@host:5432/db?sslmode=require"
    said = await run_program(install(tmp_path, 'echo "$1 $PGPASSWORD"'), "pg_tool", address, environment=environment)
    assert said == f"{address} s/cret"
    assert without_password("postgresql://postgres@/db?host=/socket") == ("postgresql://postgres@/db?host=/socket", {})
