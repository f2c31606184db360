"""For tests with the real gdb: a VM under vmx -gdb in a booted machine, and conversations with it."""
import os
import re
import signal
import threading
from contextlib import contextmanager, suppress

import gdb
from emu.bridge import Bridge
from emu.patience import patience
from harness import BUILD, Failure

LINE = "/dev/ttyS1"
SETUP = f"stty -F {LINE} raw -echo"
LIMIT = 120                                           # seconds for a conversation
END = "end of the conversation"
RESUME = re.compile(rb"\$(vCont;|bc#|bs#)")             # gdb lets the guest run, forwards or backwards


def symbols(name):
    return BUILD / "guests" / name


class Line:
    """The machine's second serial line as a port for gdb."""

    def __init__(self, m):
        self.m = m
        self.bridge = Bridge(m.com2, 0, gdb.FAREWELL, gdb.ANSWER, gdb.POLITE)
        self.bridge.heard = self._heard
        self._armed, self._last = m.work / "interrupt", b""
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

    def interrupt_after(self, seconds):
        """A gdb command: ^C as from the terminal, so many seconds after gdb has let the guest run the next time. One that
        comes before that is gdb's own, and the guest never hears of it."""
        return f"shell echo $PPID {seconds} > {self._armed}"

    def interrupted(self, command, seconds=2, within=10):
        """A conversation: ^C into a command that would take much longer, which ends within some seconds then."""
        limit = seconds + within * patience()
        return [("python import time; began = time.monotonic()", None), (self.interrupt_after(seconds), None), (command, "SIGINT"),
                (f"python took = time.monotonic() - began; print('answered' if took < {limit} else 'late', '%.2f s' % took)", "answered")]

    def _heard(self, data):
        """What gdb says to the guest."""
        self._last = (self._last + data)[-32:]
        if not RESUME.search(self._last) or not self._armed.exists():
            return
        pid, seconds = self._armed.read_text().split()
        self._armed.unlink()
        threading.Timer(float(seconds), interrupt, (int(pid),)).start()


def interrupt(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)


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
