"""chrono doctor: what this workstation can do, found by trying."""
import os
import re
import shutil
import subprocess
from pathlib import Path

from emu import EmuError
from emu.probe import probe

HERE = Path(__file__).resolve().parent
GOOD, BAD, NOTE = "yes ", "NO  ", "    "


def say(mark, text):
    print(f"  {mark} {text}")


def first_line(command, pattern):
    """The first match of the pattern in what a command prints."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(pattern, done.stdout.decode(errors="replace"))
    return found[0] if found else None


def packages():
    print("Packages")
    missing = subprocess.run([HERE / "deps", "--missing"], stdout=subprocess.PIPE,
                             check=False).stdout.decode().split()
    if not missing:
        say(GOOD, "everything that building and testing needs is installed")
        return True
    say(BAD, f"missing: {' '.join(missing)}")
    say(NOTE, f"install: sudo apt-get install {' '.join(missing)}")
    return False


def try_probe(emu, **settings):
    """(abilities, None) or (None, reason)."""
    try:
        return probe(emu, **settings), None
    except EmuError as error:
        said = [line for line in str(error).splitlines() if line.startswith("  | ")]
        return None, (said[-1][4:] if said else error.message)


def bochs(quick):
    print("Bochs (the default emulator)")
    program = shutil.which("bochs-bin") or shutil.which("bochs")
    if not program:
        say(BAD, "not installed: VT-x is emulated by nothing else here")
        return False
    version = first_line([program, "--help"], r"Bochs x86 Emulator [\w.]+")
    say(GOOD, f"{version or 'Bochs, of unknown version'} ({program})")
    if quick:
        return True
    found, reason = try_probe("bochs")
    if not found:
        say(BAD, f"does not start: {reason}")
        return False
    say(GOOD if found.vmx and found.ept and found.unrestricted else BAD, found.sentence())
    say(GOOD if found.exact_clock else BAD,
        "its time-stamp counter " + ("counts instructions exactly" if found.exact_clock
                                     else f"is not exact ({found.tsc_delta} in the test loop)"))
    return True


def qemu(quick):
    print("QEMU (software CPU, make … EMU=qemu)")
    if not shutil.which("qemu-system-x86_64"):
        say(BAD, "not installed")
        return False
    say(GOOD, first_line(["qemu-system-x86_64", "--version"], r"QEMU emulator version [\d.]+")
        or "QEMU, of unknown version")
    if quick:
        return True
    found, reason = try_probe("qemu")
    if not found:
        say(BAD, f"does not start: {reason}")
        return False
    say(NOTE, found.sentence() + (": runs VMkernel and UserWorlds, no guests" if not found.vmx
                                  else ""))
    return True


def kvm(quick):
    print("KVM (QEMU with this machine's own VT-x, make … EMU=kvm)")
    if not os.path.exists("/dev/kvm"):
        say(NOTE, "there is no /dev/kvm; it is not needed")
        return
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        say(BAD, "/dev/kvm may not be opened by you: add yourself to the group kvm")
        return
    say(GOOD, "/dev/kvm is there")
    for vendor in ("intel", "amd"):
        path = Path(f"/sys/module/kvm_{vendor}/parameters/nested")
        if path.exists():
            on = path.read_text().strip() in ("1", "Y")
            say(GOOD if on else NOTE, f"kvm_{vendor} nested virtualization is "
                + ("on" if on else f"off: modprobe kvm_{vendor} nested=1"))
    if quick:
        return
    found, reason = try_probe("kvm")
    if found:
        say(GOOD if found.vmx else NOTE, f"in a KVM guest there is {found.sentence()}")
    else:
        say(NOTE, f"but a guest does not start here: {reason}")


def report(quick=False):
    """Prints the report; 0 when this workstation can build and run Chronovisor."""
    good = packages()
    good = bochs(quick) and good
    qemu(quick)
    kvm(quick)
    print("This workstation " + ("can build, run and test Chronovisor." if good
                                 else "cannot do everything yet: see NO above."))
    return 0 if good else 1
