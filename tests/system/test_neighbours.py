"""Neighbours: guests of all sizes and intentions at once; whatever becomes of one, the others go on."""
import re
import shutil
import subprocess

from guests import own_lines, replayed
from harness import BUILD, TOP, Boot, Failure, machine_test

AREA = "Guests"
PACKAGE = "linux-image-cloud-amd64"
# With SMAP, Bochs keeps no translation of a user page for the kernel: each byte that is copied to or from a program
# costs a walk of both page tables, 0.7 us of the workstation's time, and 400 MB of them would take ten minutes.
LINE = "console=ttyS0 quiet panic=-1 rdinit=/role cryptomgr.notests nosmap"
SLACK = 1024                     # KB that may be missing in the end
LIMIT = 400                      # seconds for a boot on a busy workstation

# A Linux guest fills memory, then works until it is told to stop: the sum of a file, again and again.
ROLE = """#!/bin/sh
mount -t proc proc /proc
mount -t devtmpfs dev /dev
mount -t tmpfs -o size=90% tmpfs /tmp
echo "$role: started with $(awk '/^MemTotal/ { print $2 }' /proc/meminfo) KB"
dd if=/dev/zero of=/tmp/fill bs=1M count=$fill 2> /dev/null
round=0
while ! read -t 1 word; do
    round=$((round + 1))
    yes "$role" | head -c 1000000 > /tmp/file
    echo "$role: round $round $(md5sum < /tmp/file)"
    [ "$role" = crash ] && [ $round = 3 ] && echo c > /proc/sysrq-trigger
done
echo "$role: told to $word after $round rounds"
poweroff -f
"""

# name: (memory in MB, kernel, MB that it fills, more of its command line). The kernel's own unpacker wants 68 MB, so
# the smallest is given the unpacked one, and does without the nodes of thousands of tracepoints and the like.
FRUGAL = "initcall_blacklist=tracer_init_tracefs cgroup_disable=memory apparmor=0 ipv6.disable=1 audit=0"
LINUX = {"small": (64, "vmlinux", 4, FRUGAL), "large": (1024, "vmlinuz", 400, ""), "crash": (128, "vmlinuz", 20, "")}

# What crash.elf does to itself: (exit status of vmx, what vmx says, what the kernel's log says).
CRASHES = {
    "triple": (128, "triple fault on vCPU 0", None),
    "fetch": (126, "in KVM", "vmm: vCPU 0 of process"),
    "tables": (126, "in KVM", "vmm: vCPU 0 of process"),
    "stack": (126, "in KVM", "vmm: vCPU 0 of process"),
    "fxsave": (126, "in KVM", "vmm: vCPU 0 of process"),
}


def guest_disk(lab):
    """A volume with the guests' files: too much for the image, which is read through the BIOS."""
    folder = lab.folder / "files"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for guest in ("attack", "crash", "exits"):
        shutil.copy(BUILD / f"guests/{guest}.elf", folder)
    done = subprocess.run([TOP / "tools/linux-kernel", BUILD / PACKAGE, PACKAGE], stdout=subprocess.PIPE, check=True)
    shutil.copy(done.stdout.decode().strip(), folder / "vmlinuz")
    subprocess.run([TOP / "tools/vmlinux", folder / "vmlinuz", folder / "vmlinux"], check=True)
    tree = lab.folder / "guest-tree"
    tree.mkdir(exist_ok=True)
    (tree / "role").write_text(ROLE)
    (tree / "role").chmod(0o755)
    subprocess.run([TOP / "tools/initrd", "-o", folder / "initrd", "--tree", tree], check=True)
    disk = lab.disk("guests.img", 96)
    subprocess.run(["/sbin/mke2fs", "-q", "-F", "-t", "ext2", "-L", "cv:guests", "-d", folder, disk], check=True)
    return disk


def free_memory(m):
    """In KB; what keeps files of disks is free when it is needed."""
    return int(m.check("awk '/^MemAvailable/ { print $2 }' /proc/meminfo").split()[-1])


def linux_options(role):
    memory, kernel, fill, more = LINUX[role]
    return (f"-mem {memory} -no-reboot -initrd /guests/initrd -append '{LINE} role={role} fill={fill} {more}' "
            f"/guests/{kernel}")


