"""chrono run: a kernel as a guest of Chronovisor in an emulator, its console on this terminal.

Builds an image for the occasion: VMkernel, vmx, the kernel and what belongs to it, and a first
program that starts vmx with them. Disks become disks of the emulated machine.
"""
import argparse
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from emu import EmuError

TOOLS = Path(__file__).resolve().parent
BUILD = Path(os.environ.get("CHRONO_BUILD", TOOLS.parent / "build"))
HOST_MEMORY = 96                                        # MiB for VMkernel and vmx beside the guest
DISK_NAMES = ["/dev/hda", "/dev/hdb", "/dev/hdd"]       # hdc is the CD that the machine boots from


def add_arguments(parser):
    parser.add_argument("kernel", help="Linux bzImage, Multiboot 1 or 2 kernel, or boot sector")
    parser.add_argument("--append", default="", metavar="S", help="its command line")
    parser.add_argument("--initrd", action="append", default=[], metavar="F",
                        help="initial RAM disk, or a Multiboot module (several)")
    parser.add_argument("--disk", action="append", default=[], metavar="F",
                        help="disk image; the guest's writes are kept aside, the file is not changed")
    parser.add_argument("--mem", type=int, default=256, metavar="M", help="its memory, MiB (256)")
    parser.add_argument("--cpus", type=int, default=1, metavar="N", help="its processors (1)")
    parser.add_argument("--vmx", action="append", default=[], metavar="OPTION",
                        help="passed to vmx as it is, for example --vmx=-v (several)")
    parser.add_argument("--emu", default="bochs", choices=["bochs", "kvm"], help="the machine")
    parser.add_argument("--ips", type=int, default=100_000_000, help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=float, default=3600, metavar="S", help="give up after seconds")


def vmx_command(args):
    command = ["vmx", "-kernel", "/run/guest/" + Path(args.kernel).name, "-mem", str(args.mem),
               "-cpus", str(args.cpus)]
    if args.append:
        command += ["-append", args.append]
    for path in args.initrd:
        command += ["-initrd", "/run/guest/" + Path(path).name]
    for name, _ in zip(DISK_NAMES, args.disk):
        command += ["-disk", name]
    return command + args.vmx


def make_tree(args, tree):
    """The files that the image needs besides the usual ones."""
    guest = tree / "run" / "guest"
    guest.mkdir(parents=True)
    for path in [args.kernel, *args.initrd]:
        if not Path(path).is_file():
            raise EmuError(f"{path}: no such file")
        shutil.copy(path, guest)
    start = guest / "start"
    start.write_text("#!/bin/sh\nexec " + shlex.join(vmx_command(args)) + "\n")
    start.chmod(0o755)


def make_image(args, work):
    for needed in ("vmx", "chronovisor.elf"):
        if not (BUILD / needed).exists():
            raise EmuError(f"{BUILD / needed} is missing: run make first")
    make_tree(args, work / "tree")
    subprocess.run([TOOLS / "initrd", "-o", work / "initrd.cpio", "--bin", BUILD / "vmx",
                    "--tree", work / "tree"], check=True)
    image = work / "guest.iso"
    subprocess.run([TOOLS / "mkiso", "-o", image, "-c",
                    "console=ttyS0 loglevel=4 init=/run/guest/start", BUILD / "chronovisor.elf",
                    work / "initrd.cpio"], check=True, env=os.environ | {"LARGE_IMAGE": "1"})
    return image


def run(args):
    if len(args.disk) > len(DISK_NAMES):
        raise EmuError(f"at most {len(DISK_NAMES)} disks")
    with tempfile.TemporaryDirectory(prefix="chrono-") as work:
        image = make_image(args, Path(work))
        command = [TOOLS / "boot", "--emu", args.emu, "--mem", str(args.mem + HOST_MEMORY), "--ips",
                   str(args.ips), "--limit", str(args.limit)]
        for disk in args.disk:
            command += ["--disk", disk]
        if os.isatty(0) and os.isatty(1):
            command.append("--interactive")
        return subprocess.run([*command, image]).returncode
