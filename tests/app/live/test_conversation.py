"""The conversation alone: what is said when, to a reader who is quick, slow, or away for a while."""

from __future__ import annotations

import pytest

from app.live import conversation as rules
from app.live.shared import Shared
from app.live.standing import Standing
from tests.app.live.standings import cycle, standing
from tests.app.live.talk import Fired, Talk, quantities


@pytest.fixture
def talk() -> Talk:
    return Talk()


def test_first_a_snapshot_then_only_what_changed(talk: Talk) -> None:
    first, other = cycle(1), cycle(10, month=2)
    talk.subscribe("a", standing(5, first, other))
    frame = talk.take()
    assert (frame["type"], frame["id"], frame["position"], quantities(frame)) == ("snapshot", "a", 5, ["1", "10"])
    assert talk.take() is None
    talk.conversation.offer(standing(8, first, cycle(11, month=2), changed=(5, 8)))
    frame = talk.take()
    assert (frame["type"], frame["position"], quantities(frame)) == ("update", 8, ["11"])


def test_offers_wake_the_socket(talk: Talk) -> None:
    talk.subscribe("a", standing(5, cycle(1)))
    talk.take()
    before = talk.woken
    talk.conversation.offer(standing(6, cycle(2)))
    assert talk.woken == before + 1


def test_of_many_offers_only_the_newest_is_taken(talk: Talk) -> None:
    talk.subscribe("a", standing(1, cycle(1), cycle(1, month=2)))
    talk.take()
    kept = cycle(50, month=2)
    talk.conversation.offer(standing(2, cycle(2), kept, changed=(2, 2)))
    for position in range(3, 1_000):
        talk.conversation.offer(standing(position, cycle(position), kept, changed=(position, 2)))
        assert talk.conversation.waiting == 1
    frame = talk.take()
    assert (frame["position"], quantities(frame)) == (999, ["999", "50"])
    assert talk.take() is None


def test_what_a_newer_value_takes_the_place_of_is_counted_as_dropped() -> None:
    shared = Shared()
    talk = Talk(shared)
    talk.subscribe("a", standing(1, cycle(1)))
    talk.take()
    assert shared.values_dropped == 0
    for position in range(2, 12):
        talk.conversation.offer(standing(position, cycle(position)))
    talk.conversation.offer(standing(3, cycle(3)))
    talk.take()
    # Of eleven offers one was taken, and one was old when it came.
    assert shared.values_dropped == 9


def test_an_older_state_or_the_same_once_more_says_nothing(talk: Talk) -> None:
    shown = standing(5, cycle(5))
    talk.subscribe("a", shown)
    talk.take()
    talk.conversation.offer(shown)
    talk.conversation.offer(standing(4, cycle(4)))
    assert talk.take() is None
    newer = standing(7, cycle(7))
    talk.conversation.offer(newer)
    talk.conversation.offer(standing(6, cycle(6)))
    assert quantities(talk.take()) == ["7"]


def test_a_state_read_anew_without_another_value_says_nothing(talk: Talk) -> None:
    talk.subscribe("a", standing(5, cycle(5)))
    talk.take()
    talk.conversation.offer(standing(9, cycle(5), changed=(5,)))
    assert talk.take() is None


def test_a_value_that_time_alone_changed_is_sent_though_the_position_is_the_same(talk: Talk) -> None:
    talk.subscribe("a", standing(5, cycle(5)))
    talk.take()
    talk.conversation.offer(standing(5, cycle(6)))
    frame = talk.take()
    assert (frame["type"], frame["position"], quantities(frame)) == ("update", 5, ["6"])
    talk.conversation.offer(standing(5, cycle(6), cycle(0, month=2)))
    assert quantities(talk.take()) == ["0"]


def test_a_cycle_that_is_gone_makes_a_snapshot(talk: Talk) -> None:
    kept = cycle(10, month=2)
    talk.subscribe("a", standing(5, cycle(1), kept))
    talk.take()
    talk.conversation.offer(standing(7, kept, changed=(5,), left=7))
    frame = talk.take()
    assert (frame["type"], frame["position"], quantities(frame)) == ("snapshot", 7, ["10"])


