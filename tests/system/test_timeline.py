"""Going backwards in replays of real guests: tests/machine/travel_check.c drives the timeline."""
import re
import shutil
import subprocess

import test_guest_linux as linux
from harness import BUILD, Boot, benchmark, machine_test

AREA = "Debugger"
LINUX_IDT = 0xfffffe0000000000     # where Linux maps it for all, whatever else moves
TORTURE_IDT = 0x5000               # tests/guests/torture/memory.h


def travel_check(m, points, idt, options, limit):
    """The checks on a recording of `vmx OPTIONS`; returns its figures."""
    m.sh(f"vmx -record /tmp/log {options} < /dev/null > /tmp/first 2>&1", limit)
    out = m.check(f"/guests/travel_check {points} {idt:x} -replay /tmp/log {options} < /dev/null 2>&1",
                  re.compile(r"^end: 0 failures", re.MULTILINE), limit=limit)
    return {name: int(value) for name, value in re.findall(r"^figure (\w+) (\d+)", out, re.MULTILINE)}


def idt_of(guest):
    names = subprocess.run(["nm", BUILD / f"guests/{guest}.elf.64"], stdout=subprocess.PIPE, check=True).stdout.decode()
    return int(re.search(r"^([0-9a-f]+) \w idt$", names, re.MULTILINE)[1], 16)


@machine_test(cost=30)
def small_guests(lab):
    folder = lab.folder / "files"
    (folder / "guests").mkdir(parents=True, exist_ok=True)
    shutil.copy(BUILD / "machine-tests/travel_check", folder / "guests")
    for name in ("queue", "torture"):
        shutil.copy(BUILD / f"guests/{name}.elf", folder / "guests")
    with lab.boot(Boot(extra=str(folder))) as m:
        for guest, idt in (("queue", idt_of("queue")), ("torture", TORTURE_IDT)):
            travel_check(m, 20, idt, f"-mem 64 /guests/{guest}.elf", 200)


@machine_test(level="all", cost=300)
def debian(lab):
    debian_travels(lab, 200)


def debian_travels(lab, points):
    """The checks on a recorded boot of Debian's kernel with 256 MB, to its first program; returns the figures."""
    extra = linux.image_files(lab, "cloud")
    shutil.copy(BUILD / "machine-tests/travel_check", f"{extra}/guests")
    options = ("-mem 256 -initrd /guests/initrd -append 'console=ttyS0 quiet rdinit=/roles role=nothing'"
               " /guests/vmlinuz")
    with lab.boot(Boot(mem=1024, extra=extra), ips=linux.IPS) as m:
        return travel_check(m, points, LINUX_IDT, options, 1200)


@benchmark(cost=100)
def going_backwards(lab):
    figures = debian_travels(lab, 0)
    faults = figures["next_with_copy"] - figures["next_alone"]
    goals = {"checkpoint of 256 MB": (figures["checkpoint"], 200_000),
             "its end": (figures["checkpoint_end"], None),
             "faults in 10 M instructions": (faults, None),
             "reverse-stepi": (figures["reverse_stepi"], 2_000_000)}
    return {name: {"VMkernel": value, **({"limit": goal, "goal": "met" if value <= goal else "missed"} if goal else {})}
            for name, (value, goal) in goals.items()}
