"""Typing at a machine's console without a person: standard input, or a script."""
import re
import time
from pathlib import Path

from .errors import EmuError, MachineEnded
from .patience import end_of, patience

READY = r"[#$] $"                                       # a shell's prompt
ECHO_LIMIT, READY_LIMIT, QUIET = 5, 120, 8              # seconds


def wait_ready(running):
    """Until a prompt is seen, or the console has been quiet for a while after its first words."""
    console, seen, since = running.com1, 0, time.monotonic()
    deadline = end_of(READY_LIMIT)
    while running.alive() and time.monotonic() < deadline:
        if re.search(READY, console.text(last=200)):
            return
        if len(console.data) != seen:
            seen, since = len(console.data), time.monotonic()
        if b"\n" in console.data and time.monotonic() > since + QUIET * patience():
            return
        time.sleep(0.05)


def type_stream(running, stream, end=b"\x04"):
    """Types the lines of a binary stream, each when the one before was echoed, then `end`."""
    wait_ready(running)
    for line in stream:
        before = len(running.com1.data)
        running.com1.send(line)
        deadline = end_of(ECHO_LIMIT)
        while len(running.com1.data) < before + len(line) and time.monotonic() < deadline:
            with running.com1.changed:
                running.com1.changed.wait(0.1)
    wait_ready(running)
    running.com1.send(end)


class Script:
    """Lines `wait REGEX` and `type TEXT` (with \\n, \\t, \\x03 ...); empty lines and # are skipped."""

    def __init__(self, path):
        self.path, self.steps = path, []
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise EmuError(f"{path}: {error.strerror}") from None
        for number, line in enumerate(lines, 1):
            if line.strip() and not line.startswith("#"):
                self._add(number, *line.partition(" ")[::2])

    def _add(self, number, verb, rest):
        try:
            if verb == "wait":
                self.steps.append((number, verb, re.compile(rest, re.MULTILINE)))
            elif verb == "type":
                self.steps.append((number, verb, rest.encode().decode("unicode_escape").encode("latin-1")))
            else:
                raise EmuError(f"{self.path}:{number}: a line is `wait REGEX` or `type TEXT`, not {verb!r}")
        except (re.error, UnicodeError) as error:
            raise EmuError(f"{self.path}:{number}: {error}") from None

    def play(self, console, limit):
        """Plays it on a console; seconds for each wait."""
        for number, verb, what in self.steps:
            try:
                if verb == "wait":
                    console.expect(what, limit)
                else:
                    console.send(what)
            except MachineEnded as error:
                raise MachineEnded(f"{self.path}:{number}: {error.message}", console.machine) from None
            except EmuError as error:
                raise EmuError(f"{self.path}:{number}: {error.message}", console.machine) from None
