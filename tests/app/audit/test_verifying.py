"""Each way of tampering with a log, by somebody who may do everything in the database, is found and named."""

from __future__ import annotations

import msgspec
import pytest

from app.audit.findings import Rule
from app.service import Service
from tests.app.audit.history import History
from tests.app.log_rows import record_usage, use

OF_EVENT = "where u.tenant_id = $1 and u.event_id = 'c3'"
OF_COMMIT = "where tenant_id = $1 and first_position = 9"
OF_KEY = "where tenant_id = $1 and event_id = 'c3'"


async def test_a_history_that_nobody_touched_fits(history: History, own_service: Service) -> None:
    heads = await history.publish(own_service)
    verdict = await history.verdict(heads)
    assert (verdict.position, verdict.commits, verdict.heads, verdict.findings) == (25, 7, 1, [])
    assert verdict.digest == heads[0].digest
    assert "25 events in 7 commits, all as they were recorded; 1 published head compared" in verdict.lines()[0]


@pytest.mark.parametrize(
    ("statement", "rule", "span", "said"),
    [
        (
            f"update log.usage_event u set metadata = '{{\"tokens\": 8}}' {OF_EVENT}",
            Rule.events,
            (9, 18),
            "were changed",
        ),
        (f"update log.usage_event u set customer_id = 'bob' {OF_EVENT}", Rule.events, (9, 18), "one or more of its 10"),
        (f"update log.usage_event u set event_name = 'api.cal' {OF_EVENT}", Rule.events, (9, 18), "were changed"),
        (
            f"update log.usage_event u set timestamp = u.timestamp + interval '1 microsecond' {OF_EVENT}",
            *(Rule.events, (9, 18), "were changed"),
        ),
        (
            f"update log.usage_event u set timestamp = '294270-01-01 00:00Z' {OF_EVENT}",
            *(Rule.events, (9, 18), "none that an append can have written"),
        ),
        (
            f"update log.usage_event u set event_id = 'c3x' {OF_EVENT}",
            *(Rule.events, (9, 18), "position 12 should hold event 'c3' and holds 'c3x'"),
        ),
        (
            f"delete from log.usage_event u {OF_EVENT}",
            *(Rule.events, (9, 18), "position 12 should hold event 'c3', whose row is gone"),
        ),
        (f"delete from log.usage_event u {OF_EVENT}", Rule.events, (9, 18), "1 of the commit's 10 events are gone"),
        (
            "delete from log.domain_event where tenant_id = $1 and position = 21",
            Rule.events,
            (21, 21),
            "1 of the commit",
        ),
        (
            "update log.domain_event set state = state || ' '::bytea where tenant_id = $1 and position = 21",
            *(Rule.events, (21, 21), "its event was changed"),
        ),
        (
            "update log.domain_event set kind = 'x' where tenant_id = $1 and position = 21",
            *(Rule.events, (21, 21), "its event was changed"),
        ),
        (
            "update log.retraction set reason = 'lost' where tenant_id = $1 and position = 19",
            *(Rule.events, (19, 20), "one or more of its 2 events"),
        ),
        (
            "delete from log.retraction where tenant_id = $1 and position = 20",
            Rule.events,
            (19, 20),
            "position 20 is empty",
        ),
        (f"update log.commit set root = sha256('') {OF_COMMIT}", Rule.digest, (9, 18), "does not follow"),
        (f"update log.commit set digest = sha256('') {OF_COMMIT}", Rule.digest, (9, 18), "does not follow"),
        (f"update log.commit set origin = 'x' {OF_COMMIT}", Rule.digest, (9, 18), "does not follow"),
        (f"update log.commit set kind = 'domain' {OF_COMMIT}", Rule.digest, (9, 18), "does not follow"),
        (f"update log.commit set kind = 'usages' {OF_COMMIT}", Rule.kind, (9, 18), "no kind that there is"),
        (
            f"update log.commit set recorded_at = recorded_at - interval '1 year' {OF_COMMIT}",
            *(Rule.time, (9, 18), "recorded before the one in front of it"),
        ),
        (
            f"update log.commit set recorded_at = recorded_at + interval '1 microsecond' {OF_COMMIT}",
            *(Rule.digest, (9, 18), "its kind, positions, time, root or origin was changed"),
        ),
        (f"update log.commit set batch = gen_random_uuid() {OF_COMMIT}", Rule.events, (9, 18), "10 of the commit's 10"),
        (f"delete from log.commit {OF_COMMIT}", Rule.positions, (19, 20), "what stood between them is gone"),
        (
            f"update log.commit set first_position = 8 {OF_COMMIT}",
            *(Rule.positions, (8, 18), "which ends at position 8"),
        ),
        ("update log.head set position = 24 where tenant_id = $1", Rule.head, (25, 25), "where its head says"),
        ("update log.head set digest = sha256('') where tenant_id = $1", Rule.head, (25, 25), "where its head says"),
        ("delete from log.head where tenant_id = $1", Rule.head, (1, 25), "where its head says"),
        ("delete from log.commit where tenant_id = $1 and last_position = 25", Rule.head, (22, 25), "commits are gone"),
    ],
)
async def test_a_change_is_found_and_named(
    history: History, statement: str, rule: Rule, span: tuple[int, int], said: str
) -> None:
    await history.tamper(statement)
    first = await history.first()
    assert (first.rule, (first.first_position, first.last_position)) == (rule, span)
    assert said in "\n".join(first.lines())


