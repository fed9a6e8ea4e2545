"""kill -9 at every step and at random: nothing that a client was told is lost."""

from pathlib import Path

import pytest

from tools import chaos, kill_steps
from tools.stage import Stage


@pytest.mark.parametrize("step", kill_steps.STEPS, ids=lambda step: step.name)
async def test_a_prediction_is_whole_or_not_there_after_a_kill_at_each_of_its_steps(
    step: kill_steps.Step, tmp_path: Path
) -> None:
    try:
        assert await kill_steps.take(step, tmp_path) == []
    except kill_steps.CannotTraceError as error:
        pytest.skip(str(error))


async def test_nothing_is_lost_when_server_and_workers_are_killed_at_random_under_load(
    tmp_path: Path,
) -> None:
    told = chaos.Told()
    with Stage(tmp_path, *chaos.ARGUMENTS) as stage:
        done = await chaos.campaign(stage, told, kills=8, seed=4)
        assert await chaos.audit(stage, told) == []
    assert set(done) == {"server", "group", "worker"}
    assert len(told.accepted) > 50
    assert len(told.finished) > 50