def test_one_subscription_is_shown_alone(talk: Talk) -> None:
    mine, other = cycle(1), cycle(2, subscription_id="sub_2")
    talk.subscribe("a", standing(5, mine, other), subscription_id="sub_1")
    assert quantities(talk.take()) == ["1"]
    talk.conversation.offer(standing(6, mine, cycle(3, subscription_id="sub_2"), changed=(5, 6)))
    assert talk.take() is None
    talk.conversation.offer(standing(7, mine, changed=(5,), left=7))
    assert talk.take() is None
    talk.conversation.offer(standing(8, cycle(4), left=7))
    assert (talk.take()["type"]) == "update"


@pytest.mark.parametrize(
    ("shown", "kind", "position", "expected"),
    [
        (standing(100, cycle(1), cycle(2, month=2), changed=(40, 90)), "update", 100, []),
        (standing(80, cycle(1), changed=(80,)), "update", 100, []),
        (standing(120, cycle(1), cycle(2, month=2), changed=(40, 120)), "update", 120, ["2"]),
        (standing(120, cycle(1), cycle(2, month=2), changed=(110, 120)), "snapshot", 120, ["1", "2"]),
        (standing(120, cycle(1), cycle(2, month=2), changed=(40, 90), left=110), "snapshot", 120, ["1", "2"]),
        (standing(120, left=50), "snapshot", 120, []),
        (standing(90, left=50), "update", 100, []),
    ],
)
def test_a_client_that_comes_back_gets_what_is_newer(
    talk: Talk, shown: Standing, kind: str, position: int, expected: list[str]
) -> None:
    talk.subscribe("a", shown, after=100)
    frame = talk.take()
    assert (frame["type"], frame["position"], quantities(frame)) == (kind, position, expected)


def test_a_snapshot_is_called_by_the_position_up_to_which_it_holds(talk: Talk) -> None:
    talk.subscribe("a", standing(80, cycle(1)), position=130)
    assert talk.take()["position"] == 130
    talk.conversation.offer(standing(131, cycle(2)))
    assert talk.take()["position"] == 131


def test_subscriptions_take_turns(talk: Talk) -> None:
    talk.subscribe("t", tenant=True)
    talk.take()
    for customer in ("b", "c", "d"):
        talk.conversation.offer(standing(3, cycle(1), customer_id=customer))
    talk.subscribe("a", standing(3, cycle(1)))
    names = [talk.take()["id"] for _ in range(5)]
    assert names == ["t", "a", "t", "t", "t"]


def test_a_tenant_is_shown_each_customer_and_then_that_these_were_all(talk: Talk) -> None:
    frame = talk.say(type="subscribe", id="t", tenant=True)
    begun = talk.conversation.begin(frame, None, 0)
    for customer in ("b", "c"):
        talk.conversation.offer(standing(3, cycle(1), customer_id=customer))
    assert [talk.take()["customer_id"] for _ in range(2)] == ["b", "c"]
    assert talk.take() is None
    talk.conversation.opened(begun, 4, 4)
    talk.position = 4
    assert talk.take() == {"type": "heartbeat", "position": 4}
    talk.conversation.offer(standing(5, cycle(2), customer_id="c"))
    talk.conversation.offer(standing(6, cycle(1), customer_id="d"))
    assert [(frame["type"], frame["customer_id"]) for frame in (talk.take(), talk.take())] == [
        ("update", "c"),
        ("snapshot", "d"),
    ]


def test_whoever_comes_back_to_a_tenant_is_shown_everybody_and_told_the_alerts_since(talk: Talk) -> None:
    talk.subscribe("t", standing(3, cycle(1), customer_id="b"), tenant=True, after=9, position=10)
    page = talk.take()
    assert (page.customer_id, page.after) == (None, 9)
    talk.conversation.alerts(page, [Fired(10)])
    assert talk.take()["firing"]["position"] == 10
    frame = talk.take()
    assert (frame["type"], frame["position"], quantities(frame)) == ("snapshot", 3, ["1"])
    talk.position = 8
    assert talk.take() is None
    talk.position = 10
    assert talk.take() == {"type": "heartbeat", "position": 10}


