"""Debugging a machine: its operations on replays, checked by the recordings' own sums, and on live VMs."""
import re
import shutil
import subprocess

from harness import BUILD, Boot, machine_test

AREA = "Debugger"
GOOD = re.compile(r"^end: 0 failures", re.MULTILINE)


def files(lab):
    """A folder for the image: guests, and the program that drives the operations."""
    folder = lab.folder / "files"
    (folder / "guests").mkdir(parents=True, exist_ok=True)
    for name in ("exits", "queue", "race"):
        shutil.copy(BUILD / f"guests/{name}.elf", folder / "guests")
    shutil.copy(BUILD / "machine-tests/debug_check", folder / "guests")
    # Boot sectors: sti; hlt; jmp to the hlt - and jmp to itself.
    for name, code in (("halts", b"\xfb\xf4\xeb\xfd"), ("computes", b"\xeb\xfe")):
        (folder / f"guests/{name}.bin").write_bytes(code.ljust(510, b"\0") + b"\x55\xaa")
    return folder


def address(guest, symbol):
    """Of a symbol of a guest, in hexadecimal."""
    names = subprocess.run(["nm", BUILD / f"guests/{guest}.elf.64"], stdout=subprocess.PIPE, check=True).stdout.decode()
    return re.search(rf"^([0-9a-f]+) \w {symbol}$", names, re.MULTILINE)[1]


def drive(m, test, arguments, variable="0", function="0"):
    m.check(f"/guests/debug_check {test} {variable} {function} -mem 64 {arguments} > /tmp/out 2>&1; cat /tmp/out", GOOD)


@machine_test(cost=30)
def replay(lab):
    with lab.boot(Boot(extra=str(files(lab)))) as m:
        for guest, cpus, variable, function in (("exits", 1, "interrupts", "check"), ("race", 2, "cpu_stack", "put")):
            run = f"-cpus {cpus} /guests/{guest}.elf"
            m.sh(f"vmx -record /tmp/log -mem 64 {run} > /tmp/first 2>&1")
            drive(m, "replay", f"-replay /tmp/log {run}", address(guest, variable), address(guest, function))


@machine_test(cost=10)
def live(lab):
    with lab.boot(Boot(extra=str(files(lab)))) as m:
        drive(m, "live", "/guests/queue.elf", address("queue", "ticks"), address("queue", "timer_irq"))
        drive(m, "interrupt", "/guests/halts.bin")
        drive(m, "interrupt", "/guests/computes.bin")
