"""Replays that must not agree: every fault is noticed, and told at its true place. And replays that are left."""
import re
from statistics import median

from guests import own_lines, recorded, replayed
from harness import Boot, Failure, benchmark, machine_test
from test_guest import LINUX_LINE, linux_guest, own_guests

AREA = "Record and replay"
GUEST = "-mem 64 /guests/queue.elf"
INTERVAL = 500_000                  # ticks between two sums of memory
RECORD = re.compile(r"^ *(\d+)  V (\d+) +(\w+)", re.MULTILINE)
EVENTS = ("anchor", "input", "switch", "wake")


def events_of(m, log):
    """[(number, V, kind)] of the records that have a place in the run."""
    return [(int(n), int(v), kind) for n, v, kind in RECORD.findall(m.check(f"chrono-log dump {log}"))
            if kind != "result"]


def recorded_to_the_end(m, options=""):
    """Under the first chaos that lets the guest come to its end: some make it panic, perhaps before the places that are looked at."""
    for seed in range(7, 30):
        output = recorded(m, f"-chaos {seed} {options} {GUEST} < /dev/null", "/tmp/log", status=None)
        if output.startswith("ok: "):
            return output
    raise Failure(f"the guest always panics:\n{output}")


def refusal(m, log, options=""):
    """What vmx says about a replay that must not succeed."""
    output, status = m.sh(f"vmx -replay {log} {options} {GUEST} 2>&1 > /dev/null < /dev/null")
    if status not in (124, 125) or "all checks equal" in output:
        raise Failure(f"a replay with a fault ({log} {options}): status {status}:\n{output}")
    return output


def expect(report, *parts):
    for part in parts:
        if not re.search(part, report):
            raise Failure(f"no {part!r} in the report:\n{report}")


def place_after(events, v):
    """The first record that is compared at or after V."""
    return next(number for number, at, _ in events if at >= v)


# ---- faults ----------------------------------------------------------------------------------------

REGISTERS = ["r15:0", "r14:63", "r8:31", "r12:5", "r13:8", "r9:2", "r10:1", "r11:17"]
FIELDS = ["uart1.lcr:0", "uart0.scratch:7", "rtc0.cmos:900", "vga0.dac:77", "ports0.post_code:6", "ps20.memory:40",
          "lapic0.esr:5", "acpi-pm0.enable:1"]
PAGES = [0x3000000, 0x3001fff, 0x31ffff8, 0x3200000, 0x2abcdef, 0x3ffffff, 0x1000000, 0x2fff000]


