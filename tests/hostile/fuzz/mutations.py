"""Inputs mutated at random, for where no coverage guides."""

import random
from collections.abc import Iterator, Sequence


def mutations(
    seeds: Sequence[bytes], tokens: Sequence[bytes], number: int, dice: random.Random
) -> Iterator[bytes]:
    """So many of the seeds, each changed at a few places, mostly near its beginning."""
    for _ in range(number):
        data = dice.choice(seeds)
        for _ in range(dice.choice((1, 1, 2, 3, 5))):
            at = dice.randrange(min(len(data), dice.choice((400, 400, 20_000))) + 1)
            data = data[:at] + _tail(data, at, dice.choice(seeds), dice.choice(tokens), dice)
        yield data


def _tail(data: bytes, at: int, other: bytes, token: bytes, dice: random.Random) -> bytes:
    """What comes instead, from that place on."""
    return dice.choice(
        (
            dice.randbytes(1) + data[at + 1 :],
            data[at + dice.randrange(1, 20) :],
            token + data[at:],
            token + data[at + 1 :],
            data[at : at + dice.randrange(1, 60)] + data[at:],
            other[dice.randrange(len(other) + 1) :],
        )
    )
