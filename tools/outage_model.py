"""A model whose answers fill a backup."""

import os
from collections.abc import Sequence
from typing import Any, Final

from tools.models import Null

LARGE: Final = 2**23
"""The number of the first image with a large answer."""

_BYTES: Final = 2**14


class Verbose(Null):
    """Answers as Null does; from LARGE on with 32 KiB more, of which compression leaves a half."""

    def predict(self, images: Sequence[Any]) -> list[dict[str, object]]:  # Any: PIL's images
        """One answer for each image."""
        return [_verbose(answer) for answer in super().predict(images)]


def _verbose(answer: dict[str, object]) -> dict[str, object]:
    if int(str(answer["label"])) < LARGE:
        return answer
    return {"annotations": [answer], "note": os.urandom(_BYTES).hex()}
