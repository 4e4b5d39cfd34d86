"""How far the quantities are behind, and whether they move, as told from one look to the next."""

from __future__ import annotations

from app.health.progress import MARKS_MAX, STALL_SECONDS, Progress
from projections.quantities import Lagging


def look(progress: Progress, now: float, **tenants: tuple[int, int]) -> None:
    """A look at which each of the tenants had so much projected of so long a log; the others were not behind."""
    rows = [Lagging(tenant_id, position, projected) for tenant_id, (projected, position) in tenants.items()]
    progress.note(now, rows)


def test_who_is_behind_for_long_without_anything_moving_is_stalled() -> None:
    progress = Progress()
    look(progress, 100, ada=(5, 9))
    look(progress, 100 + STALL_SECONDS, ada=(5, 30))
    assert progress.stalled(100 + STALL_SECONDS) == []
    look(progress, 101 + STALL_SECONDS, ada=(5, 30))
    assert progress.stalled(101 + STALL_SECONDS) == ["ada"]
    assert progress.waiting_for(101 + STALL_SECONDS, ["ada"]) == 1 + STALL_SECONDS


def test_it_is_not_stalled_any_more_once_something_moves() -> None:
    progress = Progress()
    look(progress, 0, ada=(5, 9))
    look(progress, 100, ada=(5, 9))
    assert progress.stalled(100) == ["ada"]
    look(progress, 101, ada=(6, 9))
    assert progress.stalled(101) == []


def test_who_is_always_behind_but_moves_is_not_stalled() -> None:
    progress = Progress()
    for second in range(200):
        look(progress, second, ada=(second, second + 50))
        assert progress.stalled(second) == []
    assert progress.lag_events == 50
    # What is not projected yet was first seen 49 looks ago: at each look the log was one longer.
    assert progress.lag_seconds(199) == 49


def test_a_tenant_with_nothing_to_project_is_not_stalled() -> None:
    progress = Progress()
    look(progress, 0, ada=(5, 9))
    look(progress, 1)
    assert (progress.stalled(1_000), progress.lag_events, progress.lag_seconds(1_000)) == ([], 0, 0.0)


def test_who_is_passed_over_while_others_move_is_no_stall_of_the_service() -> None:
    """One tenant's page fails, and the projector goes on with the others, who then have nothing left to do."""
    progress = Progress()
    for second in range(100):
        look(progress, second, broken=(5, 9), ada=(second, second + 1))
    look(progress, 100, broken=(5, 9))
    assert progress.stalled(1_000) == []
    assert progress.lag_seconds(1_000) == 1_000


def test_others_who_moved_before_say_nothing_of_a_stall_that_came_later() -> None:
    progress = Progress()
    look(progress, 0, ada=(5, 9), bob=(5, 9))
    look(progress, 10, ada=(5, 9), bob=(6, 9))
    look(progress, 100, ada=(5, 9), bob=(6, 9))
    assert progress.stalled(100) == ["ada", "bob"]


def test_a_new_stall_is_counted_from_where_it_last_moved() -> None:
    progress = Progress()
    look(progress, 0, ada=(5, 9))
    look(progress, 50, ada=(8, 9))
    assert progress.stalled(60) == []
    assert progress.stalled(51 + STALL_SECONDS) == ["ada"]


def test_the_lag_in_seconds_is_that_of_the_oldest_that_waits() -> None:
    progress = Progress()
    look(progress, 0, ada=(0, 10))
    look(progress, 20, ada=(0, 25))
    look(progress, 30, ada=(10, 25), bob=(0, 1))
    assert progress.lag_seconds(40) == 20
    assert progress.lag_events == 15


def test_what_is_kept_of_a_long_lag_is_bounded() -> None:
    progress = Progress()
    for second in range(MARKS_MAX + 100):
        look(progress, second, ada=(0, second + 1))
    (behind,) = progress._behind.values()
    assert len(behind.marks) == MARKS_MAX
    assert progress.lag_seconds(MARKS_MAX + 100) == MARKS_MAX + 100
