"""Models for the tests: tiny, and some of them ill-behaved."""

import ctypes
import math
import os
import signal
import sys
import time
from pathlib import Path

from PIL import ImageStat


class Colours:
    """Answers the mean colours of the four quarters of what it is given, and its size."""

    version = "1"

    def load(self):
        pass

    def predict(self, images):
        return [self._quarters(image) for image in images]

    def _quarters(self, image):
        width, height = image.size
        middle_x, middle_y = width // 2, height // 2
        quarters = {
            "top left": (0, 0, middle_x, middle_y),
            "top right": (middle_x, 0, width, middle_y),
            "bottom left": (0, middle_y, middle_x, height),
            "bottom right": (middle_x, middle_y, width, height),
        }
        colours = {name: ImageStat.Stat(image.crop(box)).mean for name, box in quarters.items()}
        return {
            "annotations": [{"label": "image", "confidence": 1.0}],
            "colours": colours,
            "size": [width, height],
        }


class Obedient:
    """Does what the colour of the image's first pixel says."""

    def load(self):
        self.folder = Path(os.environ.get("MODEL_FOLDER", "."))

    def predict(self, images):
        return [self._obey(image.getpixel((0, 0))) for image in images]

    def _obey(self, colour):
        if colour == RAISE:
            raise ValueError("no such thing")
        if colour == EXIT:
            os._exit(3)
        if colour == HANG:
            time.sleep(3600)
        if colour == WAIT:
            while not (self.folder / "go").exists():
                time.sleep(0.005)
        return {"label": "obeyed", "confidence": 1.0}


RAISE, EXIT, HANG, WAIT, FINE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (9, 9, 9)


class Broken:
    """Can't be loaded."""

    def load(self):
        raise RuntimeError("the weights are missing")

    def predict(self, images):
        return []


class Unruly(Obedient):
    """Does more of what the colour of an image's first pixel says, and counts what it was given.

    Each image's colour is written to the file `begun` of `MODEL_FOLDER` before anything else.
    """

    def load(self):
        super().load()
        self.hoard = []

    def predict(self, images):
        results = super().predict(images)
        if any(image.getpixel((0, 0)) == MISCOUNT for image in images):
            results.append(results[0])
        return results

    def _obey(self, colour):
        with (self.folder / "begun").open("a") as file:
            file.write(f"{colour}\n")
        if colour == SEGFAULT:
            ctypes.string_at(0)
        if colour == KILL:  # only where the parent is the server: not in its threads
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(3600)
        if colour == QUIT:
            sys.exit("I quit")
        if colour == NAN:
            return {"label": "odd", "confidence": math.nan}
        if colour == NOT_JSON:
            return {"annotations": [], "found": {1, 2}}
        if colour == HUGE:
            return {"annotations": [], "text": "x" * 200_000_000}
        if colour == LEAK:
            self.hoard.append(b"x" * 4_000_000)
        return super()._obey(colour)


SEGFAULT, KILL, QUIT, LEAK = (0, 255, 255), (255, 0, 255), (128, 0, 0), (0, 128, 0)
NAN, NOT_JSON, HUGE, MISCOUNT = (0, 0, 128), (128, 128, 0), (0, 128, 128), (128, 0, 128)


class Slow(Unruly):
    """Takes 20 ms for each image."""

    def predict(self, images):
        time.sleep(0.02 * len(images))
        return super().predict(images)
