"""The memory that the server takes from the machine."""

from pathlib import Path

import pytest

from app.engine import settings
from app.engine.settings import MEBIBYTE, memory_bytes, server_settings, shared_buffers


@pytest.mark.parametrize(
    ("memory_mebibytes", "buffers"), [(128, 32), (256, 32), (512, 64), (1024, 128), (2048, 256), (65536, 256)]
)
def test_shared_buffers_follow_the_memory(memory_mebibytes: int, buffers: int):
    assert shared_buffers(memory_mebibytes * MEBIBYTE) == buffers


def test_the_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(settings, "CGROUP_MEMORY", limit)
    machine = memory_bytes()
    limit.write_text("max\n")
    assert memory_bytes() == machine
    limit.write_text(f"{64 * MEBIBYTE}\n")
    assert memory_bytes() == 64 * MEBIBYTE
    limit.write_text(f"{machine * 2}\n")
    assert memory_bytes() == machine


def test_no_network_and_no_shortcut_on_durability():
    chosen = server_settings("/socket", "taximeter-1")
    assert chosen["listen_addresses"] == ""
    assert [chosen[name] for name in ("fsync", "synchronous_commit", "full_page_writes")] == ["on"] * 3
    assert chosen["unix_socket_directories"] == "/socket"
    assert chosen["cluster_name"] == "taximeter-1"
