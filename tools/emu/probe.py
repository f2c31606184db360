"""Asks an emulated processor itself what it can do: boots a sector that reads CPUID and MSRs."""
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from . import Machine, start

SOURCE = Path(__file__).with_name("probe.S")
DISK_SIZE = 16 * 63 * 512 * 20           # whole cylinders: Bochs wants a geometry
LOOP_INSTRUCTIONS = 1003                 # from RDTSC to RDTSC in probe.S
VMX_BIT = 5
EPT, UNRESTRICTED, PML = 1, 7, 17        # bits of the secondary controls


@dataclass
class Abilities:
    vmx: bool
    ept: bool
    unrestricted: bool
    pml: bool
    tsc_delta: int

    @property
    def exact_clock(self):
        """The TSC advances by one per instruction."""
        return abs(self.tsc_delta - LOOP_INSTRUCTIONS) <= 2

    def sentence(self):
        if not self.vmx:
            return "no VT-x"
        parts = [name for name, there in (("EPT", self.ept), ("PML", self.pml),
                                          ("unrestricted guest", self.unrestricted)) if there]
        return "VT-x with " + ", ".join(parts or ["nothing more"])


def probe(emu, **settings):
    """Boots the probe in this emulator; EmuError when that does not work at all."""
    with tempfile.TemporaryDirectory(prefix="chrono-probe-") as folder:
        disk = Path(folder) / "probe.img"
        subprocess.run(["as", "--32", "-o", f"{folder}/probe.o", SOURCE], check=True)
        subprocess.run(["ld", "-m", "elf_i386", "--oformat", "binary", "-Ttext", "0x7c00",
                        "-o", disk, f"{folder}/probe.o"], check=True)
        with open(disk, "r+b") as file:
            file.truncate(DISK_SIZE)
        with start(Machine(boot_disk=str(disk), emu=emu, mem=64, **settings)) as machine:
            found = machine.com1.expect(r"probe ([0-9a-f ]+) end", 20)
    ecx, secondary, _ept, tsc = (int(word, 16) for word in found[1].split())
    return Abilities(bool(ecx >> VMX_BIT & 1), *(bool(secondary >> bit & 1)
                     for bit in (EPT, UNRESTRICTED, PML)), tsc)