async def test_two_rows_that_changed_places(history: History) -> None:
    move = "update log.usage_event set ordinal = $3 where tenant_id = $1 and event_id = $2"
    for event_id, ordinal in (("c3", 99), ("c4", 3), ("c3", 4)):
        await history.tamper(move, event_id, ordinal)
    first = await history.first()
    assert (first.rule, first.first_position, first.last_position) == (Rule.events, 9, 18)
    assert first.rows == [
        "position 12 should hold event 'c3' and holds 'c4'",
        "position 13 should hold event 'c4' and holds 'c3'",
    ]


async def test_two_commits_that_changed_places(history: History) -> None:
    move = "update log.commit set first_position = $3, last_position = $3 where tenant_id = $1 and last_position = $2"
    for position, place in ((8, 99), (21, 8), (99, 21)):
        await history.tamper(move, position, place)
    await history.tamper("update log.domain_event set position = 8 where tenant_id = $1 and position = 21")
    first = await history.first()
    assert (first.rule, first.first_position, first.last_position) == (Rule.digest, 8, 8)


async def test_the_first_of_several_faults_is_named(history: History) -> None:
    await history.tamper("update log.usage_event set metadata = '' where tenant_id = $1 and event_id in ('a2', 'd0')")
    await history.tamper(f"update log.commit set origin = 'x' {OF_COMMIT}")
    first = await history.first()
    assert (first.rule, first.first_position, first.last_position) == (Rule.events, 3, 7)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (f"delete from log.event_key {OF_KEY}", [(Rule.keys, "1 events have no key", ["event 'c3'"])]),
        (
            f"update log.event_key set ordinal = 9 {OF_KEY}",
            [
                (Rule.keys, "1 events have no key", ["event 'c3'"]),
                (Rule.keys, "1 keys name no event", ["key 'c3'"]),
            ],
        ),
        (
            "insert into log.event_key select tenant_id, 'c99', batch, 99 from log.commit where tenant_id = $1 limit 1",
            [(Rule.keys, "1 keys name no event", ["key 'c99'"])],
        ),
        (
            "insert into log.domain_event values ($1, 'meter:x', 1, 12, 'meter.created', '{}')",
            [(Rule.rows, "1 domain events belong to no commit", ["meter.created of meter:x at position 12"])],
        ),
        (
            "insert into log.domain_event values ($1, 'meter:x', 1, 26, 'meter.created', '{}')",
            [(Rule.rows, "1 domain events belong to no commit", ["meter.created of meter:x at position 26"])],
        ),
        (
            "insert into log.retraction select tenant_id, 'd1', batch, 2, 21, '' from log.retraction"
            " where tenant_id = $1 and ordinal = 0",
            [(Rule.retractions, "1 retractions do not stand", ["event 'd1' at position 21"])],
        ),
        (
            "update log.retraction set batch = gen_random_uuid() where tenant_id = $1 and event_id = 'b0'",
            [(Rule.retractions, "1 retractions do not stand", ["event 'b0' at position 20"])],
        ),
    ],
)
async def test_what_stands_beside_the_chain_is_compared(
    history: History, statement: str, said: list[tuple[Rule, str, list[str]]]
) -> None:
    await history.tamper(statement)
    findings = (await history.verdict()).findings
    assert [(one.rule, one.rows) for one in findings] == [(rule, rows) for rule, _, rows in said]
    assert all(one.message.startswith(begin) for one, (_, begin, _) in zip(findings, said, strict=True))


