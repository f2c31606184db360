"""chrono from the workstation: record, replay, hunt, packs, logs through a serial line."""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from emu.bridge import Bridge
from emu.patience import patience
from harness import BUILD, TOP, Boot, Failure, machine_test
from test_guest import LINUX, own_guests

AREA = "chrono"
LIMIT = 300
GUEST = BUILD / "guests" / "exits.elf"
MEM = ("--mem", "64")


def chrono(lab, *words, status=0, limit=LIMIT, build=BUILD):
    """Runs chrono in the test's folder; returns (standard output, messages)."""
    command = [sys.executable, str(TOP / "tools/chrono"), *(str(word) for word in words)]
    done = subprocess.run(command, cwd=lab.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=os.environ | {"CHRONO_BUILD": str(build)}, timeout=limit * patience(), check=False)
    out, messages = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    if done.returncode != status:
        raise Failure(f"{' '.join(command[1:])}: status {done.returncode}, expected {status}\n{messages}{out[-2000:]}")
    return out, messages


def wanted(text, pattern):
    found = re.search(pattern, text, re.MULTILINE)
    if not found:
        raise Failure(f"no {pattern!r} in:\n{text}")
    return found


def fresh(lab, *names):
    for name in names:
        shutil.rmtree(lab.folder / name, ignore_errors=True)
        (lab.folder / name).unlink(missing_ok=True)


