"""Models for the tests of the Dataloop tool: they answer what is known of the image."""

import time

import numpy as np

WHITE = 200


class Patch:
    """Finds the white rectangle on a dark image, as every type of annotation."""

    version = "1"

    def load(self):
        pass

    def predict(self, images):
        return [self._shapes(image) for image in images]

    def _shapes(self, image):
        mask = np.asarray(image.convert("L")) > WHITE
        if not mask.any():
            return {"label": "nothing", "confidence": 0.25}
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        box = {"left": left, "top": top, "right": right, "bottom": bottom}
        corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
        shapes = [
            {"type": "class", "confidence": 0.5},
            {"type": "box", "confidence": 0.6, **box},
            {"type": "polygon", "confidence": 0.7, "points": corners},
            {"type": "mask", "confidence": 0.8, "mask": mask},
            {"type": "point", "confidence": 0.9, "x": left, "y": top},
        ]
        return [{"label": f"a {shape['type']}", **shape} for shape in shapes]


class Crowd:
    """Finds as many boxes as the image is wide."""

    def load(self):
        pass

    def predict(self, images):
        return [[self._box(n) for n in range(image.width)] for image in images]

    def _box(self, n):
        return {
            "type": "box",
            "label": "one",
            "confidence": 0.5,
            "left": n,
            "top": 0,
            "right": n + 1,
            "bottom": 1,
        }


class Wide(Patch):
    """Finds what lies partly, or wholly, outside the image."""

    def _shapes(self, image):
        width, height = image.size
        return [
            {"type": "box", "label": "over", "confidence": 1, **_box(-9, -9, width + 9, height)},
            {"type": "box", "label": "gone", "confidence": 1, **_box(width, 0, width + 9, 9)},
            {"type": "point", "label": "dot", "confidence": 1, "x": -1, "y": height + 1},
        ]


def _box(left, top, right, bottom):
    return {"left": left, "top": top, "right": right, "bottom": bottom}


class Failing(Patch):
    """Raises."""

    def predict(self, images):
        raise ValueError(f"no such thing in {len(images)} images")


class Slow(Patch):
    """Takes longer than anyone waits."""

    def _shapes(self, image):
        time.sleep(1)
        return super()._shapes(image)
