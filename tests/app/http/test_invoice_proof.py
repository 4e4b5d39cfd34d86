"""The proof of an invoice over HTTP: one file, and what is answered where there can be none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.audit.signing_key import make_key
from app.operating import Operating
from taximeter_verify import verify
from tests.conftest import application


@pytest.fixture
def key_file(api: Any, tmp_path: Path) -> Iterator[Path]:
    """Where the service looks for its key; there is none yet."""
    state = application()[0].state
    state.operating = replace(Operating(), signing_key=tmp_path / "key.pem")
    yield tmp_path / "key.pem"
    state.operating = Operating()


@pytest.fixture
async def invoice(api: Any, make: Any) -> dict[str, Any]:
    """A closed cycle of a customer with seven calls."""
    made = await make.everything()
    await api.ingest(*(make.event(number) for number in range(7)))
    await api.project()
    api.clock.advance(days=30)
    closed = await api.post(f"/subscriptions/{made['subscription_id']}/close-cycle")
    assert closed.status_code == 200, closed.text
    return closed.json()


async def test_an_invoice_that_there_is_not_has_no_proof(api: Any, key_file: Path) -> None:
    answered = await api.get("/invoices/inv_none/proof")
    assert (answered.status_code, answered.json()["code"]) == (404, "INVOICE_NOT_FOUND")


async def test_another_tenant_s_invoice_has_no_proof(invoice: dict[str, Any], key_file: Path, open_client: Any) -> None:
    stranger = await open_client()
    answered = await stranger.get(f"/invoices/{invoice['invoice_id']}/proof")
    assert (answered.status_code, answered.json()["code"]) == (404, "INVOICE_NOT_FOUND")


async def test_without_a_key_there_is_no_proof_until_one_is_made(
    api: Any, invoice: dict[str, Any], key_file: Path
) -> None:
    path = f"/invoices/{invoice['invoice_id']}/proof"
    answered = await api.get(path)
    assert (answered.status_code, answered.json()["code"]) == (409, "NO_SIGNING_KEY")
    assert str(key_file) not in answered.text
    make_key(key_file)
    assert (await api.get(path)).status_code == 200


async def test_a_key_that_may_only_ingest_reads_no_proof(
    api: Any, invoice: dict[str, Any], key_file: Path, open_client: Any
) -> None:
    ingesting = await open_client(tenant_id=api.caller.tenant_id, scope="ingest")
    assert (await ingesting.get(f"/invoices/{invoice['invoice_id']}/proof")).status_code == 403


async def test_the_proof_is_a_file_that_holds(
    api: Any, invoice: dict[str, Any], key_file: Path, tmp_path: Path
) -> None:
    key = make_key(key_file)
    answered = await api.get(f"/invoices/{invoice['invoice_id']}/proof")
    assert answered.headers["content-type"].startswith("application/jsonl")
    assert f"{invoice['invoice_id']}.proof.jsonl" in answered.headers["content-disposition"]
    assert int(answered.headers["content-length"]) == len(answered.content)
    (tmp_path / "pack").write_bytes(answered.content)
    checker = verify(tmp_path / "pack")
    assert checker.document["total_amount"] == invoice["total_amount"] == 503
    assert checker.proven.head["public_key"] == key.public_key().public_bytes_raw().hex()


async def test_a_head_that_was_published_may_be_asked_for(
    api: Any, make: Any, invoice: dict[str, Any], key_file: Path, tmp_path: Path
) -> None:
    make_key(key_file)
    then = (await api.get("/log/head")).json()
    await api.ingest(make.event(8, timestamp=None), make.event(9, timestamp=None))
    path = f"/invoices/{invoice['invoice_id']}/proof"
    (tmp_path / "pack").write_bytes((await api.get(path, params={"position": then["position"]})).content)
    head = verify(tmp_path / "pack").proven.head
    assert (head["position"], head["digest"]) == (then["position"], then["digest"])


@pytest.mark.parametrize("position", [1, 10_000, -1])
async def test_a_head_before_the_invoice_or_beyond_the_log_is_refused(
    api: Any, invoice: dict[str, Any], key_file: Path, position: int
) -> None:
    make_key(key_file)
    answered = await api.get(f"/invoices/{invoice['invoice_id']}/proof", params={"position": position})
    assert (answered.status_code, answered.json()["code"]) == (422, "INVALID_FIELD")


async def test_a_head_inside_of_a_commit_is_refused(
    api: Any, make: Any, invoice: dict[str, Any], key_file: Path
) -> None:
    make_key(key_file)
    await api.ingest(*(make.event(number, timestamp=None) for number in (8, 9)))
    end = (await api.get("/log/head")).json()["position"]
    answered = await api.get(f"/invoices/{invoice['invoice_id']}/proof", params={"position": end - 1})
    assert answered.json()["message"] == f"position: must be the end of a commit, such as {end}"
