"""chrono hunt: records a guest with one adversarial timing after another until it fails; keeps that log."""
import re
import shlex
import tempfile

from datadisk import DataDisk
from emu import EmuError
from guest import Guest, output_file
from recording import LOG_NAME, default_symbols, recorder, write_side_file
from session import Session


def hunt(args):
    """Exit status 0: caught, the log is at args.output; 1: no run was; 125: it cannot be started."""
    if not re.fullmatch(r"\d+\.\.\d+", args.seeds):
        raise EmuError(f"--seeds is FIRST..LAST, not {args.seeds!r}")
    output = output_file(args.output)
    guest, vmx = Guest.from_arguments(args), recorder()
    options = ["hunt", "-o", LOG_NAME, "-seeds", args.seeds]
    if args.until:
        options += ["-until", args.until]
    if args.run_limit:
        options += ["-limit", str(args.run_limit)]
    with tempfile.TemporaryDirectory(prefix="chrono-") as work:
        disk = DataDisk(work)
        guest.put(disk)
        disk.put("vmx", vmx)
        script = f"export PATH=.:$PATH\n{guest.command(vmx=shlex.join(options))}"
        with Session(disk, script, guest.host_memory(), args.emu, args.ips) as session:
            status = session.wait_end(args.limit)
        if disk.get(LOG_NAME, output):
            write_side_file(output, guest, vmx, args.symbols or default_symbols(args.kernel))
            print(f"chrono: {output}; next: chrono replay {output}, or chrono gdb {output}")
        return status
