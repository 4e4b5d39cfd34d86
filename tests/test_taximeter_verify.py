"""The program that checks a proof: one file that needs nothing of ours, and what it tells and returns."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import taximeter_verify
from app.audit.heads import parse_head
from app.database import open_pool
from domain.invoice import Document
from taximeter_verify import main
from tests.app.audit.packs import KEY, encoded, lines_of, pack_of
from tests.app.business import a_shop
from tests.app.shop import APRIL, MARCH
from tests.conftest import MovingClock

PROGRAM = Path(taximeter_verify.__file__)
PUBLIC = KEY.public_key().public_bytes_raw().hex()
OTHER = Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()
SECONDS_MAX = 60
"""A program that takes this long on a loaded machine hangs."""


class Case(NamedTuple):
    """An invoice of 5.03 USD and the pack about it."""

    document: Document
    pack: Path


@pytest.fixture(scope="module")
async def case(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Case]:
    clock = MovingClock()
    async with open_pool(dsn) as pool:
        shop = await a_shop(pool, clock)
        await shop.open()
        subscription_id = await shop.subscribe()
        await shop.use(*[MARCH + timedelta(days=number) for number in range(8)])
        clock.now = APRIL + timedelta(hours=2)
        document = await shop.close(subscription_id)
        yield Case(document, await pack_of(shop, document.invoice_id, tmp_path_factory.mktemp("pack") / "pack"))


def test_it_imports_the_standard_library_and_the_signature_library_alone() -> None:
    tree = ast.parse(PROGRAM.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    outside = {name for name in imported if name.split(".")[0] not in sys.stdlib_module_names}
    assert {name.split(".")[0] for name in outside} == {"cryptography"}


def test_its_functions_are_small() -> None:
    """The module is one file by intent, so the budget of lines is not for it; that of functions is."""
    tree = ast.parse(PROGRAM.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert functions
    assert max((node.end_lineno or 0) - node.lineno for node in functions) < 60


def test_copied_alone_it_proves_a_pack(case: Case, tmp_path: Path) -> None:
    alone = shutil.copy(PROGRAM, tmp_path / "checker.py")
    ran = subprocess.run(
        [sys.executable, "-I", alone, str(case.pack), "--public-key", PUBLIC],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    first, *found = ran.stdout.splitlines()
    assert first == f"Invoice {case.document.number} ({case.document.invoice_id}) of ada: 5.03 USD"
    assert any(line.startswith("PROVED") and "8 events counted" in line for line in found)
    assert any(line.startswith("WORD") and "retracted" in line for line in found)


def test_what_was_not_compared_is_told(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(case.pack)]) == 0
    told = capsys.readouterr().out
    assert "WORD    the key is the business's own" in told
    assert "WORD    no other history was shown to others" in told


def test_another_key_than_the_business_s_fails(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(case.pack), "--public-key", OTHER]) == 1
    told = capsys.readouterr().out
    assert told == f"FAILED  the file is signed by another key, {PUBLIC}\n"


def test_a_changed_file_fails_and_nothing_is_called_proved(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = case.pack.read_bytes()
    assert b"503" in whole
    (tmp_path / "changed").write_bytes(whole.replace(b"503", b"504", 1))
    assert main([str(tmp_path / "changed")]) == 1
    told = capsys.readouterr().out
    assert told.startswith("FAILED")
    assert "PROVED" not in told


def test_a_file_that_is_not_there_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none")]) == 1
    assert "No such file" in capsys.readouterr().out


def test_a_published_head_of_the_same_position_is_compared(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published = tmp_path / "heads"
    head = lines_of(case.pack)[-2]["head"]
    published.write_bytes(encoded(head) + b"\n")
    assert main([str(case.pack), "--heads", str(published)]) == 0
    assert f"PROVED  the head is the one in {published}" in capsys.readouterr().out


def test_heads_that_say_nothing_about_the_pack_s_fail(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "heads").write_text("")
    assert main([str(case.pack), "--heads", str(tmp_path / "heads")]) == 1
    assert "has no head at position" in capsys.readouterr().out


def test_a_published_head_of_another_history_fails(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Signed by the service as well: it showed one history to one, and another to another."""
    head = lines_of(case.pack)[-2]["head"]
    head["digest"] = "ab" * 32
    text = signed_again(head)
    (tmp_path / "heads").write_text(text)
    assert main([str(case.pack), "--heads", str(tmp_path / "heads")]) == 1
    assert "is of another history" in capsys.readouterr().out


def test_a_published_head_that_nobody_signed_fails(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = lines_of(case.pack)[-2]["head"]
    head["digest"] = "ab" * 32
    (tmp_path / "heads").write_text(json.dumps(head))
    assert main([str(case.pack), "--heads", str(tmp_path / "heads")]) == 1
    assert "the signature of the head does not fit" in capsys.readouterr().out


def signed_again(head: dict[str, object]) -> str:
    unsigned = parse_head(encoded(head))
    return json.dumps(head | {"signature": KEY.sign(unsigned.signed_bytes()).hex()})
