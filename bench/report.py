"""Every bench one after another: one table of what was measured beside what is wanted, a JSON file and a picture.

    python bench/report.py                            a quarter of an hour, into docs/bench
    python bench/report.py --events 2000000           a longer way in
    python bench/report.py --only ingest single       some of them, into files of their own: --to DIRECTORY

Each runs in a process of its own and says nothing where what it measured was wrong.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from matplotlib import pyplot  # pyright: ignore[reportMissingImports]: the tests do without it

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "docs" / "bench"
BENCHES = ("ingest", "single", "close", "large", "live")
LARGE_EVENTS = 1_000_000
CUSTOMERS = 10_000

Figures = dict[str, Any]
"""What a bench wrote."""


class Line(NamedTuple):
    """What was measured, what it came to, what is wanted of it, and whether it is so."""

    what: str
    figure: str
    target: str
    met: bool


def arguments(name: str, flags: argparse.Namespace, done: Figures) -> list[str]:
    """The command of a bench. Usage beside the closing comes at half of what the way in can bear."""
    half = done.get("ingest", {}).get("projected", 2 * flags.rate) / 2
    return {
        "ingest": ["ingest.py", "--events", str(flags.events)],
        "single": ["single.py"],
        "close": ["close.py", "--subscriptions", str(CUSTOMERS), "--ingest", f"{half:.0f}"],
        "large": ["close.py", "--events", str(LARGE_EVENTS)],
        "live": ["live.py"],
    }[name]


def run(name: str, flags: argparse.Namespace, done: Figures) -> Any:
    """One bench; its figures."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [sys.executable, *arguments(name, flags, done), "--json", file.name]
        print(f"bench: {' '.join(command[1:-2])}", file=sys.stderr, flush=True)
        if subprocess.run(command, cwd=HERE, stdout=sys.stderr).returncode:
            raise SystemExit(f"bench: {name} has no figure")
        return msgspec.json.decode(Path(file.name).read_bytes())


def of_ingest(one: Figures) -> Iterator[Line]:
    """Batches: how fast, how fresh, how even."""
    last = one["shares"][-1] / one["shares"][0]
    allowed = 0.9 if one["events"] < 20_000_000 else 0.7
    limit = f"{one['ratio']:.1%} of the bare COPY ({one['bare']:,.0f})"
    yield Line("batches projected", f"{one['projected']:,.0f} events/s, {limit}", "50 %", one["ratio"] >= 0.5)
    yield Line("the last tenth beside the first", f"{last:.0%}", f"{allowed:.0%}", last >= allowed)
    yield _fresh("visible after the answer, full load", one["fresh_full_p99"], 1_000)
    yield _fresh("visible after the answer, half load", one["fresh_half_p99"], 100)
    faster = one["rebuild"] >= one["projected"]
    yield Line("rebuild", f"{one['rebuild']:,.0f} events/s", "as fast as the way in", faster)
    yield Line("PostgreSQL alone, packed before", f"{one['log_alone']:,.0f} events/s into the log's tables", "", True)
    yield Line("the library's recorder", f"{one['recorder']:,.0f} events/s", "", True)
    for name, most in one["memory"].items():
        yield Line(f"memory of {name}", f"{most[0]:,.0f} to {most[-1]:,.0f} MB", "flat", most[-1] <= 1.1 * most[1])


def of_single(one: Figures) -> Iterator[Line]:
    """Single events."""
    yield Line(
        "single events, 200 connections",
        f"{one['recorded']:,.0f}/s, {one['ratio']:.2f} of decoding alone; p50 {one['recorded_p50']:.0f} ms,"
        f" p99 {one['recorded_p99']:.0f} ms",
        "0.6",
        one["ratio"] >= 0.6,
    )
    alone = f"p50 {one['alone_p50']:.1f} ms, p99 {one['alone_p99']:.1f} ms"
    yield Line("a single event, alone", alone, "p50 10 ms", one["alone_p50"] < 10)


