"""Alerts in the conversation: each is owed until its row was read and sent, and none is left out."""

from __future__ import annotations

import pytest

from app.live.subscription import ALERTS_PAGE, AlertPage
from tests.app.live.standings import cycle, standing
from tests.app.live.talk import Fired, Talk


@pytest.fixture
def talk() -> Talk:
    return Talk()


def test_alerts_are_read_by_page_and_sent_before_newer_values(talk: Talk) -> None:
    talk.subscribe("a", standing(1, cycle(1)), position=10)
    talk.take()
    talk.conversation.alerts_until(70)
    talk.conversation.offer(standing(70, cycle(2)))
    page = talk.take()
    assert (page.customer_id, page.after, page.until, page.limit) == ("ada", 10, 70, ALERTS_PAGE)
    # While they are read nothing of this subscription is sent, and nothing is asked for twice.
    assert talk.take() is None
    talk.conversation.alerts_until(80)
    assert talk.take() is None
    full = [Fired(11 + number) for number in range(ALERTS_PAGE)]
    talk.conversation.alerts(page, full)
    assert [talk.take()["firing"]["position"] for _ in full] == [one.position for one in full]
    page = talk.take()
    assert (page.after, page.until) == (10 + ALERTS_PAGE, 80)
    talk.conversation.alerts(page, [Fired(80)])
    assert talk.take()["firing"]["position"] == 80
    assert talk.take()["type"] == "update"
    talk.conversation.alerts_until(80)
    assert talk.take() is None


def test_alerts_of_another_subscription_are_left_out(talk: Talk) -> None:
    talk.subscribe("a", standing(1, cycle(1)), subscription_id="sub_1", position=1)
    talk.take()
    talk.conversation.alerts_until(5)
    talk.conversation.alerts(talk.take(), [Fired(3, "sub_2"), Fired(4)])
    assert talk.take()["firing"]["position"] == 4
    assert talk.take() is None


def test_a_new_subscription_is_not_told_old_alerts(talk: Talk) -> None:
    frame = talk.say(type="subscribe", id="a", customer_id="ada")
    begun = talk.conversation.begin(frame, "ada", 0)
    talk.conversation.alerts_until(20)
    talk.conversation.offer(standing(20, cycle(1)))
    talk.conversation.opened(begun, 20, 20)
    assert talk.take()["type"] == "snapshot"
    talk.conversation.alerts_until(20)
    assert talk.take() is None


def test_whoever_comes_back_is_told_the_alerts_since(talk: Talk) -> None:
    talk.subscribe("a", standing(30, cycle(1)), after=10, position=30)
    page = talk.take()
    assert (page.after, page.until) == (10, 30)
    # One that fires while the page is read is not in it.
    talk.conversation.alerts_until(31)
    talk.conversation.alerts(page, [Fired(12)])
    assert talk.take()["firing"]["position"] == 12
    page = talk.take()
    assert (page.after, page.until) == (30, 31)
    talk.conversation.alerts(page, [])
    assert talk.take()["type"] == "snapshot"


def test_whoever_comes_back_where_nothing_fired_reads_no_alerts(talk: Talk) -> None:
    frame = talk.say(type="subscribe", id="a", customer_id="ada", after=10)
    begun = talk.conversation.begin(frame, "ada", 9)
    talk.conversation.offer(standing(30, cycle(1)))
    # One that fired before the feed knew of the subscription, which therefore was not told of it.
    talk.conversation.opened(begun, 30, 25)
    page = talk.take()
    assert (page.after, page.until) == (10, 25)
    talk.conversation.alerts(page, [])
    assert talk.take()["type"] == "snapshot"
    talk.conversation.end(begun)
    frame = talk.say(type="subscribe", id="b", customer_id="ada", after=30)
    begun = talk.conversation.begin(frame, "ada", 25)
    talk.conversation.opened(begun, 30, 25)
    assert talk.take() is None


def test_alerts_that_arrive_for_a_subscription_that_has_ended_are_dropped(talk: Talk) -> None:
    talk.subscribe("a", standing(1, cycle(1)), position=1)
    talk.take()
    talk.conversation.alerts_until(5)
    page = talk.take()
    assert isinstance(page, AlertPage)
    talk.say(type="unsubscribe", id="a")
    talk.subscribe("a", standing(6, cycle(1)), position=6)
    talk.conversation.alerts(page, [Fired(5)])
    assert talk.take()["type"] == "snapshot"
    assert talk.take() is None