def test_one_offer_serves_every_subscription_that_shows_it(talk: Talk) -> None:
    talk.subscribe("a")
    talk.subscribe("b", subscription_id="sub_1")
    talk.subscribe("other", customer_id="bob")
    talk.conversation.offer(standing(3, cycle(1)))
    assert [talk.take()["id"], talk.take()["id"]] == ["a", "b"]
    assert talk.take() is None


def test_where_nothing_waits_a_value_is_sent_at_once(talk: Talk) -> None:
    talk.subscribe("a", standing(1, cycle(1)))
    talk.is_free = True
    talk.conversation.offer(standing(2, cycle(2)))
    assert talk.sent == []  # The snapshot waits, and comes first.
    assert quantities(talk.take()) == ["2"]
    woken = talk.woken
    talk.conversation.offer(standing(3, cycle(3)))
    talk.conversation.offer(standing(2, cycle(9)))
    talk.conversation.offer(standing(4, cycle(3), changed=(3,)))
    assert [(frame["type"], frame["position"], quantities(frame)) for frame in talk.sent] == [("update", 3, ["3"])]
    assert talk.take() is None
    assert talk.woken == woken
    talk.is_free = False
    talk.conversation.offer(standing(5, cycle(5)))
    assert len(talk.sent) == 1
    assert quantities(talk.take()) == ["5"]


def test_what_was_sent_at_once_puts_off_the_heartbeat(talk: Talk) -> None:
    talk.subscribe("a", standing(1, cycle(1)))
    talk.take()
    talk.is_free, talk.now, talk.position = True, rules.HEARTBEAT_SECONDS - 1, 9
    talk.conversation.offer(standing(2, cycle(2)))
    assert not talk.conversation.wants_heartbeat(talk.now)
    talk.now += 2
    assert talk.take() is None
    talk.now += rules.HEARTBEAT_SECONDS
    assert talk.take() == {"type": "heartbeat", "position": 9}


def test_a_heartbeat_comes_when_nothing_else_does(talk: Talk) -> None:
    talk.subscribe("a", standing(1, cycle(1)))
    talk.take()
    talk.position = 9
    talk.now = rules.HEARTBEAT_SECONDS - 0.1
    assert talk.take() is None
    talk.now = rules.HEARTBEAT_SECONDS
    talk.conversation.offer(standing(2, cycle(2)))
    assert talk.take()["type"] == "update"
    assert talk.take() is None
    talk.now += rules.HEARTBEAT_SECONDS
    assert talk.take() == {"type": "heartbeat", "position": 9}
    assert talk.take() is None


def test_no_heartbeat_promises_what_was_not_sent(talk: Talk) -> None:
    frame = talk.say(type="subscribe", id="a", customer_id="ada")
    begun = talk.conversation.begin(frame, "ada", 0)
    talk.now, talk.position = 100.0, 50
    assert talk.take() is None
    talk.conversation.offer(standing(40, cycle(1)))
    talk.conversation.opened(begun, 60, 60)
    assert talk.take()["position"] == 60
    # The feed stands at 50 here: whoever came back with it would be told less than it knows.
    talk.now += rules.HEARTBEAT_SECONDS
    assert talk.take() is None
    talk.position = 60
    assert talk.take() == {"type": "heartbeat", "position": 60}


def test_after_the_database_was_lost_the_next_state_is_whole_and_not_older(talk: Talk) -> None:
    same = cycle(10, month=2)
    talk.subscribe("a", standing(5, cycle(1), same))
    talk.take()
    talk.conversation.resync()
    talk.conversation.offer(standing(4, cycle(0), same))
    assert talk.take() is None
    talk.conversation.offer(standing(6, cycle(2), same, changed=(6, 5)))
    frame = talk.take()
    assert (frame["type"], frame["position"], quantities(frame)) == ("snapshot", 6, ["2", "10"])


def test_after_unsubscribe_nothing_more_is_said(talk: Talk) -> None:
    begun = talk.subscribe("a", standing(1, cycle(1)))
    talk.subscribe("b", standing(1, cycle(1)))
    assert talk.say(type="unsubscribe", id="a") is begun
    assert talk.conversation.still_needs("ada")
    talk.conversation.offer(standing(2, cycle(2)))
    assert talk.take()["id"] == "b"
    assert talk.take() is None
    talk.say(type="unsubscribe", id="b")
    assert not talk.conversation.still_needs("ada")
    assert not talk.conversation.still_needs(None)
    talk.conversation.offer(standing(3, cycle(3)))
    assert talk.conversation.waiting == 0


