"""chrono log: what can be asked of a log, on the workstation; `verify` runs it in the machine."""
import argparse
import base64
import binascii
import hashlib
import itertools
import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from emu import EmuError
from guest import output_file
from session import built

DIRECT = {
    "info": "what was recorded, on what, how long",
    "dump": "records as lines of text: [--kind K] [--v A..B] [--record A..B]",
    "stat": "records, bytes and rates by kind",
    "diff": "LOG LOG: the first difference of two recordings",
}


def add_arguments(parser):
    commands = parser.add_subparsers(dest="log_command", metavar="COMMAND", required=True)
    for name, text in DIRECT.items():
        sub = commands.add_parser(name, help=text, add_help=False)
        sub.add_argument("rest", nargs=argparse.REMAINDER)
        sub.set_defaults(function=direct)
    graph = commands.add_parser("graph", help="events over time, and the flow between exit reasons, drawn by Graphviz")
    add_log_arguments(graph)
    graph.add_argument("-o", "--output", required=True, metavar="F", help="a file .svg, .png, .pdf or .dot")
    graph.add_argument("--exits", action="store_true", help="replay it for the exits of the guest; or give a --trace")
    graph.set_defaults(function=draw)
    verify = commands.add_parser("verify", help="reads all of it, then replays it and compares every hash")
    verify.add_argument("--read-only", action="store_true", help="only read it; no replay")
    add_log_arguments(verify)
    verify.set_defaults(function=verify_log)
    cutting = commands.add_parser("cut", help="replays it to a place and writes the log of that much")
    add_log_arguments(cutting)
    cutting.add_argument("-o", "--output", required=True, metavar="F")
    cutting.set_defaults(function=cut_log)
    packing = commands.add_parser("pack", help="one file of log, images, symbols and the vmx that recorded it")
    packing.add_argument("log")
    packing.add_argument("-o", "--output", metavar="F", help="(LOG.tar.zst)")
    packing.add_argument("--image", action="append", default=[], metavar="F", help="a file that may be an image of it")
    packing.add_argument("--symbols", action="append", default=[], metavar="F", help="more symbol files")
    packing.set_defaults(function=pack_log)
    receive = commands.add_parser("receive", help="takes a log that the machine sends through a serial line")
    receive.add_argument("source", help="a serial device, HOST:PORT, a file of captured text, or -")
    receive.add_argument("-o", "--output", metavar="F", help="(the name it had, or with .2 where there is such a file)")
    receive.set_defaults(function=receive_log)


def add_log_arguments(parser):
    """Of commands that replay: the log, its images, the machine."""
    from guest import add_machine_arguments
    parser.add_argument("log", help="a log or a pack")
    parser.add_argument("--image", action="append", default=[], metavar="F",
                        help="a file that may be one of its images: found by SHA-256 (several)")
    parser.add_argument("--until", metavar="PLACE", help="stop at COUNT or event:N")
    parser.add_argument("--trace", metavar="F", help="the guest's exits, a line each: written by a replay, read by graph")
    parser.add_argument("--more-memory", type=int, default=0, metavar="M", help="MiB more for the machine")
    parser.add_argument("--vmx", action="append", default=[], metavar="OPTION", help="passed to vmx as it is")
    add_machine_arguments(parser)


def log_of(path, work):
    """The path of the log itself, also of a pack."""
    from pack import is_pack, unpack
    if not Path(path).is_file():
        raise EmuError(f"{path}: no such file")
    if not is_pack(path):
        return str(path)
    folder = Path(tempfile.mkdtemp(dir=work))
    return str(unpack(Path(path), folder))


def direct(args):
    """Straight to chrono-log; packs are opened for it."""
    with tempfile.TemporaryDirectory(prefix="chrono-") as work:
        rest = [log_of(word, work) if Path(word).is_file() else word for word in args.rest]
        return subprocess.run([built("chrono-log"), args.log_command, *rest], check=False).returncode