@machine_test(cost=20)
def record_replay_pack(lab):
    """With only the log given; without its image; from a pack; from a damaged pack."""
    fresh(lab, "guest.elf", "bug.chrono", "bug.chrono.json", "bug.chrono.tar.zst", "elsewhere")
    shutil.copy(GUEST, lab.folder / "guest.elf")
    recorded, messages = chrono(lab, "record", *MEM, "-o", "bug.chrono", "guest.elf")
    count = wanted(messages, r"recorded (\d+) instructions")[1]
    wanted(recorded, r"^end \d+ ok, 0 not ok")
    replayed, messages = chrono(lab, "replay", "bug.chrono")
    wanted(messages, f"replayed {count} instructions, all checks equal")
    if replayed != recorded:
        raise Failure(f"the replay's console differs:\n{recorded}\n----\n{replayed}")
    chrono(lab, "log", "pack", "bug.chrono")
    elsewhere = lab.folder / "elsewhere"
    elsewhere.mkdir()
    (lab.folder / "bug.chrono.tar.zst").rename(elsewhere / "bug.tar.zst")
    (lab.folder / "guest.elf").unlink()
    _, messages = chrono(lab, "replay", "bug.chrono", status=125)
    wanted(messages, r"is not here:\n  kernel guest\.elf, \d+ bytes, SHA-256 [0-9a-f]{64}")
    chrono(lab, "replay", "--image", GUEST, "bug.chrono")
    if chrono(lab, "replay", "elsewhere/bug.tar.zst")[0] != recorded:
        raise Failure("the pack's replay shows another console")
    wanted(chrono(lab, "log", "info", "elsewhere/bug.tar.zst")[0], "^ended ")
    pack = bytearray((elsewhere / "bug.tar.zst").read_bytes())
    pack[len(pack) // 2] ^= 1
    (elsewhere / "bad.tar.zst").write_bytes(pack)
    wanted(chrono(lab, "replay", "elsewhere/bad.tar.zst", status=125)[1], r"bad\.tar\.zst: damaged")


@machine_test(cost=12)
def damaged_logs(lab):
    """verify says where; a log of another machine's image is refused; what is no log is named."""
    chrono(lab, "record", *MEM, "-o", "log", GUEST)
    good = (lab.folder / "log").read_bytes()
    bad = bytearray(good)
    bad[-9] ^= 0x10
    (lab.folder / "bad").write_bytes(bad)
    shutil.copy(lab.folder / "log.json", lab.folder / "bad.json")
    wanted(chrono(lab, "log", "verify", "bad", status=1)[1], r"chunk \d+ has a wrong checksum at 0x[0-9a-f]+.*usable")
    wanted(chrono(lab, "replay", "bad", status=125)[1] , "wrong checksum")
    wanted(chrono(lab, "log", "verify", "log")[1], "all checks equal")
    (lab.folder / "text").write_text("no log at all")
    wanted(chrono(lab, "replay", "text", status=125)[1], "neither a log nor a pack")
    wanted(chrono(lab, "replay", "nothing", status=125)[1], "no such file")


@machine_test(cost=10)
def log_through_a_serial_line(lab):
    fresh(lab, "received")
    with lab.boot(Boot(extra=str(own_guests(lab)))) as m:
        bridge = Bridge(m.com2)
        m.check("vmx -record /tmp/exits.log -mem 64 /guests/exits.elf > /dev/null 2>&1")
        digest = m.check("sha256sum < /tmp/exits.log").split()[0]
        m.check("send-log /tmp/exits.log /dev/ttyS1")
        chrono(lab, "log", "receive", "-o", "received", f"127.0.0.1:{bridge.port}")
        bridge.close()
    here = subprocess.run(["sha256sum", lab.folder / "received"], stdout=subprocess.PIPE, check=True).stdout.decode()
    if here.split()[0] != digest:
        raise Failure("another file was received than was sent")
    chrono(lab, "replay", "--image", GUEST, "received")


@machine_test(cost=20)
def hunting(lab):
    """The kernel that fails now and then is caught; its log fails at the same instruction every time."""
    queue = BUILD / "guests/queue.elf"
    out, _ = chrono(lab, "hunt", "--mem", "32", "--seeds", "1..200", "--until", "panic", "-o", "caught", queue)
    found = wanted(out, r"^seed \d+: exit status 1, (\d+) instructions: caught: (panic: .*)\r?$")
    for _ in range(2):
        replayed, messages = chrono(lab, "replay", "caught")
        wanted(messages, f"replayed {found[1]} instructions, all checks equal")
        wanted(replayed, re.escape(found[2]))
    wanted(chrono(lab, "hunt", *MEM, "--seeds", "1..2", "-o", "nothing", GUEST, status=1)[0], "no run was caught, seeds 1 to 2")


# ---- an older version -----------------------------------------------------------------------------------

VERSION_1 = "cecaab3"                    # a commit whose vmx writes version 1 of the log


def older_build(lab):
    """A build folder that has that commit's vmx, and everything else of today."""
    source, build = lab.folder / "older", lab.folder / "older-build"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    archive = subprocess.run(["git", "-C", TOP, "archive", VERSION_1], stdout=subprocess.PIPE, check=False)
    if archive.returncode:
        raise Failure(f"commit {VERSION_1} is not in this repository's history: the test needs all of it")
    subprocess.run(["tar", "-x", "-C", source], input=archive.stdout, check=True)
    subprocess.run(["make", "-s", "-C", source, f"BUILD={build}", "WERROR=", build / "vmx"], check=True)
    for name in ("session.iso", "chrono-log"):
        (build / name).unlink(missing_ok=True)
        (build / name).symlink_to(BUILD / name)
    return build


@machine_test(level="all", cost=60)
def pack_of_an_older_version(lab):
    """It replays with its own vmx; today's says that it does not know that version."""
    fresh(lab, "old", "old.json", "old.tar.zst")
    build = older_build(lab)
    guest = BUILD / "guests/tasks.elf"              # which finds nothing wrong with the vmx of that time
    chrono(lab, "record", *MEM, "-o", "old", guest, build=build)
    chrono(lab, "log", "pack", "old", build=build)
    wanted(chrono(lab, "replay", "old.tar.zst")[1], "all checks equal")
    (lab.folder / "old.json").unlink()
    wanted(chrono(lab, "replay", "--image", guest, "old", status=125)[1], "version 1")


# ---- Debian ------------------------------------------------------------------------------------------

LINE = "console=ttyS0 quiet cryptomgr.notests mitigations=off rdinit=/bin/sh"
SCRIPT = r"""
# the guest's shell
wait ^/ # $
type head -c 100000 /dev/urandom | md5sum; echo $((6 * 7))\n
wait ^42
type poweroff -f\n
"""


@machine_test(level="all", cost=150)
def debian_typed_at(lab):
    """A script types at Debian; the graph is drawn; cut; replayed up to a place."""
    done = subprocess.run([TOP / "tools/linux-kernel", BUILD / LINUX, LINUX], stdout=subprocess.PIPE, check=True)
    kernel = Path(done.stdout.decode().strip())
    subprocess.run([TOP / "tools/initrd", "-o", lab.folder / "initrd"], check=True)
    (lab.folder / "script").write_text(SCRIPT)
    recorded, _ = chrono(lab, "record", "--mem", "128", "--append", LINE, "--initrd", "initrd", "--script", "script",
                         "-o", "debian", kernel, limit=600)
    digest = wanted(recorded, r"^[0-9a-f]{32}  -")[0]
    wanted(chrono(lab, "replay", "debian", limit=600)[0], digest)
    chrono(lab, "log", "graph", "-o", "debian.png", "debian")
    if (lab.folder / "debian.png").read_bytes()[:4] != b"\x89PNG":
        raise Failure("the graph is no picture")
