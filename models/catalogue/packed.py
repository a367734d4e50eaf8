"""Networks whose kernels are whole steps, in few bytes; `models.train.packing` writes them, `unpacked()` reads them.

In: the length of what LZMA holds (what is told of the kernels, and the file without their steps), that, and the steps:
each is guessed from those before it in its window, and how far off that is takes the bits that its chance asks for
(rANS: Duda 2013; with many states beside each other: Giesen 2014). Out: the same file, byte for byte.
"""

import json
import lzma
import zlib
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

LANES: Final = 128
"""States beside each other, which take the steps in turn."""
LEVELS: Final = 32
"""How widely steps lie around their guess; each level a quarter wider than the one before."""
FLOOR: Final = 1 << 32
"""A state below it takes in the next 16 bits."""
Ints = NDArray[np.int64]
Shape = Sequence[int]
"""Of a kernel: rows (what comes out), columns (what goes in), places of its window."""


def distributions() -> Ints:
    """Where the distances -128 to 127 begin, in 65,536ths, for each level and each eighth of a guess: ascending.

    Student's t of 8 degrees, by operations that give the same bits on every machine.
    """
    spread = 0.15 * np.cumprod(np.full(LEVELS, 1.25))[:, None, None]
    edges = (np.arange(-128, 128) - 0.5 - np.arange(8)[:, None] / 8) / spread
    share = 8 / (8 + edges * edges)
    below = 0.5 + edges / np.sqrt(8 + edges * edges) * (0.5 + share * (4 + share * (3 + share * 2.5)) / 16)
    begins = np.rint(below * (65536 - 256)).astype(np.int64) + np.arange(256)
    begins[:, :, 0] = 0
    begins += np.arange(LEVELS * 8).reshape(LEVELS, 8, 1) << 16
    return np.append(begins, LEVELS * 8 << 16)


def told_of(rows: int, columns: int, places: int) -> int:
    """Count what is told of a kernel: levels of rows, columns and places, to be added; weights of guesses, eighths."""
    return rows + columns + places + places * (places - 1) // 2


def guessed(shape: Shape, told: Ints, steps: Ints, place: int) -> tuple[Ints, Ints]:
    """Guess the steps of a place, `(rows * columns,)`, from those of the places before it, `(rows * columns, places)`.

    Returns the guesses, and the number of the distribution that each lies in.
    """
    rows, columns, levels, weights = np.split(told, np.cumsum(shape))
    guess = steps[:, :place] @ weights[place * (place - 1) // 2 :][:place]
    level = np.clip((rows[:, None] + columns + levels[place]).reshape(-1), 0, LEVELS - 1)
    return guess >> 3, level * 8 + (guess & 7)


def unpacked(content: bytes) -> bytes:
    """Read a packed file; raises ValueError where it is none, or damaged."""
    size = 4 + int.from_bytes(content[:4], "little")
    try:
        listed, _, rest = lzma.decompress(content[4:size]).partition(b"\n")
    except lzma.LZMAError as fault:
        raise ValueError("not a packed network") from fault
    check, kernels = json.loads(listed)
    begins, words = distributions(), np.frombuffer(content, "<u2", offset=size).astype(np.int64)
    high, middle, low = words[: 3 * LANES].reshape(3, LANES)
    states, words = high << 32 | middle << 16 | low, words[3 * LANES :]
    counts = np.cumsum([told_of(*shape) for _, *shape in kernels], dtype=np.int64)
    *every, rest = (rest[begin:end] for begin, end in zip([0, *counts], [*counts, None], strict=True))
    pieces = []
    for (before, *shape), numbers in zip(kernels, every, strict=True):
        told = np.frombuffer(numbers, np.int8).astype(np.int64)
        steps = np.zeros((shape[0] * shape[1], shape[2]), np.int64)
        for place in range(shape[2]):
            guess, which = guessed(shape, told, steps, place)
            distances = []
            for part in np.split(which << 16, range(LANES, len(which), LANES)):
                state = states[: len(part)]
                slot = part | state & 0xFFFF
                found = np.searchsorted(begins, slot, "right") - 1
                state[:] = (begins[found + 1] - begins[found]) * (state >> 16) + slot - begins[found]
                short = np.flatnonzero(state < FLOOR)
                state[short] = state[short] << 16 | words[: len(short)]
                words = words[len(short) :]
                distances.append((found & 0xFF) - 128)
            steps[:, place] = (guess + np.concatenate(distances)).astype(np.int8)
        pieces += [rest[:before], steps.astype(np.int8).tobytes()]
        rest = rest[before:]
    whole = b"".join([*pieces, rest])
    if zlib.crc32(whole) != check:
        raise ValueError("a packed network that is damaged")
    return whole
