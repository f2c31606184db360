"""Disks: our volumes are mounted and clean after power-off, other people's disks stay as they are."""
import hashlib
import struct
import subprocess

from harness import Failure, machine_test

AREA = "Disk file system"
SBIN = "/usr/sbin/"


def tool(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise Failure(f"{' '.join(command)} says:\n{done.stdout.decode(errors='replace')}")
    return done.stdout.decode(errors="replace")


def make_volume(lab, name, size_mib, *options):
    path = lab.disk(name, size_mib)
    tool(SBIN + "mke2fs", "-q", "-F", *options, path)
    return path


def dirty_ext4(lab):
    """An ext4 disk as a power cut leaves it: not clean, its journal to be replayed."""
    path = make_volume(lab, "foreign.img", 16, "-t", "ext4", "-L", "cv:foreign")
    with open(path, "r+b") as file:
        file.seek(1024)
        block = bytearray(file.read(1024))
        struct.pack_into("<H", block, 58, struct.unpack_from("<H", block, 58)[0] & ~1)
        struct.pack_into("<I", block, 96, struct.unpack_from("<I", block, 96)[0] | 4)
        file.seek(1024)
        file.write(block)
    return path


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


@machine_test(emus=("bochs", "qemu"), cost=20)
def volumes(lab):
    """1 KiB and 4 KiB volumes, used hard; a dirty ext4 disk that even carries the mark."""
    small = make_volume(lab, "small.img", 16, "-t", "ext2", "-b", "1024", "-L", "cv:small")
    large = make_volume(lab, "large.img", 64, "-t", "ext2", "-b", "4096", "-L", "cv:large")
    foreign = dirty_ext4(lab)
    before = digest(foreign)
    with lab.boot(disks=[small, large, foreign]) as m:
        m.check("ls -1 /vmfs/volumes", "large\nsmall")
        for name in ("small", "large"):
            m.check(f"/test/t_disk /vmfs/volumes/{name} | tail -n 1 | grep ', 0 not ok'", limit=120)
        m.check("cp /bin/busybox /vmfs/volumes/large/kept && sync")
        m.check("dmesg | grep 'cv:foreign.*left alone'")
        m.check("! mount -t ext2 /dev/hdd /tmp")
        m.com1.send("poweroff -f\n")
        m.powers_off(60)
    for path in (small, large):
        tool(SBIN + "e2fsck", "-fn", path)
    if digest(foreign) != before:
        raise Failure("the foreign disk was written")
    if "kept" not in tool(SBIN + "debugfs", "-R", "ls", large):
        raise Failure("the file that was copied is not on the volume")
