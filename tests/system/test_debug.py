"""Debugging a machine: its operations under a replay, checked by the recording's own hashes."""
import re
import shutil
import subprocess

from harness import BUILD, Boot, machine_test

AREA = "Debugger"


def files(lab):
    """A folder for the image: guests, and the program that drives the operations."""
    folder = lab.folder / "files"
    (folder / "guests").mkdir(parents=True, exist_ok=True)
    for name in ("exits", "queue"):
        shutil.copy(BUILD / f"guests/{name}.elf", folder / "guests")
    shutil.copy(BUILD / "machine-tests/debug_check", folder / "guests")
    return folder


def address(guest, symbol):
    """Of a symbol of a guest, in hexadecimal."""
    names = subprocess.run(["nm", BUILD / f"guests/{guest}.elf.64"], stdout=subprocess.PIPE, check=True).stdout.decode()
    return re.search(rf"^([0-9a-f]+) \w {symbol}$", names, re.MULTILINE)[1]


@machine_test(cost=25)
def operations(lab):
    with lab.boot(Boot(extra=str(files(lab)))) as m:
        for guest, variable, function in (("exits", "interrupts", "check"), ("queue", "ticks", "timer_irq")):
            run = f"-mem 64 /guests/{guest}.elf"
            m.sh(f"vmx -record /tmp/log {run} > /tmp/first 2>&1")
            m.check(f"/guests/debug_check {address(guest, variable)} {address(guest, function)} -replay /tmp/log {run}"
                    " > /tmp/out 2>&1; cat /tmp/out", re.compile(r"^end: 0 failures", re.MULTILINE))
