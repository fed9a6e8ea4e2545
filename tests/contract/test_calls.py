"""Made-up calls: whatever the contract allows or forbids, the server answers as it says."""

import re
from pathlib import Path

import pytest

from tests.contract.run import run


@pytest.mark.parametrize("guarded", [False, True], ids=["without keys", "with keys"])
def test_every_made_up_call_is_answered_as_the_contract_says(tmp_path: Path, guarded: bool) -> None:
    done = run(tmp_path, "--max-examples", "15", guarded=guarded)

    assert done.returncode == 0, done.stdout
    made = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert made, done.stdout
    assert int(made[2]) > 300
    assert "Tested: 13" in done.stdout
