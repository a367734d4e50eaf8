"""How this process takes memory from the system, and gives it back."""

import contextlib
import ctypes
from typing import Final

# malloc.h of the GNU C library
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
ARENAS: Final = 2
"""A hundred threads that hardly ever allocate at once need no more; by default there are eight for each core."""
LARGE_BYTES: Final = 1024 * 1024
"""What is larger is given back as soon as it is free. By default that limit grows with what was freed, up to 32 MB, and
a picture that becomes evidence once a day would keep its memory for ever."""


def give_back() -> None:
    """Give back what is free and lies between what is not; takes a millisecond or two."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def spare() -> None:
    """Take no more memory than is in use; does nothing where the C library is another one."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, ARENAS)
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, LARGE_BYTES)
