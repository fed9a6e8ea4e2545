"""Models for the tools: they cost nothing, or a known time, and say which images they ran."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Null:
    """Answers each image with the number that its colour says (`load.picture`)."""

    def load(self) -> None:
        """Nothing to load."""

    def predict(self, images: Sequence[Any]) -> list[dict[str, object]]:  # Any: PIL's images
        """One answer for each image."""
        return [{"label": str(_number(image)), "confidence": 1.0} for image in images]


class Slow(Null):
    """Takes 10 ms for each image, asleep: how many it answers does not depend on the machine."""

    def predict(self, images: Sequence[Any]) -> list[dict[str, object]]:
        """One answer for each image."""
        time.sleep(0.01 * len(images))
        return super().predict(images)


class Ledger(Null):
    """Writes down each image that it begins and ends, and does what files in its folder say.

    The environment's `LEDGER` names the folder. In it, `ledger` gets the lines; while there is a
    `hold`, predict waits; `kill-at-begin` and `kill-at-end` are removed, and the server is killed
    there and then, with all of its processes.
    """

    def load(self) -> None:
        """Open the ledger."""
        self.folder = Path(os.environ["LEDGER"])
        # appended to in single writes: no line is lost or torn when a process is killed
        self.file = os.open(self.folder / "ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def predict(self, images: Sequence[Any]) -> list[dict[str, object]]:
        """One answer for each image."""
        self._note("begin", images)
        while (self.folder / "hold").exists():
            time.sleep(0.005)
        time.sleep(0.002)  # long enough to be killed in it
        answers = super().predict(images)
        self._note("end", images)
        return answers

    def _note(self, moment: str, images: Sequence[Any]) -> None:
        os.write(self.file, b"".join(b"%b %d\n" % (moment.encode(), _number(i)) for i in images))
        order = self.folder / f"kill-at-{moment}"
        if order.exists():
            order.unlink()
            os.killpg(os.getpgrp(), signal.SIGKILL)


def _number(image: Any) -> int:
    red, green, blue = image.getpixel((0, 0))
    return int(red << 16 | green << 8 | blue)
