"""Every statement that reads the log's usage, its keys or its commits, asked as the code asks it.

What is asked for lies near the newcomer's end, in pages that are small beside what it sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from projections.log_reader import END
from tests.contract.newcomer import NEWCOMER, TENANT

HOUR = timedelta(hours=1)
PAGE = range(4_031, 4_051)
"""Twenty commits, of which two hold domain events and two retract."""

AFTER, UP_TO = NEWCOMER.end(PAGE.start - 1), NEWCOMER.end(PAGE.stop - 1)
SINCE, UNTIL = NEWCOMER.at(AFTER), NEWCOMER.at(AFTER) + HOUR
COMMITS = [NEWCOMER.commit(number) for number in PAGE]
USAGE = [commit for commit in COMMITS if commit.kind == "usage"]
DECIDED = [commit for commit in COMMITS if commit.kind == "domain"]
EVENTS = sum(commit.last_position - commit.first_position + 1 for commit in USAGE)
RETRACTED = 2 * 2
"""Events that the page retracts."""

ALL_RETRACTED = 2 * NEWCOMER.commits // len(NEWCOMER.kinds)
"""All that were ever retracted are looked at once where many events are asked for: they are few."""

IN_HOUR = 360 // 10
"""Events of the big customer in an hour."""

UNTIL_TEN = 2 * 12 * 300
"""To find ten events of one of the others, back from the end: those of everybody else too, and their commits."""

SOME = ["big", *(f"c{number}" for number in range(1, 31))]
"""The big customer and thirty others, who send an event an hour each."""

POSITIONS = [commit.first_position + 3 for commit in USAGE[:10]]
IDS = [f"e{position}" for position in POSITIONS]
ENDS = [commit.last_position for commit in USAGE[:10]]
BATCHES = [commit.batch for commit in USAGE[:10]]
STREAM = f"customer:c{DECIDED[0].first_position % 300}"


@dataclass(frozen=True)
class Asking:
    """A statement with its values, and how many rows of the log it cannot do without."""

    file: str
    name: str
    values: tuple[object, ...]
    rows: int
    case: str = ""

    @property
    def statement(self) -> str:
        """The file and the name in it."""
        return f"{self.file} {self.name}"

    def __str__(self) -> str:
        return f"{self.statement} {self.case}".strip()


def _quantities() -> list[Asking]:
    file, hour, call = "projections/sql/quantity.sql", (SINCE, UNTIL), ["call"]
    many = 20 + EVENTS + ALL_RETRACTED
    return [
        Asking(file, "metadata_bytes", (TENANT, AFTER, UP_TO), 20 + EVENTS),
        Asking(file, "usage_of_commits", (TENANT, AFTER, UP_TO, call, call, call, None), 20 + EVENTS),
        Asking(file, "usage_of_commits", (TENANT, AFTER, UP_TO, call, call, call, UP_TO), many, "and voided"),
        Asking(file, "retracted_events", (TENANT, AFTER, UP_TO), 4 * RETRACTED),
        Asking(file, "standing_usage", (TENANT, "big", *hour, call, END, 0, None), 2 * IN_HOUR),
        Asking(file, "standing_usage", (TENANT, "big", *hour, call, END, AFTER, 5_000), 2 * IN_HOUR, "in pages"),
        Asking(file, "add_unmeasured", (TENANT, ["meter_2"] * 10, POSITIONS), 20),
        Asking(file, "usage_between", (TENANT, ["big"], *hour, "call", UP_TO), 2 * IN_HOUR),
        Asking(file, "usage_between", (TENANT, SOME, *hour, "call", END), 2 * (IN_HOUR + 30), "of some"),
    ]


def _raw_usage() -> list[Asking]:
    file, hour, call = "projections/sql/raw_usage.sql", (SINCE, UNTIL), ["call"]
    many = 2 * IN_HOUR + ALL_RETRACTED
    some = 2 * (IN_HOUR + 30)
    cycles = ([SINCE, SINCE + HOUR], [SINCE + HOUR, SINCE + 2 * HOUR], [AFTER, AFTER + 20])
    return [
        Asking(file, "weight_of_usage", (TENANT, ["big"], *hour, call, HOUR), IN_HOUR),
        Asking(file, "usage_of_customers", (TENANT, ["big"], *hour, call, call, call, END, True, None), many),
        Asking(file, "usage_of_customers", (TENANT, SOME, *hour, call, [], [], END, False, SINCE), some, "of some"),
        Asking(file, "late_usage", (TENANT, "big", AFTER, END, call, *cycles), 2 * 3 * IN_HOUR),
        Asking(file, "retracted_usage", (TENANT, "big", AFTER, UP_TO, call), 4 * RETRACTED),
        Asking(file, "recorded_at", (TENANT, POSITIONS), 10),
        Asking(file, "customers_of_usage", (TENANT,), 4 * 301),
        Asking(
            "projections/sql/known_usage.sql",
            "hours_holding",
            (TENANT, "meter_1", "big", "call", AFTER, [SINCE], [b"digest"]),
            3 * ALL_RETRACTED,
        ),
    ]


def _log() -> list[Asking]:
    file, trail, source = "projections/sql/log.sql", "projections/sql/trail.sql", "projections/sql/log_source.sql"
    hours = [SINCE] * 10
    return [
        Asking(file, "commits_after", (TENANT, AFTER, END, 20), 20),
        Asking(file, "commits_before", (TENANT, UP_TO, 20), 20),
        Asking(file, "usage_of_batch", (TENANT, BATCHES[0]), 10),
        Asking("projections/sql/late_hour.sql", "note", (TENANT, ["m"] * 10, SOME[:10], hours, POSITIONS), 10),
        Asking(trail, "decided_before", (TENANT, UP_TO, 20), 3 * 20),
        Asking(trail, "decided_of_stream", (TENANT, STREAM, UP_TO, 20), 2 * 20),
        Asking(source, "usage", (TENANT, AFTER, UP_TO), 20 + EVENTS),
    ]


def _live_and_alerts() -> list[Asking]:
    live, alert = "app/sql/live.sql", "app/sql/alert.sql"
    return [
        Asking(live, "page", (TENANT, AFTER, 20, 100_000), 20),
        Asking(live, "usage", (TENANT, AFTER, UP_TO, None), 20 + EVENTS),
        Asking(live, "usage", (TENANT, AFTER, UP_TO, ["big", "c7"]), 20 + EVENTS, "of some"),
        Asking(live, "retracted_customers", (TENANT, AFTER, UP_TO), 3 * RETRACTED),
        Asking(alert, "customers_with_changes", (TENANT, AFTER, UP_TO, ["alert.fired"]), 20 + EVENTS + 3 * RETRACTED),
    ]


def _events() -> list[Asking]:
    file, append = "app/sql/events.sql", "app/sql/append.sql"
    return [
        Asking(file, "event", (TENANT, IDS[0]), 4),
        Asking(file, "events", (TENANT, None, None, None, 100, 0), 2 * 100),
        Asking(file, "events", (TENANT, "call", None, None, 100, 100), 2 * 240, "of a name"),
        Asking(file, "events_of_customer", (TENANT, None, SINCE, UNTIL, 10, 0, "big"), 2 * IN_HOUR, "in a span"),
        Asking(
            file,
            "events_of_customer",
            (TENANT, "call", None, None, 10, 0, "c7"),
            UNTIL_TEN,
        ),
        Asking(append, "retractable", (TENANT, IDS), 4 * 10),
        Asking(append, "stored_events", (TENANT, IDS), 2 * 10),
        Asking(append, "taken_ids", (TENANT, IDS), 10),
        Asking("app/sql/tenant.sql", "has_usage", (TENANT,), 1),
    ]


def _dashboard() -> list[Asking]:
    meters, events, now = "app/sql/dashboard_meters.sql", "app/sql/dashboard_events.sql", "app/sql/dashboard_now.sql"
    return [
        Asking(meters, "recent_names", (TENANT, 200, 50), 225),
        Asking(meters, "recent_events", (TENANT, 200, "call", 100), 225),
        Asking(meters, "unmeasured_events", (TENANT, "meter_1", 21, 0), 2 * 21),
        Asking(events, "usage_window", (TENANT, AFTER, UP_TO, None, None, 50), 20 + EVENTS),
        Asking(events, "usage_window", (TENANT, AFTER, UP_TO, None, "big", 50), 20 + EVENTS, "of a customer"),
        Asking(events, "usage_at", (TENANT, POSITIONS[0]), 3),
        Asking(now, "recorded_by", (TENANT, [SINCE, UNTIL]), 2 * 20),
        Asking(now, "standing", (TENANT, 1_000), 1),
    ]


def _audit() -> list[Asking]:
    proof, explain, archive = "app/sql/proof.sql", "app/sql/explain.sql", "app/sql/archive.sql"
    spans, span = (["call"], [SINCE], [UNTIL]), (SINCE, UNTIL)
    return [
        Asking(proof, "ends_of_commits", (TENANT, POSITIONS), 10),
        Asking(proof, "ends_of_usage", (TENANT, "big", "call", *span, END), 2 * IN_HOUR),
        Asking(proof, "digests_after", (TENANT, AFTER, END, 20), 20),
        Asking(proof, "proven_commits", (TENANT, ENDS), 10),
        Asking(proof, "leaves_of_batches", (TENANT, BATCHES, "big", *spans, END), 10 + 100 + ALL_RETRACTED),
        Asking(explain, "facts_with_origin", (TENANT, STREAM, END), 2 * 20),
        Asking(explain, "usage_place", (TENANT, POSITIONS[0], "c4", "call"), 2),
        Asking(explain, "usage_of_span", (TENANT, "big", "call", *span, SINCE, 0, 1_000), 2 * IN_HOUR),
        Asking(archive, "usage_of_positions", (TENANT, AFTER, UP_TO, None, None), 20 + EVENTS),
        Asking(archive, "holds_something", (), 3),
        Asking("app/sql/backup.sql", "digest_at", (TENANT, UP_TO), 1),
        Asking("app/sql/backup.sql", "commit_with", (TENANT, UP_TO), 1),
    ]


ASKED: Sequence[Asking] = [
    *_quantities(), *_raw_usage(), *_log(), *_live_and_alerts(), *_events(), *_dashboard(), *_audit()
]  # fmt: skip

WHOLE = {
    "projections/sql/log_source.sql tenants": "an audit asks for every tenant that has a commit",
    "app/sql/archive.sql heads": "an archive says how many commits there are",
    "app/sql/proof.sql commits_up_to": "a proof pack says how many commits its tree has",
    "app/sql/audit.sql usage_sums": "an audit compares all rows with all keys",
    "app/sql/audit.sql key_sums": "an audit compares all rows with all keys",
    "app/sql/audit.sql loose_usage": "an audit looks for rows that no commit names, among all",
    "app/sql/audit.sql loose_facts": "an audit looks for facts that no commit names, among all",
    "app/sql/audit.sql odd_retractions": "an audit looks at all retractions",
    "app/sql/audit.sql rows_without_key": "an audit looks for such rows among all, once their sums differ",
    "app/sql/audit.sql keys_without_row": "an audit looks for such keys among all, once their sums differ",
    "app/sql/audit.sql keys_of_batch": "keys are not found by batch; asked once, of a batch that an audit found broken",
    "app/sql/audit.sql open_guards": "reads no rows of it",
    "app/sql/retired.sql lock_usage": "reads no rows of it",
    "app/sql/retired.sql retired_span": "a month is retired with every row in it",
    "app/sql/health.sql probe_keys": "reads no rows of it",
    "app/sql/health.sql probe_rows": "reads no rows of it",
}
"""Statements that read all there is, or nothing, each with why."""

LINEAR_AT_FIRST = {
    "projections/sql/log.sql commits_before",
    "app/sql/events.sql events",
    "app/sql/live.sql page",
    "app/sql/tenant.sql has_usage",
    "app/sql/dashboard_now.sql standing",
}
"""Where the planner sorts all commits for a few instead of walking an index. It reads a tenant's history once, not once
for each row, and only until the first ANALYZE of all, which autovacuum does within minutes of the first rows."""
