"""What sockets share: values are encoded once, states are compared once, and nobody is shown what is another's."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from app.live.changed import Difference, difference
from app.live.shared import Shared
from tests.app.live.standings import cycle, standing

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64)


@given(NAMES, NAMES)
def test_values_are_encoded_once_and_each_socket_has_its_own_id(one: str, other: str) -> None:
    shared, shown = Shared(), standing(9, cycle(5), cycle(7, month=2))
    first, second = (shared.frame("update", name, shown, 9, (1,)) for name in (one, other))
    assert len(shared) == 1
    for name, text in ((one, first), (other, second)):
        frame = json.loads(text)
        assert list(frame) == ["type", "id", "position", "customer_id", "subscriptions"]
        assert (frame["type"], frame["id"], frame["position"], frame["customer_id"]) == ("update", name, 9, "ada")
        (only,) = frame["subscriptions"]
        assert only["cycle_start"].startswith("2026-02-01")
        assert only["meters"] == [{"meter_id": "mtr_1", "quantity": "7"}]
        assert only["estimate"]["total_amount"] == 7


def test_an_equal_state_of_another_tenant_is_not_mistaken_for_this_one() -> None:
    shared = Shared()
    mine, theirs = standing(9, cycle(5)), standing(9, cycle(6))
    assert '"quantity":"5"' in shared.frame("snapshot", "a", mine, 9, (0,))
    assert '"quantity":"6"' in shared.frame("snapshot", "a", theirs, 9, (0,))


def test_only_so_many_bodies_are_kept() -> None:
    shared = Shared(bodies_max=3)
    for position in range(20):
        shared.frame("snapshot", "a", standing(position, cycle(position)), position, (0,))
    assert len(shared) == 3


def test_who_is_shown_the_same_under_the_same_id_gets_the_very_same_text() -> None:
    shared, shown = Shared(), standing(9, cycle(5))
    first = shared.frame("update", "a", shown, 9, (0,))
    assert shared.frame("update", "a", shown, 9, (0,)) is first
    for other in (
        ("snapshot", "a", 9, (0,)),
        ("update", "b", 9, (0,)),
        ("update", "a", 10, (0,)),
        ("update", "a", 9, ()),
    ):
        kind, name, position, indexes = other
        frame = json.loads(shared.frame(kind, name, shown, position, indexes))
        assert (frame["type"], frame["id"], frame["position"]) == (kind, name, position)
        assert len(frame["subscriptions"]) == len(indexes)


def test_a_comparison_is_of_the_two_states_that_were_asked_for() -> None:
    shared = Shared()
    one, two = cycle(1), cycle(1, subscription_id="sub_2")
    states = [standing(1, one, two), standing(2, cycle(2), two), standing(3, two), standing(4)]
    for _ in range(2):
        for before in states:
            for after in states:
                for subscription_id in (None, "sub_1", "sub_2"):
                    for _ in range(2):
                        found = shared.difference(before, after, subscription_id)
                        assert found == difference(before, after, subscription_id)


def test_a_difference_is_of_whom_is_listed() -> None:
    one, two = cycle(1), cycle(1, subscription_id="sub_2")
    before = standing(1, one, two)
    assert difference(before, standing(2, cycle(2), two, changed=(2, 1)), None) == Difference(gone=False, indexes=(0,))
    assert difference(before, standing(2, cycle(2), two, changed=(2, 1)), "sub_2") == Difference(gone=False, indexes=())
    assert difference(before, standing(2, two, changed=(1,)), None) == Difference(gone=True, indexes=())
    assert difference(before, standing(2, two, changed=(1,)), "sub_2") == Difference(gone=False, indexes=())
