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
    for name in ("exits", "queue", "race", "torture", "debuggee"):
        shutil.copy(BUILD / f"guests/{name}.elf", folder / "guests")
    shutil.copy(BUILD / "machine-tests/debug_check", folder / "guests")
    # Boot sectors: sti; hlt; jmp to the hlt - jmp to itself - 2000 times sti; nop; mov ss, ax; nop; cli, then the end -
    # 50 times CX to 7e00, movsw from a device to there, CX again, insb to there.
    for name, code in (("halts", b"\xfb\xf4\xeb\xfd"), ("computes", b"\xeb\xfe"),
                       ("shadows", bytes.fromhex("31c0 b9d007 fb 90 8ed0 90 fa e2f8 ba0105 6631c0 66ef f4")),
                       ("moves", bytes.fromhex("fc b800a0 8ed8 31c0 8ec0 b93200 31f6 bf007e 26890d a5 bf007e 26890d bae702 "
                                               "6c e2eb ba0105 6631c0 66ef f4"))):
        (folder / f"guests/{name}.bin").write_bytes(code.ljust(510, b"\0") + b"\x55\xaa")
    return folder


def address(guest, symbol):
    """Of a symbol of a guest, in hexadecimal."""
    names = subprocess.run(["nm", BUILD / f"guests/{guest}.elf"], stdout=subprocess.PIPE, check=True).stdout.decode()
    return re.search(rf"^([0-9a-f]+) \w {symbol}$", names, re.MULTILINE)[1]


def drive(m, test, arguments, variable="0", function="0"):
    m.check(f"/guests/debug_check {test} {variable} {function} -mem 64 {arguments} > /tmp/out 2>&1; cat /tmp/out", GOOD,
            limit=200)


def drive_replay(m, test, guest, variable, function, arguments=""):
    """The same on a recording of the guest."""
    run = f"{arguments} /guests/{guest}.elf"
    m.sh(f"vmx -record /tmp/log -mem 64 {run} > /tmp/first 2>&1")
    drive(m, test, f"-replay /tmp/log {run}", address(guest, variable), address(guest, function))


@machine_test(cost=10)
def replay(lab):
    with lab.boot(Boot(extra=str(files(lab)))) as m:
        drive_replay(m, "replay", "exits", "interrupts", "check")
        drive_replay(m, "places", "torture", "_start", "_start", "-append 5000")
        m.check("vmx -record /tmp/log -mem 64 /guests/moves.bin")
        drive(m, "watches", "-replay /tmp/log /guests/moves.bin", "7e00", "7c00")


@machine_test(cost=10)
def replay_of_two_processors(lab):
    with lab.boot(Boot(extra=str(files(lab)))) as m:
        drive_replay(m, "processors", "race", "cpu_stack", "put", "-cpus 2")


@machine_test(cost=12)
def live(lab):
    with lab.boot(Boot(extra=str(files(lab)))) as m:
        m.check("vmx -record /tmp/log -mem 64 /guests/shadows.bin")
        drive(m, "shadows", "-replay /tmp/log /guests/shadows.bin", "7c06", "7c09")
        drive_replay(m, "waiting", "debuggee", "sti_shadow", "after_sti")
        drive(m, "live", "/guests/queue.elf", address("queue", "ticks"), address("queue", "timer_irq"))
        drive(m, "interrupt", "/guests/halts.bin")
        drive(m, "interrupt", "/guests/computes.bin")