def draw(args):
    output = output_file(args.output)
    with tempfile.TemporaryDirectory(prefix="chrono-") as work:
        command = [built("chrono-log"), "graph", log_of(args.log, work)]
        if args.exits:
            args.trace = args.trace or str(Path(work) / "trace")
            if status := quiet_replay(args):
                return status
        if args.trace:
            command.append(args.trace)
        dot = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if dot.returncode:
        return dot.returncode
    kind = output.suffix[1:] or "svg"
    if kind == "dot":
        output.write_bytes(dot.stdout)
        return 0
    return subprocess.run(["dot", f"-T{kind}", "-o", output], input=dot.stdout, check=False).returncode


def quiet_replay(args):
    from recording import replay
    return replay(args, "-serial", "null")


def cut_log(args):
    from recording import cut
    if not args.until:
        raise EmuError("cut needs --until COUNT or --until event:N: where the new log ends")
    args.vmx += ["-serial", "null"]
    return cut(args)


def verify_log(args):
    with tempfile.TemporaryDirectory(prefix="chrono-") as work:
        status = subprocess.run([built("chrono-log"), "verify", log_of(args.log, work)], check=False).returncode
    if status or args.read_only:
        return status
    return quiet_replay(args)


def pack_log(args):
    from pack import pack
    output = output_file(args.output or f"{args.log}.tar.zst")
    if output.exists() and output.samefile(args.log):
        raise EmuError(f"{output}: is the log itself; name another file for the pack")
    with tempfile.TemporaryDirectory(prefix="chrono-") as work:
        size = pack(args.log, output, work, args.image, args.symbols)
    print(f"{output}: {size} bytes. Anyone with Chronovisor: chrono replay {output.name}\n"
          "It contains everything that was typed into the machine while it was recorded.")
    return 0


# ---- through a serial line ---------------------------------------------------------------------------

BEGIN = re.compile(r"begin-file (\d+) ([0-9a-f]{64}) (\S+)\s*$")


def open_source(source):
    """Lines of bytes from a device, a TCP port, a file or standard input."""
    host, _, port = source.rpartition(":")
    if source == "-":
        return sys.stdin.buffer
    try:
        if host and port.isdigit() and not os.path.exists(source):
            return socket.create_connection((host, int(port))).makefile("rb")
        if Path(source).is_char_device():
            subprocess.run(["stty", "-F", source, "raw"], check=True)
        return open(source, "rb")
    except OSError as error:
        raise EmuError(f"{source}: {error.strerror}") from None


def receive_log(args):
    if args.output:
        output_file(args.output)
    print(f"waiting: in the machine, send-log LOG (it sends to /dev/ttyS1); here {args.source}", file=sys.stderr)
    name, data = receive_file(open_source(args.source), args.source)
    output = args.output or free_name(os.path.basename(name))
    Path(output).write_bytes(data)
    print(f"{output}: {len(data)} bytes, SHA-256 as sent")
    return 0


def free_name(name):
    """The name, or with .2, .3 ... where there is such a file: the machine does not choose what is overwritten."""
    names = itertools.chain([name], (f"{name}.{n}" for n in itertools.count(2)))
    return next(name for name in names if not os.path.lexists(name))


def receive_file(stream, source):
    """(name, contents) of the next file that send-log sends; damaged: a sentence."""
    head = None
    data = bytearray()
    for number, raw in enumerate(stream, 1):
        line = raw.decode("ascii", "replace").strip()
        if head is None:
            head = BEGIN.search(line)
        elif line == "end-file":
            break
        else:
            try:
                data += base64.b64decode(line, validate=True)
            except binascii.Error:
                raise EmuError(f"{source}: line {number} is damaged; send it again") from None
    else:
        raise EmuError(f"{source}: ended " + ("amid the file" if head else "without a file: send-log was not seen"))
    size, digest, name = int(head[1]), head[2], head[3]
    if len(data) != size or hashlib.sha256(data).hexdigest() != digest:
        raise EmuError(f"{source}: {name}: {len(data)} bytes of {size} came, or others than were sent: send it again")
    return name, bytes(data)
