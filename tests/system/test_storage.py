"""Disks: our volumes are mounted and clean after power-off, other people's disks stay as they are."""
import hashlib
import re
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


# Writes files one after the other, says when each is on the disk, and keeps the disk busy besides:
# files that grow, are renamed and removed without waiting for anything.
WRITER = r"""
cd /vmfs/volumes/data;
(i=0; while :; do i=$((i + 1)); seq $i $((i + 3000)) > busy.$i; mv busy.$i old.$((i % 7)); mkdir -p d$i
  rmdir d$((i - 3)) 2> /dev/null; done) &
n=0; while :; do n=$((n + 1)); seq $n $((n + n * 977 % 9000)) | dd of=kept.$n conv=fsync 2> /dev/null && echo synced $n; done
"""


def kept_content(n):
    return "".join(f"{i}\n" for i in range(n, n + n * 977 % 9000 + 1)).encode()


def check_kept(path, last, folder):
    """e2fsck repairs the volume; every file that was reported as synced is there and whole."""
    done = subprocess.run([SBIN + "e2fsck", "-fy", path], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    if done.returncode not in (0, 1, 2):
        raise Failure(f"e2fsck ended with {done.returncode}:\n{done.stdout.decode()[-2000:]}")
    tool(SBIN + "e2fsck", "-fn", path)
    for n in range(1, last + 1):
        copy = folder / f"kept.{n}"
        copy.unlink(missing_ok=True)
        tool(SBIN + "debugfs", "-R", f"dump kept.{n} {copy}", path)
        if not copy.exists() or copy.read_bytes() != kept_content(n):
            raise Failure(f"kept.{n} of {last} is not what was synced")
        copy.unlink()


def power_cut(lab, block_size, synced):
    path = make_volume(lab, "data.img", 64, "-t", "ext2", "-b", str(block_size), "-L", "cv:data")
    with lab.boot(disks=[path]) as m:
        m.com1.send("stty -echo\n")
        m.com1.expect(r"# $", 20)
        m.com1.send(WRITER.replace("\n", " ").strip() + "\n")
        m.com1.expect(rf"^synced {synced}$", 120)
        m.running.process.kill()
        m.running.process.wait()
        m.com1.wait_closed(5)
        last = max(int(n) for n in re.findall(r"^synced (\d+)$", m.com1.text(), re.MULTILINE))
    check_kept(path, last, lab.folder)


@machine_test(emus=("bochs", "qemu"), cost=10)
def power_cut_early(lab):
    power_cut(lab, 1024, 2)


@machine_test(emus=("bochs", "qemu"), cost=20)
def power_cut_later(lab):
    power_cut(lab, 4096, 9)


@machine_test(emus=("bochs", "qemu"), level="all", cost=120)
def power_cut_many_times(lab):
    for synced in (1, 3, 5, 8, 13, 21, 34):
        power_cut(lab, 1024 if synced % 2 else 4096, synced)
