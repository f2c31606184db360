"""QEMU, with a software CPU or with KVM. Its machine protocol (QMP) reads the screen and types."""
import json
import shutil
import socket
import subprocess
import threading

from .errors import EmuError
from .keys import qemu_name
from .machine import Running
from .patience import patience

TEXT_BASE, TEXT_SIZE = 0xB8000, 4000


class Qemu(Running):
    def __init__(self, machine):
        super().__init__(machine, machine.emu)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(30 * patience())
        self._qmp = None
        self._lock = threading.Lock()
        try:
            program = shutil.which("qemu-system-x86_64")
            if not program:
                raise EmuError("qemu: not installed; tools/deps emu installs it")
            self.spawn([program] + self._arguments(), stdin=subprocess.DEVNULL,
                       stdout=open(self.work / "stdout", "wb"))
        except BaseException:
            self.stop()
            raise

    def _arguments(self):
        m = self.machine
        cpu = m.cpu_model or ("host" if m.emu == "kvm" else "max")
        arguments = ["-nodefaults", "-no-user-config", "-display", "none", "-vga", "std",
                     "-machine", "pc,accel=" + ("kvm" if m.emu == "kvm" else "tcg"),
                     "-cpu", cpu, "-smp", m.cpus, "-m", m.mem, "-no-reboot",
                     "-debugcon", "file:debugcon",
                     "-qmp", f"tcp:127.0.0.1:{self._listener.getsockname()[1]}"]
        for console in (self.com1, self.com2):
            arguments += ["-serial", f"tcp:127.0.0.1:{console.port}"]
        if m.icount:
            arguments += ["-icount", "shift=0"]
        if m.time0:
            arguments += ["-rtc", "base=@" + m.time0 if m.time0.isdigit() else "base=utc"]
        places = [0, 1, 2, 3]
        if m.iso:
            places.remove(2)
            arguments += ["-drive", f"file={absolute(m.iso)},format=raw,if=ide,index=2,media=cdrom",
                          "-boot", "d"]
        disks = ([m.boot_disk] if m.boot_disk else []) + list(m.disks)
        if len(disks) > len(places):
            raise EmuError(f"qemu: {len(disks)} disks do not fit on two IDE channels")
        for place, disk in zip(places, disks):
            arguments += ["-drive", f"file={absolute(disk)},format=raw,if=ide,index={place}"]
        return arguments + list(m.options)

    # ---- QMP -------------------------------------------------------------------------------

    def qmp(self, command, **arguments):
        """One command of the machine protocol; returns its answer."""
        with self._lock:
            if self._qmp is None:
                try:
                    peer, _ = self._listener.accept()
                except OSError as error:
                    raise EmuError(f"qemu: its monitor did not connect: {error}", self) from error
                self._qmp = peer.makefile("rw")
                self._qmp.readline()
                self._command({"execute": "qmp_capabilities"})
            return self._command({"execute": command, "arguments": arguments})

    def _command(self, request):
        try:
            self._qmp.write(json.dumps(request) + "\n")
            self._qmp.flush()
            while True:
                line = self._qmp.readline()
                if not line:
                    raise EmuError("qemu: ended while it was asked", self)
                answer = json.loads(line)
                if "return" in answer:
                    return answer["return"]
                if "error" in answer:
                    raise EmuError(f"qemu: {answer['error']['desc']}", self)
        except OSError as error:
            raise EmuError(f"qemu: {error}", self) from error

    def monitor(self, line):
        """One line for the human monitor; returns its text."""
        return self.qmp("human-monitor-command", **{"command-line": line})

    # ---- screen and keyboard ---------------------------------------------------------------

    def text_memory(self):
        path = self.work / "text"
        self.qmp("pmemsave", val=TEXT_BASE, size=TEXT_SIZE, filename=str(path))
        return path.read_bytes()

    def press(self, key):
        self.monitor(f"sendkey {qemu_name(key)} 20")

    def release(self):
        self._listener.close()


def absolute(path):
    import os
    return os.path.abspath(path).replace(",", ",,")
