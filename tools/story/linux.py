"""Debian's kernel as the guest of the demo: its files, what is typed at it, and the machine that records it."""
import re
import shutil
import subprocess
import threading

from datadisk import DataDisk, fetch
from emu import EmuError
from emu.console import clean
from session import BUILD, TOOLS, built
from story.machines import MachineShell

PACKAGE = "linux-image-cloud-amd64"
MODULES = ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"]
LINE = "console=ttyS0 quiet cryptomgr.notests mitigations=off rdinit=/sbin/init"
MEMORY, HOST_MEMORY = 128, 96                          # MiB
DISK_SIZE = 16 << 20
SEEDS = [1, 2, 3, 4, 5]
PROMPT = r"^guest# $"
ADDITIONS = 3_000_000                                  # of the racy program, per thread
# What is typed at the guest, each line when there is a prompt.
TYPED = ["uname -r; nproc",
         "mount -t ext4 /dev/vda /mnt; cat /mnt/greeting; head -c 500000 /dev/urandom > /mnt/random; sync",
         "md5sum /mnt/random; umount /mnt",
         f"racer {ADDITIONS}",
         "poweroff"]
RACE = re.compile(r"^racer: (\d+) of (\d+) additions$", re.MULTILINE)
BOOT_LIMIT = 240                                       # seconds, for slow workstations


def prepare(folder):
    """Makes the guest's files in `folder` once: vmlinuz, initrd, disk.img."""
    folder.mkdir(parents=True, exist_ok=True)
    kernel = BUILD / "linux-guests" / "cloud"
    done = subprocess.run([TOOLS / "linux-kernel", kernel, PACKAGE, "modules"], stdout=subprocess.PIPE, check=True)
    shutil.copy(done.stdout.decode().strip(), folder / "vmlinuz")
    tree = folder / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    for name in ("mnt", "etc", "bin"):
        (tree / name).mkdir(parents=True)
    subprocess.run([TOOLS / "guest-modules", kernel, tree, *MODULES], check=True)
    shutil.copy(built("worlds/racer"), tree / "bin")
    profile = (TOOLS.parent / "image/rootfs/etc/profile").read_text()
    (tree / "etc/profile").write_text(re.sub("PS1=.*", "PS1='guest# '", profile))
    subprocess.run([TOOLS / "initrd", "-o", folder / "initrd", "--tree", tree], check=True)
    content = folder / "content"
    content.mkdir(exist_ok=True)
    (content / "greeting").write_text("hello from the disk\n")
    disk = folder / "disk.img"
    with open(disk, "wb") as file:
        file.truncate(DISK_SIZE)
    subprocess.run(["/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-d", content, disk], check=True)


def data_disk(folder, guest, logs=()):
    """A data disk with the guest's files and logs."""
    disk = DataDisk(folder)
    for name in ("vmlinuz", "initrd", "disk.img"):
        disk.put(name, guest / name)
    for log in logs:
        disk.put(log.name, log)
    return disk


def vmx(*more):
    return " ".join(["vmx", *more, "-stats figures", "-mem", str(MEMORY), "-initrd initrd -disk disk.img,private",
                     f"-append '{LINE}' vmlinuz"])


class Recorder(threading.Thread):
    """Beside the first scenes, on the second core: Debian passed through once, then recorded with each seed."""

    def __init__(self, folder, guest, stage):
        super().__init__(daemon=True)
        self.folder, self.guest, self.stage = folder, guest, stage
        self.log = folder / "debian-1.log"
        self.plain = None                              # figures of the run that was not recorded
        self.runs = []                                 # of each seed: figures, console, race
        self.changed = threading.Condition()
        self.failure = None

    def run(self):
        try:
            self._record_all()
        except (EmuError, OSError, subprocess.SubprocessError) as error:
            self.failure = str(error)
        self.stage.beside = ""
        with self.changed:
            self.changed.notify_all()

    def _record_all(self):
        disk = data_disk(self.folder / "recorder", self.guest)
        with MachineShell(disk, MEMORY + HOST_MEMORY, None, log_dir=self.folder / "recorder") as machine:
            for number, seed in enumerate(SEEDS, 1):
                self._run(machine, f"recording Debian, seed {number} of {len(SEEDS)}",
                          f"-record debian-{seed}.log -seed {seed}")
                if number == 1:
                    self._fetch_first(machine, disk)
                if number == 1:
                    self.plain = self._type_at(machine, "Debian, not recorded", vmx())[0]
            machine.power_off()
        for seed in SEEDS[1:]:
            fetch(disk.image, f"debian-{seed}.log", self.folder / f"debian-{seed}.log")

    def _run(self, machine, what, options):
        figures, console = self._type_at(machine, what, vmx(options))
        race = RACE.search(console)
        if not race:
            raise EmuError(f"the guest's racy program gave no result:\n{console}")
        with self.changed:
            self.runs.append({"figures": figures, "console": console, "race": int(race[1])})
            self.changed.notify_all()

    def _type_at(self, machine, what, command):
        """Runs a guest and types at it; returns (figures, its console)."""
        console = machine.running.com1
        self.stage.beside = f"{what}: boots"
        begin = console.position
        console.send(f"{command}; echo '<'status $?\n")
        for number, line in enumerate(TYPED, 1):
            console.expect(PROMPT, BOOT_LIMIT)
            self.stage.beside = f"{what}: typing, line {number} of {len(TYPED)}"
            console.send(line + "\n")
        found = console.expect(r"^<status (\d+)\n", BOOT_LIMIT)
        text = clean(bytes(console.data[begin:console.position]))
        machine.shell.wait_prompt()
        if found[1] != "0":
            raise EmuError(f"{command}: vmx ended with status {found[1]}:\n{text}")
        return machine.figures(), text[text.find("\n") + 1:text.rfind("<status")]    # without our own command

    def _fetch_first(self, machine, disk):
        """The first log leaves the machine while that goes on: synchronised, then read from its disk."""
        machine.run("sync")
        if not fetch(disk.image, "debian-1.log", self.log):
            raise EmuError("the first log is not on the data disk")
        with self.changed:
            self.changed.notify_all()

    def wait(self, condition):
        """Until condition() holds; a failure of the recording is raised."""
        with self.changed:
            while not condition() and self.failure is None and self.is_alive():
                self.changed.wait(1)
        if not condition():
            raise EmuError(f"the recording of Debian: {self.failure or 'ended early'}")