def start_linux(m, role, number):
    """Recorded, in the background; its keyboard is a pipe that the shell holds open as descriptor `number`."""
    m.check(f"mkfifo /tmp/{role}.keys; exec {number}<>/tmp/{role}.keys")
    output = m.check(f"vmx -record /tmp/{role}.log -log /tmp/{role}.messages {linux_options(role)} "
                     f"< /tmp/{role}.keys > /tmp/{role} & echo pid $!")
    return re.search(r"^pid (\d+)$", output, re.MULTILINE)[1]


def wait_for(m, role, text):
    """Until the guest has written that; or vmx has something to say, which it has only in the end."""
    m.check(f"for i in $(seq {LIMIT}); do grep -q '{text}' /tmp/{role} && break; [ -s /tmp/{role}.messages ] && break; sleep 1; done; "
            f"grep '{text}' /tmp/{role} || {{ cat /tmp/{role} /tmp/{role}.messages; false; }}", limit=LIMIT)


def rounds(m, role):
    return [line.split() for line in m.check(f"grep round /tmp/{role}").splitlines() if ": round " in line]


def crash(m, way):
    """The guest ends as it must, with a report that tells how."""
    status, said, logged = CRASHES[way]
    output, got = m.sh(f"dmesg -c > /dev/null; vmx -mem 64 -append {way} /guests/crash.elf 2>&1 < /dev/null", LIMIT)
    if got != status or said not in output or f"going: {way}" not in output:
        raise Failure(f"crash.elf {way}: status {got}, expected {status}:\n{output}")
    log = m.check("dmesg")
    report = output if logged is None else log
    if logged and logged not in log:
        raise Failure(f"crash.elf {way}: no {logged!r} in the kernel's log:\n{log}")
    for part in ("rax", "cr3", "idtr", "rip", "exit"):
        if part not in report:
            raise Failure(f"crash.elf {way}: no {part!r} in the report:\n{report}")


@machine_test(level="all", cost=200)
def all_kinds_at_once(lab):
    with lab.boot(Boot(mem=1400), disks=[guest_disk(lab)], ips=100_000_000) as m:
        m.check("ln -s /vmfs/volumes/guests /guests")
        m.check("vmx -mem 64 /guests/exits.elf > /dev/null")     # what is loaded once stays loaded
        before = free_memory(m)
        pids = {role: start_linux(m, role, number) for number, role in enumerate(LINUX, 5)}
        for role in ("small", "large"):
            wait_for(m, role, f"{role}: round 1 ")
        wait_for(m, "crash", "crash: started")
        done = {role: len(rounds(m, role)) for role in ("small", "large")}

        for way in CRASHES:
            crash(m, way)
        m.sh("vmx -mem 64 -console null /guests/attack.elf > /dev/null 2>&1 < /dev/null", LIMIT)
        halted = re.search(r"^pid (\d+)$", m.check("vmx -mem 64 -append halt /guests/crash.elf > /tmp/halt < /dev/null "
                                                    "& echo pid $!"), re.MULTILINE)[1]
        wait_for(m, "halt", "going: halt")
        m.check(f"kill -9 {halted}")
        m.check(f"wait {halted}; echo status $?", re.compile("status 137"))
        m.check(f"wait {pids['crash']}; echo status $?", re.compile("status 127"), limit=LIMIT)
        m.check("grep 'Kernel panic' /tmp/crash")
        m.check("vmx -mem 64 /guests/exits.elf", re.compile(r"^end \d+ ok, 0 not ok", re.MULTILINE))

        for number, role in enumerate(("small", "large"), 5):
            wait_for(m, role, f"{role}: round {done[role] + 2} ")     # it still works
            m.check(f"echo stop >&{number}")
            m.check(f"wait {pids[role]}; echo status $?", re.compile("status 0"), limit=LIMIT)
            m.check(f"grep '{role}: told to stop' /tmp/{role}")
            sums = {line[3] for line in rounds(m, role)}
            if len(sums) != 1:
                raise Failure(f"{role} computed different things: {own_lines(m.check(f'cat /tmp/{role}'))}")
        for role in LINUX:                   # alone and without its keyboard, each is as it was
            replayed(m, f"{linux_options(role)} > /tmp/{role}.again", f"/tmp/{role}.log", LIMIT)
            m.check(f"cmp /tmp/{role} /tmp/{role}.again")
        for number in range(5, 5 + len(LINUX)):
            m.check(f"exec {number}>&-")
        m.check("rm /tmp/small* /tmp/large* /tmp/crash* /tmp/halt*")
        lost = before - free_memory(m)
        if lost > SLACK:
            raise Failure(f"{lost} KB of memory are gone after all these guests")