@pytest.mark.parametrize(
    ("text", "code", "name"),
    [
        ("{", "MALFORMED_JSON", None),
        ('{"type":"subscribe","id":"a"}', "INVALID_FRAME", "a"),
        ('{"type":"subscribe","id":"used","tenant":true}', "ID_IN_USE", "used"),
        ('{"type":"unsubscribe","id":"none"}', "NOT_SUBSCRIBED", "none"),
    ],
)
def test_a_bad_frame_is_answered_and_the_conversation_goes_on(
    talk: Talk, text: str, code: str, name: str | None
) -> None:
    talk.subscribe("used", standing(1, cycle(1)))
    assert talk.conversation.receive(text, talk.now) is None
    frame = talk.take()
    assert (frame["type"], frame["code"], frame.get("id")) == ("error", code, name)
    assert talk.take()["type"] == "snapshot"


def test_binary_is_refused(talk: Talk) -> None:
    talk.conversation.receive_binary(talk.now)
    assert talk.take()["code"] == "BINARY_FRAME"
    assert talk.conversation.close_code is None


def test_a_socket_has_so_many_subscriptions_and_no_more(talk: Talk) -> None:
    for number in range(rules.SUBSCRIPTIONS_MAX):
        talk.subscribe(f"s{number}", customer_id=f"c{number}")
    assert talk.say(type="subscribe", id="more", customer_id="ada") is None
    assert talk.take()["code"] == "TOO_MANY_SUBSCRIPTIONS"
    talk.say(type="unsubscribe", id="s0")
    talk.subscribe("more", standing(1, cycle(1)))
    assert talk.take()["id"] == "more"


def test_errors_that_nobody_reads_stop_the_reading(talk: Talk) -> None:
    for _ in range(rules.ERRORS_MAX):
        assert not talk.conversation.crowded
        talk.conversation.receive("{", talk.now)
    assert talk.conversation.crowded
    talk.take()
    assert not talk.conversation.crowded


def test_a_client_that_talks_too_much_is_hung_up_on(talk: Talk) -> None:
    talk.subscribe("a", standing(1, cycle(1)))
    for _ in range(int(rules.INCOMING_BURST_MAX)):
        talk.conversation.receive("{", talk.now)
    assert talk.conversation.close_code == 1008
    assert talk.take()["code"] == "TOO_MANY_FRAMES"
    assert talk.take() is None
    assert talk.say(type="subscribe", id="b", tenant=True) is None
    talk.conversation.receive_binary(talk.now)
    assert talk.take() is None


def test_a_client_may_go_on_at_a_steady_rate(talk: Talk) -> None:
    for _ in range(2_000):
        talk.now += 1 / rules.INCOMING_PER_SECOND
        talk.conversation.receive("{", talk.now)
        talk.take()
    assert talk.conversation.close_code is None


def test_when_it_is_finished_only_the_reason_is_said(talk: Talk) -> None:
    talk.subscribe("a", standing(1, cycle(1)))
    talk.conversation.receive("{", talk.now)
    talk.conversation.finish(4401, "CREDENTIAL_ENDED", "it was revoked")
    talk.conversation.finish(1008, "TOO_MANY_FRAMES", "later")
    talk.conversation.refuse("LATE", "too late")
    talk.conversation.offer(standing(2, cycle(2)))
    assert talk.take() == {"type": "error", "code": "CREDENTIAL_ENDED", "message": "it was revoked"}
    talk.now += 100
    assert talk.take() is None
    assert (talk.conversation.close_code, talk.conversation.waiting) == (4401, 0)
    assert list(talk.conversation.subscriptions()) == []


def test_what_is_opened_after_it_ended_stays_ended(talk: Talk) -> None:
    frame = talk.say(type="subscribe", id="a", tenant=True)
    begun = talk.conversation.begin(frame, None, 0)
    talk.conversation.end(begun)
    talk.conversation.opened(begun, 5, 5)
    talk.now, talk.position = 100.0, 5
    assert talk.take() == {"type": "heartbeat", "position": 5}
    assert not begun.opened
