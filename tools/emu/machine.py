"""A machine to be emulated: its description, and what every running emulator has in common."""
import atexit
import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from .console import Console
from .errors import EmuError
from .patience import end_of, patience

PR_SET_PDEATHSIG = 1
_running = set()


@dataclass
class Machine:
    """What to start. Paths are used as they are; sizes are MiB."""
    iso: str = None                 # CD image to boot from
    boot_disk: str = None           # or a disk image to boot from (a USB stick, as far as the BIOS sees it)
    disks: list = field(default_factory=list)   # further flat images, IDE
    mem: int = 256
    cpus: int = 1
    emu: str = "bochs"              # bochs, qemu, kvm
    ips: int = 20_000_000           # Bochs: emulated instructions per emulated second
    cpu_model: str = None           # None: the emulator's default here
    icount: bool = False            # QEMU: TSC counts instructions
    time0: str = None               # None: the RTC starts with the workstation's time (UTC), else seconds since 1970
    break_at: int = None            # Bochs: stops there once, a physical address; see break_time()
    log_dir: str = None             # where console logs stay; None: nowhere
    options: list = field(default_factory=list)  # extra lines of bochsrc, or arguments of QEMU


class Running:
    """A started emulator. Use it as a context manager: it always ends."""

    def __init__(self, machine, kind):
        self.machine = machine
        self.kind = kind
        self.work = Path(tempfile.mkdtemp(prefix="chrono-emu-"))
        log = Path(machine.log_dir) if machine.log_dir else None
        if log:
            log.mkdir(parents=True, exist_ok=True)
        self.com1 = Console("com1", log and log / "com1.log")
        self.com2 = Console("com2", log and log / "com2.log")
        self.com1.machine = self.com2.machine = self
        self.process = None
        self.command = []
        self.started = time.monotonic()

    # ---- life ------------------------------------------------------------------------------

    def spawn(self, command, **more):
        """Starts the emulator as a process group of its own that dies with this process."""
        self.command = [str(part) for part in command]
        self.process = subprocess.Popen(
            self.command, cwd=self.work, start_new_session=True, preexec_fn=_die_with_parent,
            stderr=open(self.work / "stderr", "wb"), **more)
        _running.add(self)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def wait(self, limit):
        """Waits for the machine to switch itself off; returns the emulator's exit code."""
        try:
            code = self.process.wait(limit * patience())
        except subprocess.TimeoutExpired:
            raise EmuError(f"{self.kind}: the machine is still running after {limit} s", self) from None
        self.com1.wait_closed(2)
        return code

    def stop(self):
        """Ends the emulator, whatever state it is in."""
        if self.process is not None and self.process.poll() is None:
            for number in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(self.process.pid, number)
                    self.process.wait(1)
                    break
                except (subprocess.TimeoutExpired, ProcessLookupError, PermissionError):
                    continue
        _running.discard(self)
        self.com1.close()
        self.com2.close()
        self.release()
        shutil.rmtree(self.work, ignore_errors=True)

    def release(self):
        """For the kinds: close what they opened."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    # ---- saying what went wrong ------------------------------------------------------------

    def emulator_errors(self):
        """The last lines that the emulator itself had to say."""
        try:
            lines = (self.work / "stderr").read_text(errors="replace").splitlines()
        except OSError:
            return []
        return [line for line in lines if line.strip() and not line.startswith("ALSA")][-5:]

    def post_mortem(self):
        out = []
        console = self.com1.text().splitlines()[-20:]
        out.append("last console lines:" if console else "nothing was seen on the console")
        out += ["  | " + line for line in console]
        said = self.emulator_errors()
        if said:
            out.append(f"{self.kind} said:")
            out += ["  | " + line for line in said]
        code = self.process.poll() if self.process else None
        out.append(f"{self.kind}: " + ("running" if code is None else f"ended with code {code}")
                   + f" after {time.monotonic() - self.started:.1f} s")
        out.append("the same by hand: " + self.by_hand())
        return "\n".join(out)

    def by_hand(self):
        """The command that starts this machine again in a terminal."""
        m = self.machine
        command = ["tools/boot", "--interactive", "--emu", m.emu, "--mem", m.mem, "--cpus", m.cpus]
        for disk in m.disks:
            command += ["--disk", disk]
        return shlex.join(str(part) for part in command + [m.iso or m.boot_disk])

    # ---- the screen and the keyboard: the kinds implement text_memory() and press() --------

    def screen(self):
        """The VGA text screen as it is now."""
        from .screen import Screen
        return Screen(self.text_memory(), self.cursor())

    def cursor(self):
        return None

    def wait_screen(self, pattern, limit=30):
        """Waits until the VGA text matches; returns the screen."""
        import re
        deadline = end_of(limit)
        while True:
            screen = self.screen()
            if re.search(pattern, screen.text(), re.MULTILINE):
                return screen
            if time.monotonic() > deadline:
                raise EmuError(f"vga: no {pattern!r} within {limit} s; the screen:\n{screen.text()}",
                               self)
            time.sleep(0.2)

    def type_keys(self, text):
        """Types text on the PS/2 keyboard; <...> names a key: <ret> <up> <ctrl-c> <alt-f1>."""
        from .keys import split_keys
        for key in split_keys(text):
            self.press(key)


def _die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def stop_all():
    for running in list(_running):
        running.stop()


def end_on_signals():
    """For programs that start emulators: SIGTERM and SIGHUP end them like ^C does."""
    def leave(number, _frame):
        raise SystemExit(128 + number)
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)


atexit.register(stop_all)
