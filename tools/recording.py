"""Recordings on the workstation: a log, the images it starts from, the vmx that made it.

Beside a log lies LOG.json with what the log itself does not hold: where the images were, symbol
files, which vmx recorded it. A pack (pack.py) has all of that in one file.
"""
import json
import struct
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from datadisk import MOUNT, DataDisk
from emu import EmuError
from emu.typing import Script
from guest import Guest, output_file, sha256
from session import BUILD, Session, built

MAGIC = b"CHRONLOG"
HEADER_SIZES = {1: 40, 2: 64}                           # by version of the format; the description follows
LOG_NAME, MESSAGES, TRACE = "run.log", "messages", "trace"


def side_file(log):
    return Path(f"{log}.json")


@dataclass
class Recording:
    log: Path
    guest: Guest
    vmx: Path                                           # the program that recorded it, or today's
    symbols: list = field(default_factory=list)         # files for a debugger, the kernel's first

    @classmethod
    def open(cls, path, folder, given=()):
        """A log or a pack. `folder`: for what must be unpacked. `given`: files that may be its images."""
        from pack import is_pack, unpack
        path = Path(path)
        if not path.is_file():
            raise EmuError(f"{path}: no such file")
        if is_pack(path):
            path = unpack(path, Path(folder))
        known = read_side_file(path)
        guest = Guest.from_description(description(path))
        guest.options += [o for o in known.get("options", []) if o not in guest.options]
        candidates = [Path(p) for p in given] + [path.parent / p for p in known.get("images", [])]
        find_images(path, guest, candidates)
        vmx = path.parent / known.get("vmx", "")
        return cls(path, guest, vmx if vmx.is_file() else recorder(),
                   [p for name in known.get("symbols", []) if (p := path.parent / name).is_file()])

    def put(self, disk):
        """What a replay needs, onto a data disk: `cd` there and run command()."""
        self.guest.put(disk)
        disk.put("vmx", self.vmx)
        disk.put(LOG_NAME, self.log)

    def command(self, *more):
        return self.guest.command("-replay", LOG_NAME, *more)


def description(log):
    """The text of a log's header (docs/log-format.md); its checksum is the replayer's business."""
    with open(log, "rb") as file:
        head = file.read(16)
        if len(head) < 16 or head[:8] != MAGIC:
            raise EmuError(f"{log} is neither a log nor a pack of Chronovisor")
        version, size = struct.unpack("<II", head[8:])
        if version not in HEADER_SIZES:
            raise EmuError(f"{log} has version {version} of the format; this chrono knows {max(HEADER_SIZES)} and older")
        file.seek(HEADER_SIZES[version])
        return file.read(min(size, 1 << 16)).decode("utf-8", "replace")


def read_side_file(log):
    try:
        known = json.loads(side_file(log).read_text())
        if not isinstance(known, dict):
            raise ValueError("not what chrono writes")
        return known
    except OSError:
        return {}
    except ValueError as error:
        raise EmuError(f"{side_file(log)}: {error}; it can be removed if the images are given by --image") from None


def find_images(log, guest, candidates):
    """Fills in the path of each image by its SHA-256; a sentence that names those that are missing."""
    digests = {}

    def matches(path, image):
        if not path.is_file() or path.stat().st_size != image.size:
            return False
        if path not in digests:
            digests[path] = sha256(path)
        return digests[path] == image.sha256

    missing = []
    for image in guest.images:
        places = candidates + [log.parent / image.name, Path(image.name)]
        image.path = next((path for path in places if matches(path, image)), None)
        if image.path is None:
            other = next((path for path in places if path.is_file() and path.name == image.name), None)
            missing.append(f"  {image.kind} {image.name}, {image.size} bytes, SHA-256 {image.sha256}"
                           + (f"\n    ({other} is another file)" if other else ""))
    if missing:
        raise EmuError(f"{log}: what this recording starts from is not here:\n" + "\n".join(missing)
                       + "\nPass each with --image FILE, or replay a pack made where they are (chrono log pack).")


