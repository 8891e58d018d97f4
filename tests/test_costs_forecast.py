"""The time left of a live run: it counts down, and grows only with a reason."""

import pytest

from cifar_core.costs import Forecast

EXPECTED = {"features": 10.0, "start": 5.0, "head": 20.0, "fine_tune": 60.0, "evaluate": 5.0}
EPOCHS = {"head": 4, "fine_tune": 3}


def status(stage: str, at: float = 0.0) -> dict:
    return {"state": "running", "stage": stage, "updated": at, "began": 0.0}


def step(phase: str, epoch: int, share: float, left: float) -> dict:
    return {
        "kind": "step",
        "phase": phase,
        "epoch": epoch,
        "step": round(100 * share),
        "steps": 100,
        "seconds_left": left,
    }


def test_a_run_that_goes_as_expected_counts_down_to_nothing_and_gives_no_reason():
    forecast, begins = (
        Forecast(EXPECTED, EPOCHS),
        {"features": 0, "start": 10, "head": 15, "fine_tune": 35, "evaluate": 95},
    )
    for now in range(0, 100, 2):
        stage = [part for part, begin in begins.items() if begin <= now][-1]
        within = (now - begins[stage]) / EXPECTED[stage]
        row = None
        if stage in EPOCHS:
            epoch, share = divmod(within * EPOCHS[stage], 1)
            row = step(stage, int(epoch) + 1, share, EXPECTED[stage] * (1 - within))
        found = forecast.outlook(now, status(stage, begins[stage]), row)
        assert found.seconds_left == pytest.approx(100 - now, abs=0.5)
        assert found.done == pytest.approx(now / 100, abs=0.01)
        assert found.late is None


def test_the_first_steps_of_a_part_say_little_of_its_pace():
    forecast = Forecast(EXPECTED, EPOCHS)
    before = forecast.outlook(15, status("head", 15), None).seconds_left
    found = forecast.outlook(16, status("head", 15), step("head", 1, 0.01, left=60))  # Keras compiles at the first step
    assert found.seconds_left <= before
    assert found.late is None


def test_the_time_left_grows_only_with_a_reason_which_stays():
    forecast, left, reasons = Forecast(EXPECTED, EPOCHS), 100.0, []
    for number in range(1, 40):  # four times as slow as expected
        found = forecast.outlook(
            15 + 2 * number, status("head", 15), step("head", 1 + number // 10, number % 10 / 10, 80 - 2 * number)
        )
        assert found.seconds_left <= left or found.late == "head"
        left = found.seconds_left
        reasons.append(found.late)
    assert reasons[-1] == "head"
    found = forecast.outlook(97, status("fine_tune", 95), None)
    assert found.late == "head"
    assert found.seconds_left == pytest.approx(4 * 65 - 2, rel=0.1), "the other parts go on at this pace"


def test_there_is_no_reason_once_the_end_is_no_later_than_before_it_grew():
    forecast = Forecast(EXPECTED, EPOCHS)
    forecast.outlook(15, status("head", 15), None)
    assert forecast.outlook(55, status("head", 15), step("head", 2, 0.9, left=80)).late == "head"
    assert forecast.outlook(60, status("evaluate", 60), None).late is None


def test_a_run_that_is_not_over_when_it_should_be_has_a_reason():
    forecast = Forecast(EXPECTED, EPOCHS)
    assert forecast.outlook(95, status("evaluate", 95), None).late is None
    assert {forecast.outlook(now, status("evaluate", 95), None).late for now in range(101, 120)} == {"evaluate"}


def test_what_ends_early_shortens_the_time_left_at_once():
    forecast = Forecast(EXPECTED, EPOCHS)
    forecast.outlook(15, status("head", 15), None)
    found = forecast.outlook(20, status("fine_tune", 20), None)
    assert found.seconds_left == pytest.approx(65)
    assert found.shares == {"features": 1, "start": 1, "head": 1, "fine_tune": 0, "evaluate": 0}


def test_what_is_done_never_shrinks():
    forecast = Forecast(EXPECTED, EPOCHS)
    before = forecast.outlook(40, status("fine_tune", 40), None).done
    assert forecast.outlook(41, status("fine_tune", 40), step("fine_tune", 2, 0.5, left=500)).done >= before


@pytest.mark.parametrize("moment", [None, "soon", float("nan"), -1e300, 1e300])
def test_a_damaged_status_and_an_unknown_stage_are_survived(moment):
    odd = {"stage": "tea", "updated": moment, "began": moment}
    found = Forecast({}, {}).outlook(100.0, odd, {"kind": "progress", "stage": "test", "done": 0, "total": 0})
    assert 0 <= found.seconds_left < 1
    assert 0 <= found.done <= 1
