"""What system tests are written with.

    from harness import Boot, shell_test, machine_test

    AREA = "Shell"                                  # the row of README's status table

    @shell_test(Boot(cpus=2))                       # shares one boot with all tests of that Boot
    def pipeline(m):
        m.check("echo abc | tr a-c A-C", "ABC")

    @machine_test(level="all", cost=20)             # starts machines of its own
    def power_cut(lab):
        disk = lab.disk("data.img", 8)
        with lab.boot(Boot(mem=128), disks=[disk]) as m: ...

Both take emus=("bochs", "qemu"): the test then runs once in each. level: "quick" tests run in
make test, "all" in make test-all, "soak" in make soak. cost: expected seconds, for the order.
"""
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tools"))
from emu import EmuError, Machine, start  # noqa: E402
from emu.shell import Shell  # noqa: E402

BUILD = Path(os.environ.get("BUILD", "build"))
BUILD = BUILD if BUILD.is_absolute() else TOP / BUILD
PROMPT = r"# $"
LOGLEVEL = 4                     # warnings and worse: no chatter amid the output of commands
PANIC = re.compile(r"^Chronovisor \S+ has stopped\.", re.MULTILINE)
tests = []                       # everything the decorators saw
_iso_lock = threading.Lock()


class Failure(Exception):
    """A test that did not hold, with a sentence."""


@dataclass(frozen=True)
class Boot:
    """A machine and the image it starts; equal ones are shared between shell tests."""
    emu: str = "bochs"
    cpus: int = 1
    mem: int = 256
    cmdline: str = ""
    extra: str = ""              # folder merged into the initial file system
    prompt: str = PROMPT         # what is waited for; "" for nothing
    boot_limit: int = 120
    linux: str = ""              # name of a Debian package: its kernel instead of VMkernel


@dataclass
class Test:
    name: str
    kind: str                    # shell, machine, bench
    function: object
    boot: Boot
    level: str
    cost: float
    area: str


def _register(kind, boot, emus, level, cost):
    def decorate(function):
        module = sys.modules[function.__module__]
        base = f"{Path(module.__file__).stem.removeprefix('test_')}.{function.__name__}"
        for emu in emus or (boot.emu,):
            name = base if len(emus) < 2 and emu == "bochs" else f"{base}@{emu}"
            tests.append(Test(name, kind, function, replace(boot, emu=emu), level, cost,
                              getattr(module, "AREA", base)))
        return function
    return decorate


def shell_test(boot=Boot(), emus=(), level="quick", cost=1):
    return _register("shell", boot, emus, level, cost)


def machine_test(boot=Boot(), emus=(), level="quick", cost=5):
    return _register("machine", boot, emus, level, cost)


def benchmark(boot=Boot(), emus=(), level="all", cost=10):
    """Like machine_test; the function returns {row: {"instructions": n, ...}}."""
    return _register("bench", boot, emus, level, cost)


# ---- machines ------------------------------------------------------------------------------------

def initrd_with(extra):
    """The test image's initial file system with one more folder in it."""
    if not extra:
        return BUILD / "initrd-test.cpio"
    out = BUILD / "test-iso" / ("initrd-" + hashlib.sha1(str(extra).encode()).hexdigest()[:10])
    command = [TOP / "tools/initrd", "-o", out, "--tree", extra]
    for folder, option in (("user", "--bin"), ("worlds", "--test")):
        for program in sorted((BUILD / folder).glob("*")):
            if program.is_file() and os.access(program, os.X_OK):
                command += [option, program]
    for program in ("vmx", "chrono-log"):
        if (BUILD / program).exists():
            command += ["--bin", BUILD / program]
    subprocess.run(command, check=True)
    return out


def kernel_for(boot):
    if boot.linux:
        done = subprocess.run([TOP / "tools/linux-kernel", BUILD / boot.linux, boot.linux],
                              stdout=subprocess.PIPE, check=True)
        return Path(done.stdout.decode().strip())
    kernel = BUILD / "chronovisor.elf"
    if not kernel.exists():
        raise Failure("VMkernel was not built")
    return kernel


