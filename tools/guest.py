"""A guest as chrono sees it: its images and its machine, from options or from a log's description."""
import argparse
import hashlib
import os
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from emu import EmuError

# An image in a log's description, and as version 1 of the format had it.
IMAGE = re.compile(r"(?P<size>\d+) (?P<sha256>[0-9a-f]{64}) (?P<name>.+)")
OLD_IMAGE = re.compile(r"(?P<name>.+) (?P<size>\d+) (?P<sha256>[0-9a-f]{64})")
HOST_MEMORY = 96                                        # MiB for VMkernel and vmx beside the guest


def add_arguments(parser, what="kernel", text="Linux bzImage or vmlinux, Multiboot 1 or 2 kernel, or boot sector"):
    """What chrono run, record, hunt and gdb have in common."""
    parser.add_argument(what, help=text)
    parser.add_argument("--append", default="", metavar="S", help="its command line")
    parser.add_argument("--initrd", action="append", default=[], metavar="F[ ARGUMENTS]",
                        help="initial RAM disk, or a Multiboot module with its arguments (several)")
    parser.add_argument("--disk", action="append", default=[], metavar="F[,if=ide][,ro]",
                        help="disk image (several); what the guest writes is forgotten, the file is not changed")
    parser.add_argument("--mem", type=int, default=256, metavar="M", help="its memory, MiB (256)")
    parser.add_argument("--cpus", type=int, default=1, metavar="N", help="its processors (1)")
    parser.add_argument("--vmx", action="append", default=[], metavar="OPTION",
                        help="passed to vmx as it is, for example --vmx=-v (several)")


def add_machine_arguments(parser):
    """About the machine that runs it."""
    parser.add_argument("--emu", default="bochs", choices=["bochs", "kvm"], help="the machine (bochs)")
    parser.add_argument("--ips", type=int, default=100_000_000, help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=float, default=3600, metavar="S", help="give up after so many seconds")


@dataclass
class Image:
    """A file that a run starts from. `name` is what the guest's description calls it."""
    kind: str                                           # kernel, module, disk
    name: str
    path: Path = None                                   # on this workstation; None: not found yet
    size: int = None
    sha256: str = None                                  # None: not known
    options: str = ""                                   # of a disk, with the comma: ",if=ide,ro"
    arguments: str = ""                                 # of a module


@dataclass
class Guest:
    images: list
    memory: str = "256"                                 # as vmx takes it
    cpus: int = 1
    append: str = ""
    options: list = field(default_factory=list)         # further ones of vmx

    @classmethod
    def from_arguments(cls, args, kernel=None):
        kernel = Path(kernel or args.kernel)
        images = [Image("kernel", kernel.name, kernel)]
        for initrd in args.initrd:
            path, arguments = (initrd, "") if Path(initrd).is_file() else initrd.partition(" ")[::2]
            images.append(Image("module", Path(path).name, Path(path), arguments=arguments))
        for disk in args.disk:
            path, *options = disk.split(",")
            if "ro" not in options:
                options.append("private")
            images.append(Image("disk", Path(path).name, Path(path), options="," + ",".join(options)))
        for image in images:
            if not image.path.is_file():
                raise EmuError(f"{image.path}: no such file")
            if not os.access(image.path, os.R_OK):      # some distributions keep /boot/vmlinuz for root
                raise EmuError(f"{image.path}: you may not read it; make a copy that you may")
        screen = ["-display", "stdio"] if getattr(args, "screen", False) else []
        return cls(images, str(args.mem), args.cpus, args.append, [*screen, *args.vmx])

    @classmethod
    def from_description(cls, text):
        """`text`: lines "key value" of a log; docs/log-format.md has the keys. It may be anybody's log."""
        guest = cls([])
        disk = ""
        for line in text.splitlines():
            try:
                disk = guest._take(*line.partition(" ")[::2], disk)
            except ValueError:
                raise EmuError(f"the log's description is not understood: {line!r}") from None
        if not guest.images:
            raise EmuError("the log's description names no kernel")
        return guest

    def _take(self, key, value, disk):
        """A line of a description. `disk`: the options of the disk that was named last; returns them."""
        if key in ("kernel", "module", "image"):
            self._take_image("disk" if key == "image" else key, value, disk)
        elif key == "initrd-append" and self.images:
            self.images[-1].arguments = value
        elif re.fullmatch(r"disk\d+", key):
            interface, mode = value.split()[:2]
            return f",if={interface}," + ("ro" if mode == "ro" else "private")
        elif key == "memory":
            self.memory = f"{int(value) >> 10}K"
        elif key == "cpus":
            self.cpus = int(value)
        elif key == "append":
            self.append = value
        elif key in ("acpi", "pci", "reboot") and value in ("0", "no"):
            self.options.append(f"-no-{key}")
        elif key == "clock" and value == "none":
            self.options += ["-clock", "none"]
        elif key == "console" and value == "yes":
            self.options += ["-console", "null"]
        return disk

    def _take_image(self, kind, value, disk):
        found = IMAGE.fullmatch(value) or OLD_IMAGE.fullmatch(value)
        if not found or "/" in found["name"] or found["name"] in (".", ".."):   # it becomes a file's name (put())
            raise ValueError
        self.images.append(Image(kind, found["name"], None, int(found["size"]), found["sha256"], disk if kind == "disk" else ""))

    def host_memory(self):
        """MiB that a machine needs to run it."""
        unit = self.memory[-1].upper()
        shift = {"K": 10, "M": 20, "G": 30}.get(unit, 20)
        size = int(self.memory[:-1] if unit in "KMG" else self.memory) << shift
        return (size >> 20) + HOST_MEMORY

    def put(self, disk):
        """Its images onto a data disk."""
        for number, image in enumerate(self.images):
            disk.put(f"{number}/{image.name}", image.path)

    def command(self, *more, vmx="./vmx"):
        """vmx's command line in the folder of the data disk."""
        option = {"kernel": "-kernel", "module": "-initrd", "disk": "-disk"}
        command = ["-mem", self.memory, "-cpus", str(self.cpus)]
        if self.append:
            command += ["-append", self.append]
        for number, image in enumerate(self.images):
            command += [option[image.kind], f"{number}/{image.name}{image.options}"]
            if image.arguments:
                command += ["-initrd-append", image.arguments]
        return f"{vmx} " + shlex.join([*command, *self.options, *more])


def output_file(path):
    """The path of a file that a run will write. What is wrong with it is said before the run, not after it."""
    path = Path(path)
    if path.exists() and not path.is_file():
        raise EmuError(f"{path}: it is there, and no ordinary file")
    if '"' in str(path) or "\n" in str(path):
        raise EmuError(f"{path}: a name with a quotation mark or a line break cannot be written to")
    if not path.parent.is_dir():
        raise EmuError(f"{path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise EmuError(f"{path}: you may not write in {path.parent}")
    return path


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
