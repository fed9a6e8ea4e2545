"""The pace of refusals: those who hammer a full server are answered more slowly, all others not."""

import asyncio
from typing import Final

PER_SECOND: Final = 250
"""Refusals that are answered in a second: every other request shares the event loop with them."""

BURST: Final = 50
"""Refusals that are answered at once after a quiet while."""

MAX_SECONDS: Final = 4.0
"""How long a refusal is held back at most."""


class Pace:
    """Gives every refusal its turn."""

    def __init__(self) -> None:
        self._next = 0.0

    async def turn(self) -> None:
        """Wait until the next refusal may be answered."""
        moment = asyncio.get_running_loop().time()
        turn = max(self._next, moment - BURST / PER_SECOND)
        self._next = min(turn, moment + MAX_SECONDS) + 1 / PER_SECOND
        if turn > moment:
            await asyncio.sleep(min(turn - moment, MAX_SECONDS))
