"""Control of emulators: start a machine, talk to it, look at it, and always end it.

    from emu import Machine, start
    with start(Machine(iso="build/chronovisor.iso", cpus=2)) as m:
        m.com1.expect(r"# $")
        m.com1.send("uname -a\\n")
        print(m.screen().text())
"""
from .errors import EmuError, MachineEnded, Timeout
from .machine import Machine, Running, end_on_signals, stop_all


def start(machine):
    """Starts the machine; returns the running emulator (a context manager)."""
    if machine.emu == "bochs":
        from .bochs import Bochs
        return Bochs(machine)
    if machine.emu in ("qemu", "kvm"):
        from .qemu import Qemu
        return Qemu(machine)
    raise EmuError(f"unknown emulator {machine.emu!r}: it is bochs, qemu or kvm")
