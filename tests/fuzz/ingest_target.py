"""The laws of reading usage events, for any bytes at all: what a coverage-guided fuzzer is let loose on.

    python tests/fuzz/ingest_target.py [FOLDER] [libFuzzer's flags, such as -max_total_time=600 -seed=1]

atheris runs it, and keeps what reached new code in the folder, if there is one. A broken law ends the run with its
trace, and the bytes that broke it are written to a file beside; `python tests/fuzz/ingest_target.py FILE` shows them
again. The first byte of the input says whether the rest is one JSON body or lines of them.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

try:
    import atheris
except ImportError:
    # The laws alone are of use without it: the test suite tries them on the corpus.
    imports: Any = contextlib.nullcontext
else:
    imports = atheris.instrument_imports

with imports():
    from app.ingest import decode, exact, fast, split
    from app.ingest.problem import BodyProblem, RejectedEvent
    from domain.content import same_content
    from domain.event import UsageEvent, canonical, read_metadata

SECONDS_MAX = 1.0
"""What reading one body may take: the fuzzer's inputs have kilobytes."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_HEADER_BYTES = 25
_LENGTHS = ((1, 5), (5, 9), (9, 13), (21, 25))
"""Where the canonical layout has the lengths of event id, name, customer id and metadata."""


def check(data: bytes) -> list[UsageEvent]:
    """Read the bytes as a request's body and try every law on what comes out; the events that were accepted.

    Raises ``AssertionError`` for a broken law, and whatever the code under test raises but should not.
    """
    ndjson, body = data[:1] == b"\n", data[1:]
    began = time.perf_counter()
    try:
        decoded = decode.decode_events(body, ndjson)
    except BodyProblem as problem:
        _check_refusal(problem)
        return []
    finally:
        assert time.perf_counter() - began < SECONDS_MAX, "reading hangs"
    _check_indexes(decoded)
    texts = split.ndjson_events(body) if ndjson else split.json_events(body)
    accepted = dict(decoded.events)
    for index, text in enumerate(texts):
        _readers_agree(index, text, accepted.get(index))
    for event in accepted.values():
        _check_bytes(event)
    _check_injective(list(accepted.values()))
    return list(accepted.values())


def _check_refusal(problem: BodyProblem) -> None:
    assert problem.status in (400, 413, 422)
    _written(problem.code, problem.message)


def _written(*texts: str) -> None:
    for text in texts:
        assert text
        assert "\0" not in text
        text.encode()


def _check_indexes(decoded: decode.Decoded) -> None:
    found = sorted([index for index, _ in decoded.events] + [event.index for event in decoded.rejected])
    assert found == list(range(len(found))), "an event is lost, or read twice"
    for problem in decoded.problems:
        _written(problem.field, problem.code, problem.message)
        assert problem.message.startswith(problem.field)
    assert all(event.problems for event in decoded.rejected)


def _readers_agree(index: int, text: bytes, taken: UsageEvent | None) -> None:
    """The quick reader takes nothing that the exact one refuses, and reads the same."""
    precise = exact.read_event(index, text)
    quick = fast.read_event(text)
    assert quick is None or quick == precise, (quick, precise)
    if isinstance(precise, RejectedEvent):
        assert taken is None
    else:
        assert taken == precise, (taken, precise)
        _as_the_standard_library_reads(precise, text)


def read_plainly(text: str | bytes) -> Any:
    """What the standard library reads, numbers as exact decimals. One whose exponent no decimal has stays text: in a
    field that is ignored it may stand."""

    def number(digits: str) -> Decimal | str:
        try:
            return Decimal(digits)
        except InvalidOperation:
            return digits

    return json.loads(text, parse_float=number, parse_int=number)


def _as_the_standard_library_reads(event: UsageEvent, text: bytes) -> None:
    value = read_plainly(text)
    assert (event.event_id, event.event_name, event.customer_id) == (
        value["event_id"],
        value["event_name"],
        value["customer_id"],
    )
    sent = value.get("metadata")
    assert read_metadata(event.metadata) == (sent or {})


def _canonical(event: UsageEvent) -> bytes:
    micros = 0 if event.timestamp is None else (event.timestamp - EPOCH) // timedelta(microseconds=1)
    texts = (event.event_id.encode(), event.event_name.encode(), event.customer_id.encode())
    return canonical(*texts, micros, event.metadata.encode())


def _check_bytes(event: UsageEvent) -> None:
    """The canonical bytes can be taken apart into the fields again, so that no two events share them, and an event
    that is sent again as it was recorded has the same ones."""
    text = _canonical(event)
    sizes = [int.from_bytes(text[first:last]) for first, last in _LENGTHS]
    identity, name, customer, metadata = sizes
    rest = text[_HEADER_BYTES:]
    assert len(rest) == sum(sizes)
    fields = (event.event_id, event.event_name, event.customer_id, event.metadata)
    assert b"".join(field.encode() for field in fields) == rest
    assert [len(field.encode()) for field in fields] == [identity, name, customer, metadata]
    again = exact.read_event(0, json.dumps(_members(event)).encode()[:-1] + _metadata_member(event))
    assert again == event, (again, event)
    assert isinstance(again, UsageEvent)
    assert _canonical(again) == text
    assert same_content(again, event)


def _members(event: UsageEvent) -> dict[str, str]:
    members = {"event_id": event.event_id, "event_name": event.event_name, "customer_id": event.customer_id}
    return members if event.timestamp is None else {**members, "timestamp": event.timestamp.isoformat()}


def _metadata_member(event: UsageEvent) -> bytes:
    return f', "metadata": {event.metadata}}}'.encode() if event.metadata else b"}"


def _check_injective(events: list[UsageEvent]) -> None:
    by_bytes = {_canonical(event): event for event in events}
    assert len(by_bytes) == len({(e.event_id, e.event_name, e.customer_id, e.timestamp or EPOCH, e.metadata)
                                 for e in events})  # fmt: skip


def corpus() -> Iterator[bytes]:
    """Where a fuzzer starts: bodies that are right, and some that are wrong in a way that took thought."""
    required = '"event_id":"e1","event_name":"n","customer_id":"c"'
    escaped = required.replace("e1", r"\u0065\ud83d\ude00")
    events = [
        f'{{{required},"timestamp":"2026-11-23T18:50:07.258763+00:00","metadata":{{"tokens":12,"rate":0.5,"m":"x"}}}}',
        f' {{ {required} , "metadata" : {{ "a" : true, "b":-1.5E-3 }} , "x":[1,{{"y":null}}] }} ',
        f'{{{escaped},"timestamp":"2026-02-28t23:59:59.1234567-05:30"}}',
        f'{{{required},"x":1e99999999999999999999}}',
        f'{{{required},"metadata":{{"a":1,"a":2}}}}',
        f'{{{required},"metadata":{{"a":"\\ud800"}},"timestamp":5}}',
    ]
    yield b" " + f'{{"events":[{",".join(events[:2])}]}}'.encode()
    yield b" " + f'{{"events" : [ {" , ".join(events)} ] , "more":{{}} }}'.encode()
    yield b"\n" + "\r\n\n".join(events).encode()
    yield from (b" " + f'{{"events":[{event}]}}'.encode() for event in events)


def main() -> None:
    """Fuzz until the flags say stop."""
    for folder in (Path(argument) for argument in sys.argv[1:]):
        if folder.is_dir():
            for number, data in enumerate(corpus()):
                (folder / f"first-{number}").write_bytes(data)
            break
    atheris.Setup(sys.argv, lambda data: check(data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
