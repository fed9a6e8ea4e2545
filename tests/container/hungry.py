"""A model that does harm, by the colour of an image's first pixel."""

import os
import subprocess
from typing import Any


class Hungry:
    def load(self) -> None:
        pass

    def predict(self, images: list[Any]) -> list[dict[str, object]]:
        for image in images:
            red, green, _ = image.getpixel((0, 0))
            if red > 200:
                bytearray(b"x") * 2**30  # more than the container may have
            if green > 200:  # die, and leave a process behind
                subprocess.Popen(["/bin/sleep", "0.2"])
                os._exit(3)
        return [{"label": "fed", "confidence": 1.0} for _ in images]
