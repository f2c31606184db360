"""Guests that are no teaching kernels and no Linux: recorded while somebody types, and replayed."""
import gzip
import shutil
import subprocess
from pathlib import Path

from harness import BUILD, TOP, Failure, machine_test
from test_chrono import chrono, wanted

AREA = "Guests"
LIMIT = 600
GENERIC = "linux-image-amd64"

# memtest86+ 6 draws its screen on the serial line, too, every two seconds: quick tests are not seen. Escape leaves it.
MEMTEST = r"""
wait Moving inversions, (8|64) bit
wait Errors: 0
type \x1b
"""

# Xen hands its console to the first domain: the shell is Linux's, on Xen.
XEN = r"""
wait ^/ # 
type mkdir /sys; mount -t sysfs sys /sys; cat /sys/hypervisor/type; dmesg | grep -c 'Booting kernel on Xen'\n
wait ^xen\s+1\s
type poweroff -f\n
"""


def debian_files(package, pattern):
    """The path of the one file that matches."""
    folder = BUILD / "foreign" / package.rstrip("*")
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([TOP / "tools/debian-files", folder, package, pattern], check=True)
    return next(folder.glob(pattern))


def there_and_back(lab, script, *words, status=0):
    """Recorded with that typed at it, and replayed; returns what was on the console."""
    (lab.folder / "script").write_text(script)
    recorded, _ = chrono(lab, "record", "--script", "script", "-o", "log", *words, status=status, limit=LIMIT)
    replayed, messages = chrono(lab, "replay", "log", limit=LIMIT)
    wanted(messages, "all checks equal")
    if replayed != recorded:
        raise Failure(f"the replay's console differs:\n{recorded}\n----\n{replayed}")
    return recorded


@machine_test(level="all", cost=120)
def memtest(lab):
    """A program of 32 and 64 bits that maps, writes and moves itself over all of memory."""
    kernel = debian_files("memtest86+", "./boot/memtest86+x64.bin")
    there_and_back(lab, MEMTEST, "--mem", "8", "--cpus", "2", "--append", "console=ttyS0,115200", "--vmx=-no-reboot",
                   kernel, status=127)


@machine_test(level="all", cost=300)
def xen_with_debian(lab):
    """A hypervisor (Multiboot 2), and on it Debian's kernel as its first domain. Without real mode, since no BIOS is there."""
    packed = debian_files("xen-hypervisor-4*", "./boot/xen-*-amd64.gz")
    (lab.folder / "xen.elf").write_bytes(gzip.decompress(packed.read_bytes()))
    done = subprocess.run([TOP / "tools/linux-kernel", BUILD / GENERIC, GENERIC], stdout=subprocess.PIPE, check=True)
    subprocess.run([TOP / "tools/initrd", "-o", lab.folder / "initrd"], check=True)
    line = ("xen console=com1 com1=115200,8n1 no-real-mode dom0_mem=200M "
            "-- console=hvc0 quiet rdinit=/bin/sh cryptomgr.notests")
    recorded = there_and_back(lab, XEN, "--mem", "384", "--append", line, "--initrd", Path(done.stdout.decode().strip()),
                              "--initrd", "initrd", "--vmx=-no-reboot", "xen.elf")
    wanted(recorded, r"Xen version 4\.")
