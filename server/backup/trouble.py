"""Trouble with the remote: told once when it begins and once when it ends, not at every try."""

import logging
import time

log = logging.getLogger(__name__)


class Trouble:
    """What stands against exporting, if anything does.

    Args:
        url: The remote, as people read it.

    Attributes:
        sentence: What is wrong; None: nothing.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._since = 0.0
        self.sentence: str | None = None

    def begin(self, sentence: str) -> None:
        """An export failed."""
        if self.sentence is None:
            self._since = time.monotonic()
            log.warning("can't back up to %s, trying on: %s", self._url, sentence)
        self.sentence = sentence

    def end(self) -> None:
        """An export succeeded."""
        if self.sentence is not None:
            seconds = time.monotonic() - self._since
            log.info("backing up to %s again, after %.0f s", self._url, seconds)
        self.sentence = None
