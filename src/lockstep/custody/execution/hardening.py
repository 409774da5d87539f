"""What a process that holds shares does to keep its memory and its files to itself, as far as the kernel lets it."""

from __future__ import annotations

import ctypes
import os
import resource
import sys

_PR_SET_DUMPABLE = 4
_PR_GET_DUMPABLE = 3


def harden_process() -> bool:
    """No core dumps, no attaching by other processes of the same user, no files readable by others.

    Returns:
        Whether the kernel has confirmed all of it (Linux); elsewhere only core dumps and file modes are dealt with.
    """
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    return bool(libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) == 0)