def of_close(one: Figures) -> Iterator[Line]:
    """Closing beside usage."""
    took = f"{one['seconds']:.1f} s beside {one['usage'].partition(' of ')[0] or 'no usage'}"
    yield Line(f"closing {one['closed']:,} customers", took, "60 s", one["seconds"] < 60)


def of_large(found: list[Figures]) -> Iterator[Line]:
    """Closing a large customer."""
    for one in found:
        what = f"closing {one['events']:,} events, {one['what']}"
        yield Line(what, f"{one['median_ms']:.0f} ms", "100 ms", one["median_ms"] < 100)


def of_live(one: Figures) -> Iterator[Line]:
    """Live sockets."""
    seen = f"p50 {one['seen_ms']['p50']:.0f} ms, p99 {one['seen_ms']['p99']:.0f} ms"
    what = f"{one['sockets']:,} sockets at {one['events_per_second']:,} events/s"
    yield Line(what, seen, "p99 1 s", one["seen_ms"]["p99"] < 1_000)


TOLD: dict[str, Callable[[Any], Iterator[Line]]] = {
    "ingest": of_ingest,
    "single": of_single,
    "close": of_close,
    "large": of_large,
    "live": of_live,
}


def _fresh(what: str, milliseconds: float, most: int) -> Line:
    return Line(what, f"p99 {milliseconds:,.0f} ms", f"{most:,} ms", milliseconds < most)


def table(done: Figures) -> str:
    """All lines, aligned."""
    head = next((f"{one['date']}, {one['machine']}" for one in done.values() if isinstance(one, dict)), "")
    lines = [line for name, figures in done.items() for line in TOLD[name](figures)]
    widths = [max(len(line.what) for line in lines), max(len(line.figure) for line in lines)]
    rows = [
        f"{line.what:<{widths[0]}}   {line.figure:<{widths[1]}}   {line.target and f'wanted {line.target}'}"
        f"{'' if line.met else ', not met'}".rstrip()
        for line in lines
    ]
    return "\n".join([head, *rows])


def draw(one: Figures, file: Path) -> None:
    """The way in as the run went on: rate against what is wanted, and memory."""
    figure, (rate, memory) = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    parts = range(1, len(one["shares"]) + 1)
    rate.plot(parts, one["shares"], marker="o", label="recorded")
    rate.axhline(one["bare"], linestyle="--", color="0.5", label="bare COPY")
    rate.axhline(one["bare"] / 2, linestyle=":", color="0.5", label="wanted")
    rate.axhline(one["recorder"], linestyle="-.", color="tab:red", label="the library's recorder")
    rate.set(title=f"{one['events']:,} events, {one['date']}", xlabel="tenth of the run", ylabel="events a second")
    for name, most in one["memory"].items():
        memory.plot(range(1, len(most) + 1), most, marker="o", label=name)
    memory.set(title="memory of each process", xlabel="part of the run", ylabel="megabytes")
    for axes in (rate, memory):
        axes.set_ylim(bottom=0)
        axes.legend()
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description="Every bench one after another.")
    parser.add_argument("--events", type=int, default=400_000, help="of the way in (default: 400000)")
    parser.add_argument("--rate", type=int, default=10_000, help="usage beside the closing where ingest is left out")
    parser.add_argument("--only", nargs="+", choices=BENCHES, default=BENCHES, help="not all of them")
    parser.add_argument("--to", type=Path, default=RESULTS, help="where the files go (default: docs/bench)")
    flags = parser.parse_args()
    done: Figures = {}
    for name in BENCHES:
        if name in flags.only:
            done[name] = run(name, flags, done)
    print(table(done))
    flags.to.mkdir(parents=True, exist_ok=True)
    (flags.to / "bench.json").write_bytes(msgspec.json.format(msgspec.json.encode(done), indent=2))
    if "ingest" in done:
        draw(done["ingest"], flags.to / "bench.svg")


if __name__ == "__main__":
    main()
