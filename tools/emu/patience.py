"""Limits of wall-clock time: backstops for what hangs, never a measure, and stretched on a slow workstation."""
import os
import time


def patience():
    """Factor for all backstops: EMU_PATIENCE=3 on a slow or busy workstation."""
    return float(os.environ.get("EMU_PATIENCE", "1"))


def end_of(limit):
    """When so many seconds, stretched, will be over, as time.monotonic() counts."""
    return time.monotonic() + limit * patience()
