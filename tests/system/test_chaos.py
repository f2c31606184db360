"""Timing that provokes mistakes: hunts, races, torture; and that each failure found is there in every replay."""
import re
import shutil
import subprocess

from guests import recorded, replayed, twins
from harness import BUILD, TOP, Boot, Failure, machine_test
from test_guest import linux_guest, own_guests

AREA = "Chaos"
QUEUE = "-mem 16 /guests/queue.elf"
PANIC = r'panic: the queue does not run dry: job "tick" for the \d+th time'
SEEDS = range(1, 6)
IPS = 100_000_000


@machine_test(cost=15)
def hunt(lab):
    """Finds the seed under which the kernel of tests/guests/queue crashes; every replay crashes alike."""
    with lab.boot(Boot(extra=str(own_guests(lab))), ips=IPS) as m:
        output = m.check(f"cd /tmp; hunt -o bug -seeds 1..60 {QUEUE}", re.compile(f"exit status 1, .* caught: {PANIC}"), limit=200)
        lines = output.splitlines()
        if not re.match(r"hunt: kept as bug, \d+ bytes", lines[-1]) or any("caught" in line for line in lines[:-2]):
            raise Failure(f"not a line per run:\n{output}")
        count = re.search(r"(\d+) instructions: caught", output)[1]
        for _ in range(3):
            if not re.match(PANIC, replayed(m, QUEUE, "/tmp/bug")):
                raise Failure("the replay does not crash")
            m.check("cat /tmp/bug.messages", re.compile(f"replayed {count} instructions"))
        output, status = m.sh(f"hunt -o none -seeds 1..2 -until 'no such line' {QUEUE}")
        if status != 1 or "no run was caught" not in output or m.sh("ls none")[1] == 0:
            raise Failure(f"hunting what is not there: status {status}\n{output}")
        output, status = m.sh("hunt -seeds 1..2 -limit 1 -mem 16 -append 10000000 /guests/torture.elf")
        if status != 0 or "caught: still running after 1 s" not in output:
            raise Failure(f"hunting what takes too long: status {status}\n{output}")


def race_results(m, options, line, limit=60):
    """What a racy guest says under some seeds; each replay says the same."""
    found = []
    for seed in SEEDS:
        first = recorded(m, f"-chaos {seed} {options} < /dev/null", limit=limit)
        if replayed(m, options, limit=limit) != first:
            raise Failure(f"chaos {seed}: the replay wrote something else than\n{first}")
        if re.search("^not ok", first, re.MULTILINE):
            raise Failure(f"chaos {seed}:\n{first}")
        found.append(re.search(line, first, re.MULTILINE)[1])
    return found


@machine_test(cost=20)
def races(lab):
    """Processors without a lock: other results from seed to seed, the same in each replay."""
    with lab.boot(Boot(extra=str(own_guests(lab))), ips=IPS) as m:
        found = race_results(m, "-mem 16 -cpus 2 /guests/race.elf", r"^race: 2 processors, (\d+) of")
        if len(set(found)) < 3:
            raise Failure(f"only these results: {found}")
        twins(m, "-mem 16 -cpus 4 /guests/race.elf", "^end 2 ok, 0 not ok")


def torture(m, rounds, replays, limit):
    """The torture guest, with bytes that come in at random moments; returns how many events its log has."""
    options = f"-mem 16 -append {rounds} /guests/torture.elf"
    first = recorded(m, f"-chaos 7 {options} < /dev/urandom", limit=limit)
    if not re.match(rf"torture: {rounds} rounds, \d{{4,}} interrupts, hash [0-9a-f]+$", first):
        raise Failure(f"the guest did not come to its end:\n{first}")
    for _ in range(replays):
        again = replayed(m, options, limit=limit)
        if again != first:
            raise Failure(f"the replay differs: {first} / {again}")
    found = re.findall(r"^(?:anchor|input|wake|switch) +(\d+)", m.check("chrono-log stat /tmp/twin"), re.MULTILINE)
    return sum(map(int, found))


@machine_test(cost=12)
def torture_guest(lab):
    with lab.boot(Boot(extra=str(own_guests(lab))), ips=IPS) as m:
        if torture(m, 20000, 2, 60) < 300:
            raise Failure("too few events")


@machine_test(level="all", cost=400)
def torture_guest_with_20_000_events(lab):
    with lab.boot(Boot(extra=str(own_guests(lab))), ips=IPS) as m:
        events = torture(m, 800000, 10, 600)
        if events < 20000:
            raise Failure(f"only {events} events")


@machine_test(cost=20)
def clock_none(lab):
    """Forced: exits, the race in the queue's kernel, processors, torture; and a guest that makes no exits."""
    with lab.boot(Boot(extra=str(own_guests(lab))), ips=IPS) as m:
        none = "-clock none -mem 64"
        twins(m, f"{none} /guests/exits.elf", r"^end \d+ ok, 0 not ok")
        twins(m, f"{none} /guests/queue.elf", "^(ok: 400 rounds|panic)", status=None)
        twins(m, f"{none} -cpus 2 /guests/race.elf", "^end 2 ok, 0 not ok")
        twins(m, f"{none} -append 5000 /guests/torture.elf", "^torture: 5000 rounds")
        m.check(f"vmx {none} -record /tmp/log /guests/exits.elf > /dev/null", re.compile(r"recorded \d+ exits"))
        m.check("chrono-log info /tmp/log", re.compile("^tick exit\nclock none$", re.MULTILINE))
        output, status = m.sh("vmx -mem 64 -replay /tmp/log /guests/exits.elf")
        if status != 125 or 'recorded "tick exit"' not in output:
            raise Failure(f"a replay with another clock: status {status}\n{output}")
        output, status = m.sh(f"vmx {none} -silence 1 -record /tmp/log /guests/compute.elf < /dev/null")
        if status != 129 or "has made no exit for 1 s" not in output:
            raise Failure(f"a guest without exits: status {status}\n{output}")


@machine_test(Boot(cpus=2), cost=15)
def two_processors_of_the_machine(lab):
    """Bochs does not count instructions there: recordings pass time by exits of their own accord."""
    with lab.boot(Boot(cpus=2, extra=str(own_guests(lab))), ips=IPS) as m:
        first = m.check("vmx -mem 64 -record /tmp/log /guests/exits.elf", re.compile(r"no instruction clock here"))
        if not re.search(r"^end \d+ ok, 0 not ok", first, re.MULTILINE):
            raise Failure(first)
        m.check("vmx -mem 64 -replay /tmp/log /guests/exits.elf", re.compile(r"replayed \d+ exits, all checks equal"))
