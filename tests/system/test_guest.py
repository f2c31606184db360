"""Guests: kernels that run under vmx on VMkernel, recorded and replayed."""
import re
import shutil
import subprocess
from pathlib import Path

from guests import own_lines, twins
from harness import BUILD, TOP, Boot, Failure, machine_test

AREA = "Guests"
IPS = 100_000_000
LINUX = "linux-image-cloud-amd64"
LINUX_LINE = "console=ttyS0 quiet rdinit=/work"
SHORT_LINE = f"{LINUX_LINE} cryptomgr.notests"        # 0.6 instead of 1.5 thousand million instructions
ALL_OK = r"^end \d+ ok, 0 not ok"

# Every kernel of tests/guests: (more options, what it writes, vmx's exit status). A hostile guest may end in any way.
OWN_GUESTS = {
    "exits.elf": [("", ALL_OK, 0)],
    "tasks.elf": [("", ALL_OK, 0)],
    "attack.elf": [("", None, None)],
    "crash.elf": [("-append triple", "^going: triple", 128)] +
                 [(f"-append {way}", f"^going: {way}", 126) for way in ("fetch", "tables", "stack", "fxsave")],
    "debuggee.elf": [("", ALL_OK, 0), ("-cpus 2", ALL_OK, 0)],
    "queue.elf": [("", "^(ok: 400 rounds|panic)", None)],
    "race.elf": [("-cpus 2", ALL_OK, 0), ("-cpus 4", ALL_OK, 0)],
    "torture.elf": [("-append 5000", "^torture: 5000 rounds", 0)],
    "marathon.elf": [("-append 10", "^marathon: ", 0)],
    "compute.elf": [("", "^computed ", 0)],
    "modes.bin": [("", None, 5)],
}
LONG_GUEST = "compute.elf"                            # 280 million instructions
WORK = """#!/bin/sh
mount -t proc proc /proc
mount -t devtmpfs dev /dev
echo guest: $(uname -s) with $(grep -c ^processor /proc/cpuinfo) processors
seq 1 2000 | sort -rn | md5sum
head -c 65536 /dev/urandom | md5sum
sleep 1
date
poweroff -f
"""


def own_guests(lab):
    """A folder for the image with our guest kernels in it."""
    folder = lab.folder / "files"
    (folder / "guests").mkdir(parents=True, exist_ok=True)
    for guest in OWN_GUESTS:
        shutil.copy(BUILD / "guests" / guest, folder / "guests")
    return folder


def linux_guest(lab):
    """The same with Debian's kernel and an initial file system that does some work."""
    folder = own_guests(lab)
    done = subprocess.run([TOP / "tools/linux-kernel", BUILD / LINUX, LINUX], stdout=subprocess.PIPE, check=True)
    shutil.copy(done.stdout.decode().strip(), folder / "guests/vmlinuz")
    tree = lab.folder / "guest-tree"
    tree.mkdir(exist_ok=True)
    (tree / "work").write_text(WORK)
    (tree / "work").chmod(0o755)
    subprocess.run([TOP / "tools/initrd", "-o", folder / "guests/work.cpio", "--tree", tree], check=True)
    return folder


@machine_test(cost=15)
def every_exit(lab):
    with lab.boot(Boot(extra=str(own_guests(lab)))) as m:
        m.check("vmx -mem 64 /guests/exits.elf", re.compile(ALL_OK, re.MULTILINE))
        m.check("vmx -mem 64 /guests/tasks.elf", re.compile(ALL_OK, re.MULTILINE))
        # Whatever a hostile guest does, the machine and its memory are as before.
        m.sh("vmx -mem 64 /guests/attack.elf > /dev/null 2>&1")
        before = int(m.check("awk '/^MemFree/ { print $2 }' /proc/meminfo").split()[-1])
        m.sh("vmx -mem 64 /guests/attack.elf > /dev/null 2>&1")
        after = int(m.check("awk '/^MemFree/ { print $2 }' /proc/meminfo").split()[-1])
        if before - after > 512:
            raise Failure(f"{before - after} KB of memory are gone after a guest")
        m.check("vmx -mem 64 /guests/exits.elf", re.compile(ALL_OK, re.MULTILINE))


def replay_own_guests(lab, guests):
    """Each is recorded, ends as it must, and replays equally; crashes do, too."""
    quiet = "loglevel=1"         # what VMkernel says of crashes would be amid what the guests write
    with lab.boot(Boot(cmdline=quiet, extra=str(own_guests(lab))), ips=IPS) as m:
        for guest in guests:
            for options, wanted, status in OWN_GUESTS[guest]:
                twins(m, f"-mem 64 {options} /guests/{guest}", wanted, status=status)


