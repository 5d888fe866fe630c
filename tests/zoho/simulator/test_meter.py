"""Windows and credits, without any server."""

from service.zoho.simulator.meter import DAY_S, Meter, Window

ONE = (Window(calls=3, seconds=60, lock_s=600),)


def admit(meter, now, windows=ONE):
    return meter.admit("/x", windows, factor=1, now=now)


def test_a_window_slides_over_the_last_calls():
    meter = Meter()
    assert [admit(meter, now) for now in (0, 30, 59, 60, 90)] == [True] * 5


def test_a_call_too_many_locks_for_the_whole_time_whatever_comes_meanwhile():
    meter = Meter()
    assert [admit(meter, now) for now in (0, 1, 2, 3, 100, 602)] == [True, True, True, False, False, False]
    assert admit(meter, 603)


def test_the_strictest_of_several_windows_decides():
    meter, both = Meter(), (*ONE, Window(calls=4, seconds=3600, lock_s=60))
    assert [admit(meter, now, both) for now in (0, 100, 200, 300, 400)] == [True] * 4 + [False]


def test_endpoints_do_not_lock_each_other():
    meter = Meter()
    for now in range(4):
        admit(meter, now)
    assert meter.admit("/y", ONE, factor=1, now=5)


def test_credits_come_back_after_a_day_call_by_call():
    meter = Meter()
    assert meter.spend(6, allowance=10, now=0) == 4
    assert meter.spend(4, allowance=10, now=100) == 0
    assert meter.spend(1, allowance=10, now=DAY_S - 1) is None
    assert meter.spend(5, allowance=10, now=DAY_S) == 1
    assert meter.credits == 15
