"""For tests with the real gdb: a VM under vmx -gdb in a booted machine, and conversations with it."""
import re
from contextlib import contextmanager

import gdb
from emu.bridge import Bridge
from harness import BUILD, Failure

LINE = "/dev/ttyS1"
SETUP = f"stty -F {LINE} raw -echo"
LIMIT = 120                                           # seconds for a conversation
END = "end of the conversation"


def symbols(name):
    return BUILD / "guests" / name


class Line:
    """The machine's second serial line as a port for gdb."""

    def __init__(self, m):
        self.m = m
        self.bridge = Bridge(m.com2, 0, gdb.FAREWELL, gdb.ANSWER, gdb.POLITE)
        m.check(SETUP)

    def close(self):
        self.bridge.close()

    def talk(self, conversation, files=(), limit=LIMIT):
        """Pairs (command, regular expression): gdb's answer to each must match; None: any answer.
        Returns the whole text."""
        commands = [command for command, _ in conversation] + [f"echo {END}\\n"]
        text = gdb.transcript(self.bridge.port, files, commands, limit)
        rest = text
        for command, pattern in conversation:
            before, mark, rest = rest.partition(f"(gdb) {command}\n")
            if not mark:
                raise Failure(f"gdb did not come to {command!r}:\n{text}")
            answer = rest.split("\n(gdb) ")[0] if not rest.startswith("(gdb) ") else ""
            if pattern is not None and not re.search(pattern, answer, re.MULTILINE):
                raise Failure(f"{command!r}: no {pattern!r} in:\n{answer}\n---- the whole conversation:\n{text}")
        if END not in rest:
            raise Failure(f"gdb ended early:\n{text}")
        return text


@contextmanager
def vm(m, command, status=None, limit=60):
    """vmx with these arguments, waiting for gdb on m's second line; it must end with `status` afterwards."""
    m.com1.send(f"vmx -gdb {LINE} -gdb-wait {command}; echo '<'status $?\n")
    m.com1.expect("gdb: waiting at", limit)
    yield
    ended = m.com1.expect(r"<status (\d+)\n", limit)
    m.shell.wait_prompt()
    if status is not None and int(ended[1]) != status:
        raise Failure(f"vmx {command}: status {ended[1]} instead of {status}:\n{ended.before}")


def interrupt_after(seconds):
    """A gdb command: ^C so many seconds from now, as from the terminal."""
    return f"shell (sleep {seconds}; kill -INT $PPID) > /dev/null 2>&1 &"


def interrupted(command, seconds=2, within=10):
    """A conversation: ^C into a command that would take much longer, which ends within some seconds then."""
    return [("python import time; began = time.monotonic()", None), (interrupt_after(seconds), None), (command, "SIGINT"),
            (f"python took = time.monotonic() - began - {seconds}; print('answered' if -0.5 < took < {within} else 'late', '%.2f s' % took)",
             "answered")]
