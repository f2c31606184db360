"""chrono gdb: a recording or a kernel in the machine, and gdb connected to it.

The second serial line of the machine is gdb's; here it is a TCP port (emu/bridge.py). A recording
stands before its first instruction and can go backwards; a kernel runs live.
"""
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from datadisk import DataDisk
from emu import EmuError
from emu.bridge import Bridge
from emu.patience import patience
from emu.terminal import write_out
from emu.typing import Script
from guest import Guest, add_arguments as add_guest_arguments
from pack import is_pack
from recording import MAGIC, MESSAGES, Recording, default_symbols, recorder
from session import Session

TOOLS = Path(__file__).resolve().parent
LINE = "/dev/ttyS1"                                    # VMkernel's name for the second serial line
IPS = 20_000_000                                       # fewer make the serial line faster
# ^C and a detach: on a serial line a client that vanished says neither.
FAREWELL, ANSWER = b"\x03$D#44", b"$OK#9a"
# A detach or kill of its own; or it heard that the VM is gone.
POLITE = rb"\$(D(;\w+)?|k|vKill;\w+)#..\W*$|\$W00#..$"


def add_arguments(parser):
    parser.add_argument("--symbols", action="append", default=[], metavar="F",
                        help="ELF file with symbols (several; a kernel's own, and those that a recording names, are known)")
    parser.add_argument("--vmlinux", metavar="F", help="symbols of a Linux guest; boot it with nokaslr")
    parser.add_argument("--image", action="append", default=[], metavar="F",
                        help="a file that may be one of the recording's images: found by SHA-256 (several)")
    parser.add_argument("-ex", action="append", default=[], dest="commands", metavar="COMMAND",
                        help="given to gdb after it has connected (several)")
    parser.add_argument("-x", action="append", default=[], dest="files", metavar="F",
                        help="file of gdb commands, carried out after it has connected (several)")
    parser.add_argument("--batch", action="store_true", help="gdb ends after -ex and -x")
    parser.add_argument("--no-gdb", action="store_true", help="only the machine: any debugger can connect to the port")
    parser.add_argument("--port", type=int, default=0, metavar="N", help="TCP port of 127.0.0.1 (any free one)")
    parser.add_argument("--console", metavar="F", help="the guest's console goes to this file instead of this terminal")
    parser.add_argument("--script", metavar="F", help="types at the guest's console: lines `wait REGEX` and `type TEXT`")
    add_guest_arguments(parser, "what", "a log, a pack, or a kernel; the options for a guest are for a kernel")
    parser.set_defaults(ips=IPS)