def iso_for(boot):
    """An ISO for this kernel, command line and folder, made when it is missing or old."""
    with _iso_lock:
        kernel = kernel_for(boot)
        (BUILD / "test-iso").mkdir(exist_ok=True)
        initrd = initrd_with(boot.extra)
        cmdline = boot.cmdline
        if boot.linux:
            cmdline += " console=tty0 console=ttyS0 mitigations=off quiet"
        elif "loglevel=" not in cmdline:
            cmdline = f"{cmdline} loglevel={LOGLEVEL}".strip()
        key = hashlib.sha1(f"{boot.linux}\0{cmdline}\0{boot.extra}".encode()).hexdigest()[:12]
        iso = BUILD / "test-iso" / f"{key}.iso"
        newest = max(kernel.stat().st_mtime, initrd.stat().st_mtime)
        if not iso.exists() or iso.stat().st_mtime <= newest:
            option = ["-l"] if boot.linux else []
            subprocess.run([TOP / "tools/mkiso", *option, "-o", iso, "-c", cmdline, kernel, initrd],
                           check=True, env=dict(os.environ, LARGE_IMAGE="1"))
        return iso


class Session:
    """A running machine with a shell on its serial console."""

    def __init__(self, running, boot):
        self.running, self.boot = running, boot
        self.com1, self.com2 = running.com1, running.com2
        self.com1.trouble = PANIC
        self.shell = Shell(self.com1, boot.prompt or PROMPT)
        if boot.prompt:
            self.boot_text = self.shell.wait_prompt(boot.boot_limit)

    def sh(self, command, limit=60):
        """Runs a shell command; returns (output, status)."""
        return self.shell.run(command, limit)

    def check(self, command, wanted=None, limit=60):
        """The command must succeed; its output must be equal to `wanted`, or match if a regex."""
        output, status = self.sh(command, limit)
        if status != 0:
            raise Failure(f"{command!r} ended with status {status}:\n{output}")
        if isinstance(wanted, re.Pattern):
            if not wanted.search(output):
                raise Failure(f"{command!r}: no {wanted.pattern!r} in:\n{output}")
        elif wanted is not None and output != wanted:
            raise Failure(f"{command!r}: expected {wanted!r}, got {output!r}")
        return output

    def powers_off(self, limit=20):
        """The machine must switch itself off now."""
        return self.running.wait(limit)

    def __getattr__(self, name):                # screen, type_keys, wait_screen, debugger, qmp …
        return getattr(self.running, name)


class Lab:
    """What a machine test gets: machines and disks that end and vanish with it."""

    def __init__(self, test, folder):
        self.test, self.folder = test, folder
        folder.mkdir(parents=True, exist_ok=True)

    def disk(self, name, size_mib):
        """An empty flat image of so many MiB."""
        path = self.folder / name
        with open(path, "wb") as file:
            file.truncate(size_mib << 20)
        return str(path)

    @contextmanager
    def boot(self, boot=None, disks=(), usb=False, **more):
        """Starts a machine with the image that `boot` describes; the emulator is the test's."""
        boot = replace(boot or self.test.boot, emu=self.test.boot.emu)
        iso = str(iso_for(boot))
        if usb:
            iso = shutil.copy(iso, self.folder / "stick.img")     # a disk can be written to
        place = {"boot_disk": str(iso)} if usb else {"iso": iso}
        machine = Machine(emu=boot.emu, cpus=boot.cpus, mem=boot.mem, disks=list(disks),
                          log_dir=str(self.folder), **place, **more)
        with start(machine) as running:
            yield Session(running, boot)


__all__ = ["BUILD", "TOP", "Boot", "EmuError", "Failure", "Lab", "Session", "Test", "benchmark",
           "iso_for", "machine_test", "shell_test", "tests"]
