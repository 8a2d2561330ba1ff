"""What the C library does with the memory of matrices that are no longer needed."""

from __future__ import annotations

import contextlib
import ctypes

LARGE = 4 << 20  # bytes
_M_MMAP_THRESHOLD = -3  # malloc.h


def return_large_pieces() -> None:
    """Have freed pieces of at least `LARGE` bytes go back to the system at once, and not stay with this process.

    glibc raises that size by itself to as much as 32 MB. In a walk, whose matrices come in a few sizes, what is kept
    seldom fits what is wanted next: the peak of a model with blocks of 50 MB was 2.4 blocks' weights higher. Another C
    library is left as it is.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE)
