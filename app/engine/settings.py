"""Every setting of the embedded server, each with its reason."""

import os
from pathlib import Path

MEBIBYTE = 1024 * 1024
LARGEST_BUFFERS = 256
"""MiB of shared_buffers on a machine with memory to spare: holds the hot indexes of a large tenant."""
SMALLEST_BUFFERS = 32
"""MiB below which the server spends its time evicting pages."""
MEMORY_SHARE = 8
"""One eighth of the memory goes to shared_buffers; the application and the page cache need the rest."""
CGROUP_MEMORY = Path("/sys/fs/cgroup/memory.max")
"""The memory limit of a Linux container: the number of bytes, or the word `max`."""
PORT = 5432
"""The port is only a part of the socket's file name here; a fixed one overrides PGPORT."""


def server_settings(socket_directory: str, marker: str) -> dict[str, str]:
    """Return all settings; on the command line they outrank every file in the data directory."""
    return {
        # Nobody can reach the server over a network, not even on this machine.
        "listen_addresses": "",
        "unix_socket_directories": socket_directory,
        # The directory is closed to other accounts already; this closes the socket itself as well.
        "unix_socket_permissions": "0700",
        "port": str(PORT),
        # An acknowledged event is on disk, whole, before it is acknowledged: never off for billing data.
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "shared_buffers": f"{shared_buffers(memory_bytes())}MB",
        # Ingest writes much WAL; few and spread checkpoints mean few full page images.
        "max_wal_size": "4GB",
        "checkpoint_timeout": "15min",
        # Full page images shrink to a fraction; `on` is pglz, the one method that every build has.
        "wal_compression": "on",
        # Several service processes with their pools, the command line tools, and room for a backup.
        "max_connections": "200",
        # Statements here are short; compiling them costs more than it saves, and the wheel has no compiler.
        "jit": "off",
        # Times in the log and in text answers mean the same on every machine.
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] ",
        # Standard error is the log file that the launcher opened.
        "log_destination": "stderr",
        "logging_collector": "off",
        # Shown in the title of every server process, so that the launcher recognises its own.
        "cluster_name": marker,
    }


def memory_bytes() -> int:
    """Return the bytes of memory that this process may use: the machine's, or the container's limit."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = CGROUP_MEMORY.read_text().strip()
    except OSError:
        return machine
    return min(machine, int(limit)) if limit.isdigit() else machine


def shared_buffers(memory: int) -> int:
    """Return shared_buffers in MiB for `memory` bytes."""
    return max(SMALLEST_BUFFERS, min(LARGEST_BUFFERS, memory // MEBIBYTE // MEMORY_SHARE))
