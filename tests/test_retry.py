"""Which answers ask for another attempt, and how long the wait before it is."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowplow_tracker.retry import CLOSING_DELAY_S, FIRST_DELAY_S, LEAST_DELAY_S, Verdict, judge, retrying
from snowplow_tracker.transport import Result

STATUSES = st.integers(100, 999)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_a_2xx_means_delivered(status: int) -> None:
    assert judge(Result(status), {}) is Verdict.DELIVERED


@pytest.mark.parametrize("status", [400, 401, 403, 410, 422])
def test_final_answers_are_not_asked_for_twice(status: int) -> None:
    assert judge(Result(status), {}) is Verdict.REFUSED


@pytest.mark.parametrize("status", [100, 103, 301, 302, 304, 307, 308, 404, 408, 418, 429, 500, 502, 503, 504, 599])
def test_every_other_answer_may_be_different_next_time(status: int) -> None:
    assert judge(Result(status), {}) is Verdict.RETRY


def test_413_asks_for_less() -> None:
    assert judge(Result(413), {}) is Verdict.SPLIT


def test_no_answer_is_retried() -> None:
    assert judge(Result(error="ConnectTimeout"), {503: False}) is Verdict.RETRY


@given(status=STATUSES, retried=st.booleans())
def test_the_users_rule_is_stronger_than_ours_but_a_2xx_stays_delivered(status: int, retried: bool) -> None:
    verdict = judge(Result(status), {status: retried})
    if 200 <= status < 300:
        assert verdict is Verdict.DELIVERED
    else:
        assert verdict is (Verdict.RETRY if retried else Verdict.REFUSED)


@given(status=STATUSES, others=st.dictionaries(STATUSES, st.booleans()))
def test_a_rule_for_one_status_changes_no_other(status: int, others: dict[int, bool]) -> None:
    others.pop(status, None)
    assert judge(Result(status), others) is judge(Result(status), {})


def waits(answers: list[Result], *, cap: float, closing: bool = False) -> list[float]:
    """The waits between these failed attempts, without waiting."""
    slept: list[float] = []
    left = iter(answers)
    loop = retrying(
        max_delay_s=cap,
        worth_retrying=lambda result: result.status != 200,
        stop=lambda: False,
        closing=lambda: closing,
        sleep=slept.append,
    )
    assert loop(lambda: next(left, Result(200))) == Result(200)
    return slept


FAILURES = st.lists(
    st.builds(Result, st.sampled_from([429, 500, 503]), retry_after_s=st.none() | st.floats(0, 1e9)),
    min_size=1,
    max_size=12,
)


@given(answers=FAILURES, cap=st.floats(0, 100), closing=st.booleans())
def test_no_wait_is_longer_than_the_cap_nor_nothing(answers: list[Result], cap: float, closing: bool) -> None:
    slept = waits(answers, cap=cap, closing=closing)
    assert len(slept) == len(answers)
    assert all(LEAST_DELAY_S <= seconds <= max(cap, LEAST_DELAY_S) for seconds in slept)


@given(attempts=st.integers(1, 12))
def test_waits_grow_twofold_at_the_most(attempts: int) -> None:
    slept = waits([Result(503)] * attempts, cap=60)
    for number, seconds in enumerate(slept):
        assert seconds <= max(LEAST_DELAY_S, min(60, FIRST_DELAY_S * 2**number))


def test_the_jitter_is_full_so_that_a_fleet_does_not_come_back_at_once() -> None:
    tenth = [waits([Result(503)] * 10, cap=60)[-1] for _ in range(200)]
    assert min(tenth) < 15
    assert max(tenth) > 45


@pytest.mark.parametrize("closing", [False, True], ids=["running", "closing"])
def test_the_jitter_takes_none_of_the_random_numbers_that_a_game_has_seeded(closing: bool) -> None:
    before = random.getstate()
    waits([Result(503)] * 5, cap=60, closing=closing)
    assert random.getstate() == before


@given(asked=st.floats(0, 50))
def test_retry_after_is_the_least_wait(asked: float) -> None:
    (seconds,) = waits([Result(503, retry_after_s=asked)], cap=60)
    assert seconds >= asked


def test_waits_are_short_while_closing_whatever_the_collector_asks() -> None:
    slept = waits([Result(503, retry_after_s=3600)] * 10, cap=60, closing=True)
    assert max(slept) <= CLOSING_DELAY_S


def test_the_last_answer_is_the_result_when_time_is_up() -> None:
    loop = retrying(
        max_delay_s=60,
        worth_retrying=lambda result: True,
        stop=lambda: True,
        closing=lambda: False,
        sleep=lambda seconds: None,
    )
    assert loop(lambda: Result(503)) == Result(503)
