"""Bochs. Its built-in debugger, on a pipe, reads the screen; its VNC server takes the keys."""
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

from .errors import EmuError
from .machine import Running
from .patience import end_of
from .rfb import Rfb

CPU_MODEL = "tigerlake"          # VT-x with EPT, unrestricted guest, preemption timer
TEXT_BASE, TEXT_SIZE = 0xB8000, 4000
ANSWER_SECONDS = 60              # for the debugger's prompt
BIOS = ["/usr/share/bochs/BIOS-bochs-latest"]
VGA_BIOS = ["/usr/share/bochs/VGABIOS-lgpl-latest", "/usr/share/vgabios/vgabios.bin"]


def first_that_exists(paths):
    for path in paths:
        if os.path.exists(path):
            return path
    raise EmuError(f"bochs: none of {', '.join(paths)} exists; tools/deps emu installs them")


class Bochs(Running):
    def __init__(self, machine):
        super().__init__(machine, "bochs")
        self._rfb, self._ready = None, False
        self._prompt = threading.Condition()
        self._output, self._keep = "", 100_000          # characters
        self._locks = []
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self):
        program = shutil.which("bochs-bin") or shutil.which("bochs")
        if not program:
            raise EmuError("bochs: not installed; tools/deps emu installs it")
        (self.work / "bochsrc").write_text(self._configuration())
        stop = f"pb {self.machine.break_at:#x}\n" if self.machine.break_at is not None else ""
        (self.work / "debugger").write_text(stop + "c\n")
        self.spawn([program, "-q", "-f", "bochsrc", "-rc", "debugger"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        threading.Thread(target=self._read_output, daemon=True).start()

    def _configuration(self):
        m = self.machine
        lines = [
            'display_library: rfb, options="timeout=0"',
            f"romimage: file={first_that_exists(BIOS)}",
            f"vgaromimage: file={first_that_exists(VGA_BIOS)}",
            f"cpu: model={m.cpu_model or CPU_MODEL}, count={m.cpus}, ips={m.ips}, "
            "reset_on_triple_fault=0, ignore_bad_msrs=0",
            f"memory: guest={m.mem}, host={min(m.mem, 1024)}",
            f"clock: sync=none, time0={m.time0 or 'utc'}",
            "pci: enabled=1, chipset=i440fx",
            "vga: extension=vbe, update_freq=5",
            "sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy",
            "speaker: enabled=0",
            "port_e9_hack: enabled=1",
            "error: action=ignore", "info: action=report", "debug: action=ignore",
            "panic: action=fatal",
            "log: bochs.log",
            f"com1: enabled=1, mode=socket-client, dev=127.0.0.1:{self.com1.port}",
            f"com2: enabled=1, mode=socket-client, dev=127.0.0.1:{self.com2.port}",
            "ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14",
            "ata1: enabled=1, ioaddr1=0x170, ioaddr2=0x370, irq=15",
        ]
        places = ["ata0-master", "ata0-slave", "ata1-master", "ata1-slave"]
        if m.iso:
            places.remove("ata1-master")
            lines.append(f"ata1-master: type=cdrom, path={os.path.abspath(m.iso)}, status=inserted")
        disks = ([m.boot_disk] if m.boot_disk else []) + list(m.disks)
        if len(disks) > len(places):
            raise EmuError(f"bochs: {len(disks)} disks do not fit on two IDE channels")
        self._locks = [Path(os.path.abspath(disk) + ".lock") for disk in disks]
        self._remove_locks()                     # a Bochs that was killed leaves them
        for place, disk in zip(places, disks):
            lines.append(f"{place}: type=disk, mode=flat, path={os.path.abspath(disk)}, cylinders=0")
        lines.append("boot: " + ("cdrom" if m.iso else "disk"))
        return "\n".join(lines + list(m.options)) + "\n"

    # ---- the debugger ----------------------------------------------------------------------

    def _read_output(self):
        while chunk := os.read(self.process.stdout.fileno(), 65536):
            with self._prompt:
                self._output = (self._output + chunk.decode(errors="replace"))[-self._keep:]
                self._prompt.notify_all()
        with self._prompt:
            self._prompt.notify_all()

    def _wait_output(self, pattern, deadline, again=None):
        """Waits until the debugger's output matches, and takes it; `again` is called every second."""
        with self._prompt:
            while not re.search(pattern, self._output):
                if not self.alive():
                    raise EmuError("bochs: ended while its debugger was asked", self)
                if time.monotonic() > deadline:
                    raise EmuError(f"bochs: its debugger does not answer; it said {self._output[-300:]!r}", self)
                if not self._prompt.wait(1) and again:
                    again()
            text, self._output = self._output, ""
        return text

    def _wait_prompt(self, limit=ANSWER_SECONDS, again=None):
        return self._wait_output(r"<bochs:\d+> *$", end_of(limit), again)

    def _interrupt(self):
        """Makes the debugger prompt. A signal that meets a "c" on its way is lost, one at the prompt does nothing:
        so it is sent again until there is one."""
        def signal_it():
            os.kill(self.process.pid, signal.SIGINT)   # before "Next at t=0" it would end Bochs
        signal_it()
        self._wait_prompt(again=signal_it)

    def debugger(self, *commands):
        """Stops the machine, gives commands to Bochs's debugger, goes on; returns the answers."""
        if not self._ready:
            self._wait_output("Next at t=0", end_of(ANSWER_SECONDS))
            self._ready = True
        self._interrupt()
        answers = []
        for command in commands:
            self._type(command)
            answers.append(self._wait_prompt())
        self._type("c")
        return answers

    def break_time(self, limit=60):
        """Waits for the machine to reach break_at and lets it go on; returns the instructions that
        it had executed by then, which with one processor is its TSC."""
        text = self._wait_prompt(limit)
        times = re.findall(r"^Next at t=(\d+)", text, re.MULTILINE)
        self._type("d 1")
        self._wait_prompt()
        self._type("c")
        self._ready = True
        return int(times[-1])

    def trace(self, address, hits, steps, limit=120):
        """Waits for break_at, then until the instruction at a linear address is about to run for the
        `hits`-th time; returns the addresses of the next `steps` instructions. The machine stops."""
        self._wait_prompt(limit)
        for command in ["d 1", f"lb {address:#x}"] + ["c"] * hits + ["trace on"]:
            self._type(command)
            self._wait_prompt(limit)
        self._keep, found, tail = 1 << 30, [], ""
        self._type(f"s {steps}")
        deadline = end_of(limit)
        while not re.search(r"<bochs:\d+> *$", tail) and time.monotonic() < deadline:
            time.sleep(0.01)
            with self._prompt:
                text, self._output = tail + self._output, ""
            lines = text.split("\n")
            tail = lines.pop()                           # perhaps not complete yet
            found += lines
        self._ready = True
        step = re.compile(r"\(0\)\.\[\d+\] \[\w+\] [0-9a-f]+:([0-9a-f]{16}) ")   # at CS:RIP
        addresses = [step.match(line) for line in found]
        return [int(match[1], 16) for match in addresses if match]

    def _type(self, command):
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()

    # ---- screen and keyboard ---------------------------------------------------------------

    def text_memory(self):
        answer = self.debugger(f"xp /{TEXT_SIZE}bx {TEXT_BASE:#x}")[0]
        data = bytes(int(byte, 16) for line in answer.splitlines() if "<" in line and ":\t" in line
                     for byte in re.findall(r"\t0x([0-9a-f]{2})\b", line.split(":", 1)[1]))
        if len(data) != TEXT_SIZE:
            raise EmuError(f"bochs: read {len(data)} bytes of text memory, not {TEXT_SIZE}", self)
        return data

    def press(self, key):
        if self._rfb is None:
            self._rfb = Rfb(self._rfb_port())
        self._rfb.press(key)

    def _rfb_port(self):
        found = re.findall(r"listening for connections on port (\d+)", self.log())
        if not found:
            raise EmuError("bochs: its VNC server has no port", self)
        return int(found[-1])

    def log(self):
        try:
            return (self.work / "bochs.log").read_text(errors="replace")
        except OSError:
            return ""

    def emulator_errors(self):
        said = [line for line in self.log().splitlines() if re.match(r"\d+[pe]\[", line)]
        return super().emulator_errors()[-3:] + said[-5:]

    def _remove_locks(self):
        for lock in self._locks:
            lock.unlink(missing_ok=True)

    def release(self):
        self._remove_locks()
        if self._rfb:
            self._rfb.close()
        if self.process and self.process.stdin:
            try:
                self.process.stdin.close()
            except OSError:
                pass
