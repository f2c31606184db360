"""A machine in an emulator that runs one script, with the script's console here.

The script lies on a data disk (datadisk.py). Marks around what its programs print tell it from
what GRUB and VMkernel say; the second one carries the script's exit status.
"""
import os
import re
import secrets
import sys
import threading
import time
from pathlib import Path

from datadisk import MOUNT
from emu import EmuError, Machine, start
from emu.patience import end_of
from emu.terminal import ESCAPE, have_terminal, pump_keys, raw_terminal, write_out
from emu.typing import type_stream

TOOLS = Path(__file__).resolve().parent
BUILD = Path(os.environ.get("CHRONO_BUILD", TOOLS.parent / "build"))
PANIC = re.compile(r"^Chronovisor \S+ has stopped\.", re.MULTILINE)
IPS = 100_000_000
LEAVE_SECONDS = 2                                      # ^] twice within this: the machine is ended


def built(name):
    """The path of something that make makes."""
    path = BUILD / name
    if not path.exists():
        raise EmuError(f"{path} is missing: run make first")
    return path


class Window:
    """What lies between the two marks of a stream of bytes goes to `write`."""

    def __init__(self, write):
        mark = secrets.token_hex(8)
        self.begin, self.end = f"<<{mark}\n", f">>{mark} "
        self.write = write
        self.status = None                             # of the script, when the end was seen
        self.began, self.ended = threading.Event(), threading.Event()
        self._rest = b""

    def feed(self, chunk):
        if self.ended.is_set():
            return
        data = self._rest + chunk
        if not self.began.is_set():
            found = re.search(self.begin[:-1].encode() + rb"\r*\n", data)
            if not found:
                self._rest = data[-64:]
                return
            data = data[found.end():]
            self.began.set()
        found = re.search(self.end.encode() + rb"(\d+)\r*\n", data)
        if found:
            self._emit(data[:found.start()])
            self.status = int(found[1])
            self.ended.set()
            return
        hold = self._possible_mark(data)
        self._emit(data[:len(data) - hold])
        self._rest = data[len(data) - hold:]

    def _possible_mark(self, data):
        """How many bytes at the end may be the beginning of the end mark."""
        mark = self.end.encode()
        at = data.rfind(mark)
        if at >= 0:
            return len(data) - at                      # its status is not complete yet
        return next((n for n in range(min(len(mark), len(data)), 0, -1) if data.endswith(mark[:n])), 0)

    def _emit(self, data):
        if data:
            self.write(data)


class Session:
    """Use it as a context manager: the machine ends with the block."""

    def __init__(self, disk, script, mem, emu="bochs", ips=IPS, write=write_out, iso=None, **more):
        """`disk`: a DataDisk, made here. `mem`: MiB of the machine. `more`: of emu.Machine."""
        self.disk = disk
        self.window = Window(write)
        disk.write("start", f"cd {MOUNT}\necho '{self.window.begin[:-1]}'\n{script}\n"
                            f"echo '{self.window.end}'$?\n"
                            "stty sane\n")               # waits until the line has sent all that
        disk.make()
        self.running = start(Machine(iso=str(iso or built("session.iso")), emu=emu, mem=mem, ips=ips,
                                     disks=[str(disk.image)], **more))
        self.running.com1.sink = self.window.feed

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.running.stop()

    def wait_begin(self, limit=120):
        """Until the script runs. What was on the console before is out of the way for expect()."""
        self.running.com1.trouble = PANIC
        self.running.com1.expect(re.escape(self.window.begin), limit)

    def wait_end(self, limit):
        """Until the script has ended and the machine has switched itself off; returns its status."""
        deadline = end_of(limit)
        panicked = None
        while self.running.alive():
            if panicked is None and PANIC.search(self.running.com1.text(last=20000)):
                panicked = time.monotonic() + 2        # let the report come to its end
            if panicked and time.monotonic() > panicked:
                raise EmuError("VMkernel panicked", self.running)
            if self.running.com1.nobody:
                raise EmuError(f"what the guest shows cannot be written: {self.running.com1.nobody.strerror}")
            if time.monotonic() > deadline:
                raise EmuError(f"still running after {limit:.0f} s", self.running)
            time.sleep(0.05)
        self.running.com1.wait_closed(3)
        if self.window.status is None:
            raise EmuError("the machine ended before its script did", self.running)
        return self.window.status

    # ---- who types --------------------------------------------------------------------------

    def converse(self, script=None, limit=3600):
        """A person at this terminal, a script (emu.typing.Script), or standard input; then the end."""
        if script:
            self.wait_begin()
            script.play(self.running.com1, limit)
        elif have_terminal():
            self._person()
        elif not sys.stdin.isatty():
            self.wait_begin()
            threading.Thread(target=self._type_standard_input, daemon=True).start()
        return self.wait_end(limit)

    def _type_standard_input(self):
        try:
            type_stream(self.running, sys.stdin.buffer)
        except EmuError:
            pass                                       # the guest ended first

    def _person(self):
        print(f"{self.running.machine.emu}: starting. ^] leaves the guest; twice, the machine.\r")
        sys.stdout.flush()
        last = [0.0]

        def typed(keys):
            if ESCAPE in keys:
                if time.monotonic() < last[0] + LEAVE_SECONDS:
                    return False
                last[0] = time.monotonic()
            self.running.com1.send(keys)
            return True

        with raw_terminal():
            pump_keys(lambda: self.running.alive() and not self.window.ended.is_set(), typed)
        if not self.window.ended.is_set():
            self.running.stop()
