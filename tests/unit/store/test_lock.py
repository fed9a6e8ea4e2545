import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server.store.lock import DataDirInUseError, DataDirLock

HOLD = """
import sys
from pathlib import Path
from server.store.lock import DataDirLock
lock = DataDirLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process_that_holds(folder: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_lock_is_refused_and_the_sentence_names_holder_and_folder(tmp_path: Path) -> None:
    with another_process_that_holds(tmp_path) as holder:
        with pytest.raises(DataDirInUseError) as refused:
            DataDirLock(tmp_path)
        assert f"(process {holder.pid})" in str(refused.value)
        assert str(tmp_path) in str(refused.value)
        assert "--data-dir" in str(refused.value)


def test_the_lock_is_free_once_its_holder_was_killed(tmp_path: Path) -> None:
    with another_process_that_holds(tmp_path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=10)
        DataDirLock(tmp_path).release()


def test_a_holder_that_was_killed_is_noticed_once(tmp_path: Path) -> None:
    with another_process_that_holds(tmp_path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=10)
    lock = DataDirLock(tmp_path)
    assert lock.left_by_a_crash
    lock.release()
    lock = DataDirLock(tmp_path)
    assert not lock.left_by_a_crash
    lock.release()


def test_a_new_folder_was_left_by_no_one(tmp_path: Path) -> None:
    lock = DataDirLock(tmp_path)
    assert not lock.left_by_a_crash
    lock.release()


def test_a_released_lock_can_be_taken_again_and_names_its_new_holder(tmp_path: Path) -> None:
    (tmp_path / "server.lock").write_text("a long line that another program left here")
    lock = DataDirLock(tmp_path)
    with pytest.raises(DataDirInUseError, match=f"process {os.getpid()}\\)"):
        DataDirLock(tmp_path)
    lock.release()
    DataDirLock(tmp_path).release()


def test_a_lock_that_no_one_has_signed_yet_is_refused_too(tmp_path: Path) -> None:
    with another_process_that_holds(tmp_path):
        (tmp_path / "server.lock").write_text("")
        with pytest.raises(DataDirInUseError, match="process unknown"):
            DataDirLock(tmp_path)


def test_a_program_that_the_holder_starts_does_not_inherit_the_lock(tmp_path: Path) -> None:
    lock = DataDirLock(tmp_path)
    with subprocess.Popen(
        ["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, close_fds=False
    ) as child:
        assert child.stdin
        assert child.stdout
        child.stdin.write(b"running\n")
        assert child.stdout.readline() == b"running\n"
        lock.release()
        DataDirLock(tmp_path).release()


def test_each_folder_has_a_lock_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, two = DataDirLock(tmp_path / "one"), DataDirLock(tmp_path / "two")
    one.release()
    two.release()
