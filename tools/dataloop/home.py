"""The folder where dtlpy keeps its state: a private copy, so that a run changes no user's own."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

VARIABLE: Final = "DATALOOP_PATH"
COOKIE: Final = "cookie.json"  # the stored session and the environments


@contextmanager
def private() -> Iterator[None]:
    """Until its end, dtlpy imported within keeps its state in a folder that vanishes then.

    dtlpy writes every login and every setting into the user's folder, where it would replace the
    session stored there.
    """
    own = Path(os.environ.get(VARIABLE) or Path.home() / ".dataloop") / COOKIE
    with tempfile.TemporaryDirectory(prefix="dataloop-test-", ignore_cleanup_errors=True) as folder:
        if own.is_file():
            shutil.copyfile(own, Path(folder) / COOKIE)
        os.environ[VARIABLE] = folder
        yield
