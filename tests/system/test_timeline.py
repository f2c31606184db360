"""Going backwards in replays of real guests: programs of tests/machine/ drive the timeline."""
import re
import shutil
import subprocess
from contextlib import contextmanager

import test_guest_linux as linux
from harness import BUILD, Boot, benchmark, machine_test
from test_replay import GUEST, recorded_to_the_end

AREA = "Debugger"
LINUX_IDT = 0xfffffe0000000000     # where Linux maps it for all, whatever else moves
TORTURE_IDT = 0x5000               # tests/guests/torture/memory.h
# What must be among the points (identity_check.c). MOV SS: Linux has it when it starts; torture seldom enough to be missed.
LINUX_KINDS = "rep,interrupt,fault,hlt,sti,movss"
TORTURE_KINDS = "rep,interrupt,fault,hlt,sti"


def programs(folder):
    for name in ("identity_check", "travel_check"):
        shutil.copy(BUILD / f"machine-tests/{name}", folder)


def run_check(m, command, limit):
    """A check that must end without failures; returns its figures."""
    out = m.check(f"/guests/{command} < /dev/null 2>&1", re.compile(r"^end: 0 failures", re.MULTILINE), limit=limit)
    return {name: int(value) for name, value in re.findall(r"^figure (\w+) (\d+)", out, re.MULTILINE)}


def record(m, options, limit):
    m.sh(f"vmx -record /tmp/log {options} < /dev/null > /tmp/first 2>&1", limit)
    return f"-replay /tmp/log {options}"


def idt_of(guest):
    names = subprocess.run(["nm", BUILD / f"guests/{guest}.elf.64"], stdout=subprocess.PIPE, check=True).stdout.decode()
    return int(re.search(r"^([0-9a-f]+) \w idt$", names, re.MULTILINE)[1], 16)


def small_guest(m, guest, idt, points, kinds, what):
    if guest == "queue":                     # one that panics goes round and round at its end, and travels there are slow
        recorded_to_the_end(m)
        replay = f"-replay /tmp/log {GUEST}"
    else:
        replay = record(m, f"-mem 64 /guests/{guest}.elf", 100)
    run_check(m, f"identity_check {points} {kinds} {idt:x} {replay}", 300)
    run_check(m, f"travel_check {what} {idt:x} {replay}", 300)


def boot_with(lab, *guests):
    folder = lab.folder / "files"
    (folder / "guests").mkdir(parents=True, exist_ok=True)
    programs(folder / "guests")
    for name in guests:
        shutil.copy(BUILD / f"guests/{name}.elf", folder / "guests")
    return Boot(extra=str(folder))


@machine_test(cost=30)
def small_guests(lab):
    with lab.boot(boot_with(lab, "queue", "torture"), ips=linux.IPS) as m:
        small_guest(m, "queue", idt_of("queue"), 15, "interrupt", "row")
        small_guest(m, "torture", TORTURE_IDT, 30, "rep,interrupt,fault", "watches")


@machine_test(level="all", cost=150)
def small_guests_often(lab):
    with lab.boot(boot_with(lab, "queue", "torture"), ips=linux.IPS) as m:
        small_guest(m, "queue", idt_of("queue"), 60, "interrupt", "watches,row")
        small_guest(m, "torture", TORTURE_IDT, 200, TORTURE_KINDS, "watches,row")


@contextmanager
def recorded_debian(lab):
    """A machine with a recorded boot of Debian's kernel with 256 MB, and a few programs: (session, options)."""
    extra = linux.image_files(lab, "cloud")
    programs(f"{extra}/guests")
    options = ("-mem 256 -initrd /guests/initrd -append 'console=ttyS0 quiet rdinit=/roles role=programs'"
               " /guests/vmlinuz")
    with lab.boot(Boot(mem=1024, extra=extra), ips=linux.IPS) as m:
        yield m, record(m, options, 1200)


@machine_test(level="all", cost=300)
def debian(lab):
    with recorded_debian(lab) as (m, replay):
        run_check(m, f"identity_check 200 {LINUX_KINDS} {LINUX_IDT:x} {replay}", 1200)


@machine_test(level="all", cost=200)
def debian_travels(lab):
    with recorded_debian(lab) as (m, replay):
        run_check(m, f"travel_check watches,row {LINUX_IDT:x} {replay}", 1200)


@benchmark(cost=100)
def going_backwards(lab):
    with recorded_debian(lab) as (m, replay):
        figures = run_check(m, f"travel_check costs {LINUX_IDT:x} {replay}", 1200)
    faults = figures["next_with_copy"] - figures["next_alone"]
    goals = {"checkpoint of 256 MB": (figures["checkpoint"], 200_000),
             "its end": (figures["checkpoint_end"], None),
             "faults in 10 M instructions": (faults, None),
             "reverse-stepi": (figures["reverse_stepi"], 2_000_000)}
    return {name: {"VMkernel": value, **({"limit": goal, "goal": "met" if value <= goal else "missed"} if goal else {})}
            for name, (value, goal) in goals.items()}