def registers_at_the_next_landmark(m, log, events):
    places = [event for event in events if event[1] > 20_000][:: max(1, len(events) // len(REGISTERS))]
    for register, (number, v, _) in zip(REGISTERS, places):
        expect(refusal(m, log, f"-inject {v - 1}:register:{register}"),
               rf"at event {place_after(events, v - 1)} ", rf"register {register.split(':')[0]} of vCPU 0", "the last exits")


def fields_at_the_next_event(m, log, events, fields):
    places = [event for event in events if event[1] > 20_000][:: max(1, len(events) // len(fields))]
    for field, (number, v, _) in zip(fields, places):
        device, name = field.rsplit(":", 1)[0].split(".", 1)
        expect(refusal(m, log, f"-inject {v - 100}:device:{field}"),
               rf"at event {place_after(events, v - 100)} ", rf"device {device}, field {name} ")


def bytes_at_the_next_sum(m, log, events):
    sums = [event for event in events if event[2] == "memory"]
    for index, address in enumerate(PAGES):
        number, v, _ = sums[index % len(sums)]
        expect(refusal(m, log, f"-inject {v - 1000}:memory:{address:#x}:{index}"), rf"at event {number} ",
               rf"memory: the page at guest-physical {address & ~0xfff:#x} ")


def accessed_bits_are_counted(m, log, events):
    """Bit 5 of a number of eight bytes is where page tables have it: told, and the replay goes on (docs/recording.md)."""
    sums = [event for event in events if event[2] == "memory"]
    replayed(m, f"-inject {sums[1][1] - 1000}:memory:0x3000008:5 {GUEST}", log)
    m.check(f"cat {log}.messages", re.compile(f": {len(sums) - 1} sums of memory differed in accessed bits only"))


def events_that_are_dropped(m, log, events):
    numbers = [number for number, _, kind in events if kind in EVENTS]
    for number in numbers[:: max(1, len(numbers) // 6)][:6]:
        m.check(f"chrono-log control {log} /tmp/dropped {number}", re.compile("1 records left out"))
        expect(refusal(m, "/tmp/dropped"), rf"at event {number} ")
    m.check(f"ln -s {log} /tmp/itself; chrono-log control {log} /tmp/itself; rm /tmp/itself", re.compile("is the log itself"))


def number_at(m, path, offset):
    return int(m.check(f"od -An -tu4 -j{offset} -N4 {path}"))


def chunk_starts(m, log, size):
    at = 64 + number_at(m, log, 12)
    while at < size:
        yield at
        at += 40 + number_at(m, log, at + 28)


def bits_of_the_log(m, log):
    size = int(m.check(f"stat -c %s {log}"))
    starts = list(chunk_starts(m, log, size))

    def chunk_of(offset):
        number = max(i for i, start in enumerate(starts) if start <= offset)
        return rf"chunk {number} .* at {starts[number]:#x}"

    body = starts[0]
    faults = [(9, "version"), (40, "header"), ((64 + body) // 2, "header")]
    faults += [(offset, chunk_of(offset)) for offset in (body + 1, body + 20, (body + size) // 2, size - 1)]
    for offset, place in faults:
        m.check(f"cp {log} /tmp/flipped; b=$(od -An -tu1 -j{offset} -N1 {log}); printf \"\\\\$(printf %03o $((b ^ 4)))\" | "
                f"dd of=/tmp/flipped bs=1 seek={offset} conv=notrunc 2> /dev/null; ! cmp -s {log} /tmp/flipped")
        expect(refusal(m, "/tmp/flipped"), place)
    m.check(f"dd if={log} of=/tmp/flipped bs=1 count={size - 5} 2> /dev/null")
    expect(refusal(m, "/tmp/flipped"), rf"cut off at {starts[-1]:#x}", "usable" if len(starts) > 1 else "cut off")


@machine_test(cost=25)
def faults_are_found(lab):
    """39 faults, one at a time: registers, device fields, bytes of memory, events left out, bits of the log."""
    with lab.boot(Boot(extra=str(own_guests(lab)))) as m:
        recorded_to_the_end(m, f"-sum-interval {INTERVAL}")
        replayed(m, f"-verify-sums {GUEST}", "/tmp/log")
        events = events_of(m, "/tmp/log")
        registers_at_the_next_landmark(m, "/tmp/log", events)
        fields_at_the_next_event(m, "/tmp/log", events, FIELDS)
        bytes_at_the_next_sum(m, "/tmp/log", events)
        accessed_bits_are_counted(m, "/tmp/log", events)
        events_that_are_dropped(m, "/tmp/log", events)
        bits_of_the_log(m, "/tmp/log")


@machine_test(level="all", cost=30)
def bisected(lab):
    """Two replays side by side tell the instruction, and the byte or the field, though the log has only sums."""
    with lab.boot(Boot(extra=str(own_guests(lab)))) as m:
        recorded_to_the_end(m)
        for place, told in (("memory:0x3000000:3", "memory: byte 0x3000000 is 0x08 in one and 0x00 in the other"),
                            ("device:rtc0.cmos:900", "device rtc0.cmos: byte 112 of")):
            output, status = m.sh(f"vmx -replay /tmp/log -inject 777777:{place} -bisect {GUEST} 2>&1 > /dev/null", 300)
            parts = re.search(r"part after V (\d+) \(count (\d+)\), at V (\d+) \(count (\d+)\)", output)
            if status != 124 or told not in output or not parts:
                raise Failure(f"bisecting {place}: status {status}:\n{output}")
            before, first, after, last = map(int, parts.groups())
            if not before <= 777777 <= after or last - first > 2:
                raise Failure(f"{place} at V 777777 was found from {before} to {after}:\n{output}")
        m.check(f"vmx -replay /tmp/log -bisect {GUEST} 2>&1", re.compile("two replays agree"))


# ---- what a replay needs --------------------------------------------------------------------------------

@machine_test(cost=6)
def overlays(lab):
    """A recording writes to a new overlay alone, and its replay to nothing."""
    guest = "-mem 64 /guests/exits.elf"
    with lab.boot(Boot(extra=str(own_guests(lab)))) as m:
        m.check("dd if=/dev/zero of=/tmp/disk bs=1024 count=64 2> /dev/null; cp /tmp/disk /tmp/before; echo x > /tmp/old")
        for disk, sentence in (("/tmp/disk", "may not write to its disk images"),
                               ("/tmp/disk,overlay=/tmp/old", "the overlay must be a new or empty file")):
            output, status = m.sh(f"vmx -record /tmp/log -disk {disk} {guest} 2>&1 > /dev/null")
            if status != 125 or sentence not in output:
                raise Failure(f"a recording with -disk {disk}: status {status}: {output}")
        disk = "-disk /tmp/disk,overlay=/tmp/new"
        recorded(m, f"{disk} {guest} < /dev/null", "/tmp/log", status=None)
        m.check("rm /tmp/new")
        replayed(m, f"{disk} {guest}", "/tmp/log")
        m.check("! test -e /tmp/new && cmp /tmp/disk /tmp/before")


@machine_test(cost=6)
def other_machines_are_refused(lab):
    """The first difference is named, whatever it is."""
    with lab.boot(Boot(extra=str(own_guests(lab)))) as m:
        m.check("cp /guests/exits.elf /tmp/renamed.elf; cp /guests/exits.elf /tmp/other.elf; echo >> /tmp/other.elf; "
                "cp /guests/exits.elf /tmp/exits.elf; "
                "dd if=/dev/zero of=/tmp/disk bs=1024 count=64 2> /dev/null")
        recorded(m, "-mem 64 /guests/exits.elf < /dev/null", "/tmp/log", status=None)
        replayed(m, "-mem 64 /tmp/exits.elf", "/tmp/log")
        for options, first in (("-mem 32 /guests/exits.elf", "memory"), ("-mem 64 -cpus 2 /guests/exits.elf", "cpus"),
                               ("-mem 64 -append x /guests/exits.elf", "append"),
                               ("-mem 64 -no-acpi /guests/exits.elf", "acpi"),
                               ("-mem 64 -no-reboot /guests/exits.elf", "reboot"),
                               ("-mem 64 -disk /tmp/disk,ro /guests/exits.elf", "disk0"),
                               ("-mem 64 /tmp/other.elf", "kernel"), ("-mem 64 /tmp/renamed.elf", "kernel")):
            output, status = m.sh(f"vmx -replay /tmp/log {options} 2>&1 > /dev/null")
            if status != 125 or not re.search(rf'(recorded|has) "{first}', output):
                raise Failure(f"a replay with {options}: status {status}: {output}")


# ---- replays that are left ------------------------------------------------------------------------------

@machine_test(cost=7)
def left_on_the_way(lab):
    """A replay stops at a place, goes on as a new recording, or is cut off there."""
    with lab.boot(Boot(extra=str(own_guests(lab)))) as m:
        first = recorded_to_the_end(m)
        number, v, _ = [event for event in events_of(m, "/tmp/log") if event[2] in EVENTS][5]
        output = m.check(f"vmx -replay /tmp/log -until event:{number} {GUEST} 2>&1", re.compile("stopped at count"))
        if f"V {v}, event {number}," not in output or "rax" not in output:
            raise Failure(f"-until event:{number} did not stop at V {v}:\n{output}")
        m.check(f"vmx -replay /tmp/log -until 500000 {GUEST} 2>&1", re.compile("stopped at count 500000,"))
        # Recorded on from there: the new log needs nothing of the old one.
        m.sh(f"vmx -replay /tmp/log -until 500000 -go-live -record /tmp/on {GUEST} > /tmp/on.text 2> /tmp/on.messages")
        m.check("cat /tmp/on.messages", re.compile(r"recorded \d+ instructions in /tmp/on"))
        again = replayed(m, GUEST, "/tmp/on")
        if own_lines(again) != own_lines(m.check("cat /tmp/on.text")):
            raise Failure("what was recorded after go-live replays otherwise")
        # Cut off: the same run up to the place, and there its end.
        m.check(f"vmx -replay /tmp/log -until 500000 -record /tmp/cut {GUEST} 2>&1", re.compile("recorded 500000 inst"))
        part = replayed(m, GUEST, "/tmp/cut")
        if not first.startswith(part):
            raise Failure(f"the cut log wrote something else:\n{part}\n----\n{first}")
        output, status = m.sh(f"vmx -replay /tmp/log -until event:999999 {GUEST} 2>&1")
        if status != 125 or "the log has no event 999999" not in output:
            raise Failure(f"an event that is not there: status {status}: {output}")


# ---- what recording costs ---------------------------------------------------------------------------------
# Busy ticks of the host per instruction of the guest, recording against pass-through, median of three seeds; the
# log's bytes; and busy ticks of the replay against those of the recorded run.
GOALS = {"overhead": 1.05, "replay": 1.1, "bytes per 1000": 0.1, "bytes per event": 6}


def figures(m, options):
    """The line that `vmx -stats` writes, as {name: number}."""
    m.check(f"vmx -stats /tmp/figures {options} > /dev/null < /dev/null", limit=300)
    words = m.check("cat /tmp/figures").split()[1:]
    return {name: int(value) for name, value in zip(words[::2], words[1::2]) if value.isdigit()}


def per_instruction(run):
    return run["busy_ticks"] / run["instructions"]


def cost_of_recording(m, guest):
    plain = per_instruction(figures(m, guest))
    overheads, replays = [], []
    for seed in (1, 2, 3):
        run = figures(m, f"-record /tmp/log -seed {seed} {guest}")
        overheads.append(per_instruction(run) / plain)
        replays.append(figures(m, f"-replay /tmp/log {guest}")["busy_ticks"] / run["busy_ticks"])
    each = re.search(r"events: \d+, ([\d.]+) bytes each", m.check("chrono-log stat /tmp/log"))[1]
    row = {"overhead": round(median(overheads), 4), "replay": round(median(replays), 4),
           "bytes per 1000": round(1000 * run["log_bytes"] / run["instructions"], 4),
           "bytes per event": float(each), "events": run["events"], "hash bytes": run["hash_bytes"]}
    missed = [name for name, most in GOALS.items() if row[name] > most]
    return {**row, "goal": "missed: " + ", ".join(missed) if missed else "met"}


@benchmark(boot=Boot(), cost=300)
def recording(lab):
    run = f"-mem 256 -initrd /guests/work.cpio -append '{LINUX_LINE}' /guests/vmlinuz"
    with lab.boot(Boot(mem=448, extra=str(linux_guest(lab))), ips=100_000_000) as m:
        return {"recording a program that computes": cost_of_recording(m, "-mem 64 /guests/compute.elf"),
                "recording a boot of Debian": cost_of_recording(m, run)}
