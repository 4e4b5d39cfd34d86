"""What `make fuzz` does: each of the fuzzers for some minutes, with a seed that is printed and can be given again.

python -m tests.fuzz.long_run --minutes 30 --seed 7
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.app.example.conftest import a_running_service
from tests.fuzz.openapi_run import ROOT, run

EXAMPLES_PER_MINUTE = 600
"""Bodies of the grammar: with what is read back, each takes a tenth of a second or less."""

EXAMPLES = 200
"""Requests per operation of the API in one round; rounds follow each other until the time is over."""

INPUT_MAX_BYTES = 4_096


def openapi(seed: int, seconds: int) -> int:
    """Ask the served description; says what went wrong."""
    with a_running_service() as running:
        ran = run(running.base_url, running.api_key, seed, EXAMPLES, seconds)
    print(ran.stdout[-20_000:], ran.stderr[-5_000:])
    return ran.returncode


def bodies(seed: int, seconds: int) -> int:
    """Send bodies of the grammar."""
    environment = {**os.environ, "TAXIMETER_FUZZ_EXAMPLES": str(max(1, seconds * EXAMPLES_PER_MINUTE // 60 // 2))}
    command = [sys.executable, "-m", "pytest", "-q", "tests/fuzz/test_ingest_bodies.py", f"--hypothesis-seed={seed}"]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def readers(seed: int, seconds: int, folder: Path) -> int:
    """Let the coverage-guided fuzzer loose on the readers; what it finds stays in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(ROOT / "tests" / "fuzz" / "ingest_target.py"), str(folder)]
    flags = [f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={INPUT_MAX_BYTES}", "-print_final_stats=1"]
    return subprocess.run([*command, *flags], cwd=folder, check=False).returncode


def arguments() -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(description="Fuzz for longer than the test suite does.")
    parser.add_argument("--minutes", type=int, default=15, help="in all (default: 15)")
    parser.add_argument("--seed", type=int, help="of an earlier run (default: by chance)")
    parser.add_argument("--folder", type=Path, help="where the coverage-guided fuzzer keeps what it found, to go on")
    return parser.parse_args()


def main() -> None:
    """All of them; the status says whether one found something."""
    flags = arguments()
    seed = random.randrange(1, 2**31) if flags.seed is None else flags.seed
    print(f"seed {seed}: make fuzz ARGS='--minutes {flags.minutes} --seed {seed}'", flush=True)
    seconds = flags.minutes * 60 // 3
    folder = flags.folder or Path(tempfile.mkdtemp(prefix="taximeter-fuzz-"))
    found = {
        "the readers": readers(seed, seconds, folder),
        "the served description": openapi(seed, seconds),
        "hostile bodies": bodies(seed, seconds),
    }
    for name, status in found.items():
        print(f"{name}: {'nothing found' if status == 0 else 'FAILED, see above'}")
    print(f"seed {seed}")
    sys.exit(any(found.values()))


if __name__ == "__main__":
    main()
