"""Whether a provider that calls tokens dead is believed."""

import pytest

from push.dead_guard import SHARE, USERS, WINDOW, DeadGuard


def test_a_few_dead_tokens_are_believed() -> None:
    guard = DeadGuard()
    for user in range(USERS):
        guard.add(user)
    assert guard.believes, "of few answers all may be about dead tokens"
    guard.add(USERS)
    assert not guard.believes


@pytest.mark.parametrize("users", [USERS + 1, 10, 40, 200])
def test_who_is_called_dead_again_and_again_is_never_believed(users: int) -> None:
    guard = DeadGuard()
    for _ in range(50):
        for user in range(users):
            guard.add(user)
    assert not guard.believes


def test_the_share_of_the_last_answers_counts() -> None:
    guard = DeadGuard()
    for number in range(WINDOW):
        guard.add(number if number < SHARE * WINDOW else None)
    assert guard.believes
    guard.add(WINDOW)
    guard.add(WINDOW + 1)
    assert guard.dead == SHARE * WINDOW and guard.believes, "the oldest are forgotten"
    for _ in range(WINDOW):
        guard.add(1)
    assert guard.believes, "one user is no outage"
    for number in range(WINDOW):
        guard.add(number)
    assert not guard.believes
    for _ in range(WINDOW):
        guard.add(None)
    assert guard.believes and guard.dead == 0 and not guard.users


def test_one_user_pauses_no_other() -> None:
    guard = DeadGuard()
    for _ in range(1000):
        guard.add(7)
    assert guard.believes