@pytest.mark.parametrize("place", ["batch, 10", "gen_random_uuid(), 0"])
async def test_an_inserted_row_belongs_to_no_commit(history: History, place: str) -> None:
    await history.tamper(
        f"insert into log.usage_event select tenant_id, {place}, 'more', event_name, customer_id, timestamp, metadata"
        " from log.usage_event where tenant_id = $1 and event_id = 'c3'"
    )
    findings = (await history.verdict()).findings
    assert [(one.rule, one.rows) for one in findings] == [
        (Rule.rows, ["event 'more'"]),
        (Rule.keys, ["event 'more'"]),
    ]


async def test_two_keys_that_changed_places(history: History) -> None:
    """Each key has its row and each row its key, but not that one: the sums of both tables are of the pairs."""
    await history.tamper(
        "update log.event_key set ordinal = 7 - ordinal where tenant_id = $1 and event_id in ('c3', 'c4')",
    )
    assert [one.rows for one in (await history.verdict()).findings] == [
        ["event 'c3'", "event 'c4'"],
        ["key 'c3'", "key 'c4'"],
    ]


async def test_a_truncated_tail_is_known_from_a_published_head(history: History, own_service: Service) -> None:
    heads = await history.publish(own_service)
    await history.cut_off(21)
    assert (await history.verdict()).findings == []
    first = await history.first(heads)
    assert (first.rule, first.first_position, first.last_position) == (Rule.truncated, 22, 25)
    assert "the log ends at 21" in first.message


async def test_a_log_that_is_gone_is_known_from_a_published_head(history: History, own_service: Service) -> None:
    heads = await history.publish(own_service)
    for table in ("head", "commit", "usage_event", "event_key", "domain_event", "retraction"):
        await history.tamper(f"delete from log.{table} where tenant_id = $1")
    assert (await history.verdict()).findings == []
    assert (await history.first(heads)).rule is Rule.truncated


async def test_a_rewritten_chain_is_known_from_a_published_head(history: History, own_service: Service) -> None:
    heads = await history.publish(own_service)
    await history.tamper("update log.usage_event set customer_id = 'bob' where tenant_id = $1 and event_id = 'c3'")
    await history.rechain(9)
    assert (await history.verdict()).findings == []
    first = await history.first(heads)
    assert (first.rule, first.first_position, first.last_position) == (Rule.published, 1, 25)
    assert "history was rewritten" in first.message


async def test_a_rewritten_chain_lies_between_the_heads_that_fit_and_the_first_that_does_not(
    history: History, own_service: Service
) -> None:
    (last,) = await history.publish(own_service)
    await history.cut_off(8)
    assert (await history.verdict()).findings == []
    (early,) = await history.publish(own_service)
    first = await history.first([early, last])
    assert (first.rule, first.first_position, first.last_position) == (Rule.truncated, 9, 25)
    await record_usage(history.owner, history.tenant_id, [use(f"n{n}") for n in range(17)], own_service.clock())
    first = await history.first([early, last])
    assert (first.rule, first.first_position, first.last_position) == (Rule.published, 9, 25)
    await record_usage(history.owner, history.tenant_id, [use("later")], own_service.clock())
    assert (await history.first([early, last])).rule is Rule.published


async def test_a_head_inside_of_a_commit_was_never_published(history: History, own_service: Service) -> None:
    (head,) = await history.publish(own_service)
    first = await history.first([msgspec.structs.replace(head, position=24)])
    assert (first.rule, first.last_position) == (Rule.published, 24)
