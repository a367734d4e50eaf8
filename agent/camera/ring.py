"""Pictures in memory that a reading process shares with its parent: written once, never copied on the usual way.

The child takes a free slot, writes an I420 picture into it and tells the parent its number. The parent lends the slot
to a frame; when the last array that shows it is gone, the slot is free again, and the child is told so.
"""

import contextlib
import mmap
import os
import threading
import weakref
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

MAX_SIDE_PX: Final = 1920
"""Larger pictures are made smaller before they are handed on."""
WAITING: Final = 2
"""Pictures that wait while a camera's evidence is made, which takes longer than from one sample to the next."""
SLOTS: Final = 3 + WAITING
"""One that is being looked at, one kept for evidence, those that wait, one that is written."""
SLOT_BYTES: Final = -(-MAX_SIDE_PX * MAX_SIDE_PX * 3 // 2 // mmap.PAGESIZE) * mmap.PAGESIZE
"""Only what a picture fills takes memory: what was never touched has no page."""


class Ring:
    """The slots, as both sides see them."""

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, SLOTS * SLOT_BYTES)

    def slot(self, number: int, width: int, height: int) -> NDArray[np.uint8]:
        """A slot as an I420 picture, shape `(height * 3 // 2, width)`; width and height are even."""
        flat = np.frombuffer(self._memory, np.uint8, count=width * height * 3 // 2, offset=number * SLOT_BYTES)
        return flat.reshape(height * 3 // 2, width)

    def forget(self, number: int) -> None:
        """Give a slot's memory back to the system; whoever writes into it next gets new memory."""
        self._memory.madvise(mmap.MADV_REMOVE, number * SLOT_BYTES, SLOT_BYTES)


def new_memory() -> int:
    """Make memory for a ring that belongs to no file system; returns its descriptor."""
    descriptor = os.memfd_create("cityeye-ring", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, SLOTS * SLOT_BYTES)
    return descriptor


class Lender:
    """The parent's side: lends slots to arrays and gives them back when nobody shows them any more.

    Args:
        ring: the slots.
        give_back: tells the child that a slot is free.
    """

    def __init__(self, ring: Ring, give_back: Callable[[int], None]) -> None:
        self._ring = ring
        self._give_back = give_back
        self._lock = threading.Lock()
        self._lent = 0
        self._closed = False

    def lend(self, number: int, width: int, height: int) -> NDArray[np.uint8]:
        """A picture that may be kept as long as one likes; never to be written to.

        Who keeps many gets copies, so that the child is never left without a slot.
        """
        planes = self._ring.slot(number, width, height)
        if self._lent >= SLOTS - WAITING - 1:
            planes = planes.copy()
            self._tell(number)
        else:
            with self._lock:
                self._lent += 1
            # numpy's views refer to the array that was made of the memory, so that one lives as long as they do
            finalizer = weakref.finalize(planes.base, self._returned, number)
            finalizer.atexit = False
        planes.flags.writeable = False
        return planes

    def drop(self, number: int) -> None:
        """Give back a slot that nobody has seen."""
        self._tell(number)

    def close(self) -> None:
        """The child is gone: nobody is to be told any more."""
        with self._lock:
            self._closed = True

    def _returned(self, number: int) -> None:
        with self._lock:
            self._lent -= 1
        self._tell(number)

    def _tell(self, number: int) -> None:
        with self._lock:
            if not self._closed:
                # it has died, and somebody else will notice
                with contextlib.suppress(BrokenPipeError):
                    self._give_back(number)