@machine_test(cost=20)
def own_guests_replayed(lab):
    folders = {folder.name for folder in (TOP / "tests/guests").iterdir() if folder.is_dir()} - {"lib"}
    if folders != {Path(guest).stem for guest in OWN_GUESTS}:
        raise Failure(f"the guests of tests/guests are not those that are recorded here: {sorted(folders)}")
    replay_own_guests(lab, [guest for guest in OWN_GUESTS if guest != LONG_GUEST])


@machine_test(level="all", cost=40)
def long_guest_replayed(lab):
    replay_own_guests(lab, [LONG_GUEST])


@machine_test(cost=12)
def record_and_replay(lab):
    run = "-mem 64 /guests/exits.elf"
    with lab.boot(Boot(extra=str(own_guests(lab)))) as m:
        m.check(f"vmx -record /tmp/log {run} > /tmp/first 2>&1; tail -1 /tmp/first", re.compile(r"recorded \d+ instructions"))
        for _ in range(3):
            m.check(f"vmx -replay /tmp/log {run} > /tmp/again", re.compile("all checks equal"))
        m.check("grep -v ^vmx /tmp/first > /tmp/one; cmp /tmp/one /tmp/again")
        m.check("chrono-log verify /tmp/log", re.compile("^sound"))
        # Another machine is refused, naming what differs; a damaged log says where and how much is usable.
        output, status = m.sh("vmx -replay /tmp/log -mem 32 /guests/exits.elf")
        if status != 125 or 'recorded "memory 67108864"' not in output:
            raise Failure(f"another memory size: status {status}: {output}")
        m.check("s=$(stat -c %s /tmp/log); printf X | dd of=/tmp/log bs=1 seek=$((s - 9)) conv=notrunc 2> /dev/null")
        output, status = m.sh(f"vmx -replay /tmp/log {run} > /dev/null")
        if status == 0 or "chunk 0 has a wrong checksum" not in output or "usable" not in output:
            raise Failure(f"damaged log: status {status}: {output}")


@machine_test(cost=60)
def debian_kernel(lab):
    with lab.boot(Boot(extra=str(linux_guest(lab))), ips=IPS) as m:
        output = twins(m, f"-mem 128 -initrd /guests/work.cpio -append '{SHORT_LINE}' /guests/vmlinuz", limit=200)
        if "guest: Linux with 1 processors" not in output or len(re.findall(r"^[0-9a-f]{32} ", output, re.MULTILINE)) != 2:
            raise Failure(f"the guest did not do its work:\n{output}")


@machine_test(level="all", cost=60)
def debian_by_its_32_bit_entry(lab):
    """A bzImage that says it has no 64-bit entry is started in 32-bit mode. Debian's has both."""
    folder = linux_guest(lab)
    image = bytearray((folder / "guests/vmlinuz").read_bytes())
    image[0x236] &= ~1                                  # xloadflags: XLF_KERNEL_64
    (folder / "guests/vmlinuz").write_bytes(image)
    with lab.boot(Boot(extra=str(folder)), ips=IPS) as m:
        m.check(f"vmx -mem 128 -initrd /guests/work.cpio -append '{SHORT_LINE}' /guests/vmlinuz",
                re.compile("guest: Linux with 1 processors"), limit=200)


@machine_test(level="all", cost=150)
def debian_replayed_elsewhere(lab):
    """Recorded; replayed in a second boot with another speed, other memory: equal to the last hash."""
    disk = lab.disk("logs.img", 16)
    subprocess.run(["mke2fs", "-q", "-t", "ext2", "-L", "cv:logs", disk], check=True)
    folder = linux_guest(lab)
    run = f"-mem 256 -initrd /guests/work.cpio -append '{LINUX_LINE}' /guests/vmlinuz"
    with lab.boot(Boot(mem=448, extra=str(folder)), disks=[disk], ips=IPS) as m:
        recorded = m.check(f"vmx -record /vmfs/volumes/logs/linux.log {run}", re.compile("recorded"), limit=300)
        m.com1.send("poweroff\n")
        m.powers_off(60)
    with lab.boot(Boot(mem=512, extra=str(folder)), disks=[disk], ips=60_000_000) as m:
        replayed = m.check(f"vmx -replay /vmfs/volumes/logs/linux.log {run}", re.compile("all checks equal"), limit=400)
    if own_lines(recorded) != own_lines(replayed):
        raise Failure(f"the replay printed something else:\n{recorded}\n----\n{replayed}")
