"""The workstation's terminal as the console of a machine: raw, every key goes there."""
import os
import select
import sys
import termios
import tty
from contextlib import contextmanager

ESCAPE = b"\x1d"                                        # ^]


def have_terminal():
    return sys.stdin.isatty() and sys.stdout.isatty()


@contextmanager
def raw_terminal():
    saved = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)


def write_out(data):
    os.write(sys.stdout.fileno(), data)


def pump_keys(alive, typed):
    """Gives keys to typed(bytes) while alive() says so; ends early when typed() returns False."""
    while alive():
        ready, _, _ = select.select([sys.stdin], [], [], 0.2)
        if ready:
            keys = os.read(sys.stdin.fileno(), 1024)
            if not keys or typed(keys) is False:
                return