def is_recording(path):
    try:
        with open(path, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC or is_pack(path)
    except OSError as error:
        raise EmuError(f"{path}: {error.strerror}") from None


class Debuggee:
    """What is debugged: a recording or a kernel, as files for the data disk and a command line."""

    def __init__(self, args, folder):
        self.recording = is_recording(args.what)
        if self.recording:
            found = Recording.open(args.what, folder, args.image)
            self.guest, self.put, self.command = found.guest, found.put, found.command
            symbols = found.symbols
        else:
            self.guest = Guest.from_arguments(args, args.what)
            self.put, self.command = self._put_guest, self.guest.command
            symbols = default_symbols(args.what)
        self.symbols = [Path(p) for p in args.symbols + [args.vmlinux] if p] or symbols
        for path in self.symbols:
            if not path.is_file():
                raise EmuError(f"{path}: no such file")

    def _put_guest(self, disk):
        self.guest.put(disk)
        disk.put("vmx", recorder())

    def options(self):
        return ["-gdb", LINE, "-gdb-wait", "-gdb-arch", architecture(self.symbols), "-log", MESSAGES]


def architecture(symbols):
    """The registers that gdb wants follow from the symbols: 32-bit ELF files are debugged as such."""
    for path in symbols:
        with open(path, "rb") as file:
            head = file.read(5)
        if head[:4] == b"\x7fELF":
            return "i386" if head[4] == 1 else "x86-64"
    return "x86-64"


class DebugSession:
    """The machine with the guest in it, waiting for gdb at `port`. Use it as a context manager."""

    def __init__(self, debuggee, folder, emu="bochs", ips=IPS, port=0, write=write_out, more=(), **machine):
        self.disk = DataDisk(folder)
        debuggee.put(self.disk)
        memory = debuggee.guest.host_memory() * (2 if debuggee.recording else 1) + 64   # checkpoints
        # Raw before anybody speaks: gdb would take an echo for an answer.
        script = f"stty -F {LINE} raw -echo\n{debuggee.command(*debuggee.options(), *more)}"
        self.session = Session(self.disk, script, memory, emu, ips, write=write, **machine)
        try:
            self.bridge = Bridge(self.session.running.com2, port, FAREWELL, ANSWER, POLITE)
            self.session.wait_begin()
        except BaseException:
            self.session.running.stop()
            raise
        self.port = self.bridge.port

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bridge.close()
        self.session.running.stop()


def gdb_command(port, symbols, commands=(), files=(), batch=False, echo=False):
    """The real gdb, connected: its command line. With `echo` each command is shown before its answer."""
    command = ["gdb", "-q", "-nx"] + (["-batch"] if batch else [])
    command += ["-ex", f"source {TOOLS / 'gdb/chronovisor.py'}"]
    for number, path in enumerate(symbols):
        command += ["-ex", f"{'add-symbol-file' if number else 'file'} {path}"]
    command += ["-ex", "set remotetimeout 60", "-ex", f"target remote 127.0.0.1:{port}",
                "-ex", "python quietly('monitor hints off')"]
    for text in commands:
        if echo:
            command += ["-ex", "echo (gdb) " + text.replace("\\", "\\\\") + "\\n"]
        command += ["-ex", text]
    for path in files:
        command += ["-x", str(path)]
    return command


def transcript(port, symbols, commands, limit=300, show=None):
    """A session of the real gdb as text; `show` gets each line when it is complete."""
    process = subprocess.Popen(["stdbuf", "-oL", *gdb_command(port, symbols, commands, batch=True, echo=True)], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    lines = []
    timer = threading.Timer(limit * patience(), process.kill)
    timer.start()
    try:
        for line in process.stdout:
            lines.append(line)
            if show:
                show(line.rstrip("\n"))
        if process.wait() < 0:
            raise EmuError(f"gdb was still at work after {limit} s:\n{''.join(lines[-20:])}")
    finally:
        timer.cancel()
        process.kill()
    return "".join(lines)


def run_gdb(args, session, symbols):
    command = gdb_command(session.port, symbols, args.commands, args.files, args.batch)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)      # ^C is gdb's: it stops the guest
    try:
        return subprocess.run(command, check=False,
                              preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)).returncode
    finally:
        signal.signal(signal.SIGINT, before)


def wait_for_debuggers(args, session):
    print(f"chrono: gdb can connect: target remote 127.0.0.1:{session.port}   (^C ends the machine)", flush=True)
    return session.session.wait_end(args.limit)


def open_console(path):
    try:
        return open(path, "wb", buffering=0)           # may be a terminal
    except OSError as error:
        raise EmuError(f"{path}: {error.strerror}") from None


def play(script, console, limit):
    """In a thread of its own, beside gdb."""
    try:
        script.play(console, limit)
    except EmuError as error:
        print(f"chrono: {error.message}", file=sys.stderr)


def debug(args):
    """Exit status: gdb's; with --no-gdb vmx's."""
    with tempfile.TemporaryDirectory(prefix="chrono-") as work:
        debuggee = Debuggee(args, work)
        if args.vmlinux and "nokaslr" not in debuggee.guest.append:
            print("chrono: the guest's command line has no nokaslr: its kernel may not be where vmlinux says", file=sys.stderr)
        console = open_console(args.console) if args.console else None
        write = console.write if console else write_out
        try:
            with DebugSession(debuggee, work, args.emu, args.ips, args.port, write) as session:
                if args.script:
                    threading.Thread(target=play, args=(Script(args.script), session.session.running.com1, args.limit),
                                     daemon=True).start()
                return wait_for_debuggers(args, session) if args.no_gdb else run_gdb(args, session, debuggee.symbols)
        finally:
            if console:
                console.close()