def recorder():
    """Today's vmx, kept under its SHA-256 so that it can replay its logs after vmx has changed."""
    keep = BUILD / "recorders"
    keep.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=keep) as folder:           # others may be doing the same
        stripped = Path(folder) / "vmx"
        subprocess.run(["objcopy", "--strip-debug", built("vmx"), stripped], check=True)
        target = keep / f"vmx-{sha256(stripped)[:16]}"
        if not target.exists():
            stripped.chmod(0o755)
            stripped.replace(target)
    return target


def write_side_file(log, guest, vmx, symbols):
    known = {"images": [str(image.path.resolve()) for image in guest.images],
             "vmx": str(vmx.resolve()), "options": guest.options,
             "symbols": [str(Path(path).resolve()) for path in symbols]}
    side_file(log).write_text(json.dumps(known, indent=1) + "\n")


def default_symbols(kernel):
    """A debugger's view of an ELF kernel: beside X.elf, X.elf.64 has the symbols where that exists."""
    with open(kernel, "rb") as file:
        if file.read(4) != b"\x7fELF":
            return []
    wide = Path(f"{kernel}.64")
    return [wide if wide.is_file() else Path(kernel)]


# ---- the commands ------------------------------------------------------------------------------------

def add_script_argument(parser):
    parser.add_argument("--script", metavar="F", help="types at the guest's console instead of a person: "
                        "lines `wait REGEX` and `type TEXT`")


def run_guest(args, *more, log=None):
    """chrono run and chrono record: a guest with its console here. `log`: receives the log."""
    guest = Guest.from_arguments(args)
    script = Script(args.script) if args.script else None
    vmx = recorder()
    with tempfile.TemporaryDirectory(prefix="chrono-") as work:
        disk = DataDisk(work)
        guest.put(disk)
        disk.put("vmx", vmx)
        session = Session(disk, guest.command("-log", MESSAGES, *more), guest.host_memory(), args.emu, args.ips)
        try:
            with session:
                return session.converse(script, args.limit)
        finally:
            if log and disk.get(LOG_NAME, log):
                write_side_file(log, guest, vmx, args.symbols or default_symbols(args.kernel))
            show_messages(disk)


def show_messages(disk):
    import sys
    print(disk.text(MESSAGES).replace(f"{MOUNT}/", ""), end="", file=sys.stderr)


def record(args):
    chaos = [] if args.chaos is None else ["-chaos", str(args.chaos)]
    return run_guest(args, "-record", LOG_NAME, *chaos, log=output_file(args.output))


def replay(args, *more, fetch=()):
    """Exit status 0: every check equal. 124: a difference. 125: refused. `more`: options of vmx; `fetch`:
    (name on the data disk, file here) of what they write."""
    options = ["-log", MESSAGES, *more, *args.vmx]
    if args.until:
        options += ["-until", args.until]
    if args.trace:
        options += ["-trace", TRACE]
        fetch = [*fetch, (TRACE, args.trace)]
    for _name, target in fetch:
        output_file(target)
    with tempfile.TemporaryDirectory(prefix="chrono-") as work:
        recording = Recording.open(args.log, work, args.image)
        disk = DataDisk(work)
        recording.put(disk)
        session = Session(disk, recording.command(*options), recording.guest.host_memory() + args.more_memory,
                          args.emu, args.ips)
        try:
            with session:
                return session.wait_end(args.limit)
        finally:
            for name, target in fetch:
                disk.get(name, target)
            show_messages(disk)


def cut(args):
    """chrono log cut: replays a log to a place, and writes the log of that much."""
    part = "cut.log"
    status = replay(args, "-record", part, fetch=[(part, args.output)])
    if status == 0:
        with tempfile.TemporaryDirectory(prefix="chrono-") as work:
            whole = Recording.open(args.log, work, args.image)
            write_side_file(args.output, whole.guest, recorder(), whole.symbols)
    return status
