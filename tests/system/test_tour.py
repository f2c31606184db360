"""A tour of commands whose output must be what Linux gives.

tour.txt has a command a line. They run here, on the workstation's Linux with the image's own files
as root folder, and in VMkernel; standard output, errors and status must be equal.
"""
import os
import shutil
import subprocess
import tempfile

from emu.patience import patience
from harness import BUILD, TOP, Boot, Failure, shell_test

AREA = "60 commands as under Linux"
LIMIT = 60


def commands():
    lines = (TOP / "tests/system/tour.txt").read_text().splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def under_linux(wanted):
    """[(output, status)] of each command, in a folder made of the initial file system."""
    root = tempfile.mkdtemp(prefix="chrono-tour-")
    enter = [] if os.geteuid() == 0 else ["unshare", "-r"]
    try:
        with open(BUILD / "initrd-test.cpio", "rb") as archive:
            subprocess.run(["/bin/busybox", "cpio", "-id"], cwd=root, stdin=archive,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        open(f"{root}/dev/null", "wb").close()
        with open(f"{root}/dev/zero", "wb") as zero:          # long enough for the tour
            zero.truncate(4 << 20)
        results = []
        for command in ["mkdir -p tour"] + wanted:
            done = subprocess.run(
                enter + ["chroot", root, "/bin/sh", "-c", line_of(command)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                env={"PATH": "/bin:/sbin:/usr/bin:/usr/sbin", "HOME": "/root", "TERM": "linux"},
                timeout=LIMIT * patience(), check=False)
            results.append((done.stdout.decode(errors="replace").strip("\n"), done.returncode))
        return results[1:]
    finally:
        shutil.rmtree(root, ignore_errors=True)


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def line_of(command):
    """The command in a shell of its own, its output by way of a file: no terminal is involved."""
    return (f"/bin/sh -c {quoted('cd /tmp; ' + command)} < /dev/null > /root/out 2>&1; "
            "sh -c \"cat /root/out; exit $?\"")


@shell_test(Boot(mem=512), emus=("bochs", "qemu"), cost=20)
def tour(m):
    wanted = commands()
    m.check("mkdir -p /tmp/tour")
    wrong = []
    for command, (output, status) in zip(wanted, under_linux(wanted)):
        got = m.sh(line_of(command), LIMIT)
        if got != (output, status):
            wrong.append(f"{command}\n  Linux ({status}): {output[:400]}\n"
                         f"  here ({got[1]}): {got[0][:400]}")
    if wrong:
        raise Failure(f"{len(wrong)} of {len(wanted)} commands differ:\n" + "\n".join(wrong))
