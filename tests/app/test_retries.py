"""What failed is left alone for a while that grows."""

from __future__ import annotations

from app.retries import PAUSE_SECONDS, PAUSE_SECONDS_MAX, Retries

KEY = ("acme", "sub_1")


class Seconds:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_pause_doubles_up_to_its_limit() -> None:
    seconds = Seconds()
    retries = Retries(seconds)
    pauses: list[float] = []
    for _ in range(12):
        failed_at = seconds.now
        retries.failed(KEY, "a defect")
        while not retries.ready(KEY):
            seconds.now += PAUSE_SECONDS
        pauses.append(seconds.now - failed_at)
    assert pauses[:4] == [PAUSE_SECONDS, 2 * PAUSE_SECONDS, 4 * PAUSE_SECONDS, 8 * PAUSE_SECONDS]
    assert pauses[-2:] == [PAUSE_SECONDS_MAX] * 2
    assert sorted(pauses) == pauses


def test_a_reason_is_news_once() -> None:
    retries = Retries(Seconds())
    assert [retries.failed(KEY, reason) for reason in ("one", "one", "two", "two", "one")] == [
        True,
        False,
        True,
        False,
        True,
    ]


def test_another_subscription_is_ready_meanwhile() -> None:
    retries = Retries(Seconds())
    retries.failed(KEY, "a defect")
    assert not retries.ready(KEY)
    assert retries.ready(("acme", "sub_2"))
    assert retries.ready(("other", "sub_1"))


def test_success_begins_anew() -> None:
    seconds = Seconds()
    retries = Retries(seconds)
    for _ in range(5):
        retries.failed(KEY, "a defect")
    retries.succeeded(KEY)
    assert retries.ready(KEY)
    assert retries.failed(KEY, "a defect")
    seconds.now += PAUSE_SECONDS
    assert retries.ready(KEY)


def test_what_a_run_did_not_meet_is_forgotten() -> None:
    retries = Retries(Seconds())
    retries.failed(KEY, "a defect")
    retries.keep({KEY})
    assert not retries.ready(KEY)
    retries.keep({("acme", "sub_2")})
    assert retries.ready(KEY)


def test_who_failed_last_is_known_until_it_succeeds() -> None:
    retries = Retries(Seconds())
    assert not retries.failing(KEY)
    retries.failed(KEY, "a defect")
    assert retries.failing(KEY)
    retries.succeeded(KEY)
    assert not retries.failing(KEY)
