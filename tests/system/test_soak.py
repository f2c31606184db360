"""Recording for long, and recordings that are cut off."""
import random
import re
import subprocess
import time

from harness import Boot, Failure, machine_test
from test_guest import own_guests

AREA = "Soak"
IPS = 100_000_000
LOGS = "/vmfs/volumes/logs"


def logs_disk(lab, size_mib):
    disk = lab.disk("logs.img", size_mib)
    subprocess.run(["/sbin/mke2fs", "-q", "-F", "-t", "ext2", "-L", "cv:logs", disk], check=True)
    return disk


def say(lab, text):
    """Progress: these tests are long."""
    print(f"     {lab.test.name}: {text}", flush=True)


def resident(lab, m, what, command, every, limit):
    """Runs vmx in the background; its resident memory in KB as it goes on, and its status."""
    m.check(f"({command}; echo $? > /tmp/status) > /tmp/output & sleep 1; rm -f /tmp/status")
    samples, start = [], time.monotonic()
    while m.sh("cat /tmp/status 2> /dev/null")[1] != 0:
        seconds = time.monotonic() - start
        if seconds > limit:
            raise Failure(f"still running after {limit} s: {command}")
        found = re.search(r"(\d+) kB", m.sh("grep VmRSS /proc/$(pidof vmx)/status 2> /dev/null")[0])
        if found:
            samples.append(int(found[1]))
            size = int(m.check(f"stat -c %s {LOGS}/long"))
            say(lab, f"{what} for {seconds:.0f} s, the log has {size >> 10} KB, vmx {samples[-1]} KB of memory")
        m.check(f"for i in $(seq {every}); do [ -e /tmp/status ] && break; sleep 1; done", limit=every * 10 + 60)
    return samples, m.check("cat /tmp/status")


def check_flat(what, samples):
    """From the first twentieth on (chunks and sums have had their turn) it stays within 1 %."""
    kept = samples[len(samples) // 20 + 1:]
    if len(kept) < 10 or max(kept) > min(kept) * 1.01:
        raise Failure(f"{what}: resident memory in KB: {samples}")


def long_run(lab, instructions, events, every, limit):
    """A guest that computes for so many instructions, with timer interrupts and bytes coming in at random moments."""
    options = f"-mem 16 -append {instructions // 10**6 * 101 // 100} /guests/marathon.elf"
    record = f"vmx -record {LOGS}/long -log {LOGS}/messages -chaos 11 {options} < /dev/urandom"
    replay = f"vmx -replay {LOGS}/long -log {LOGS}/again {options} < /dev/null"
    with lab.boot(Boot(extra=str(own_guests(lab))), disks=[logs_disk(lab, 256)], ips=IPS) as m:
        samples, status = resident(lab, m, "recording", record, every, limit)
        if status != "0":
            raise Failure(f"the recording ended with {status}: " + m.sh(f"cat {LOGS}/messages")[0])
        check_flat("recording", samples)
        first = m.check("cat /tmp/output")
        count = int(re.search(r"recorded (\d+)", m.check(f"cat {LOGS}/messages"))[1])
        stat = m.check(f"chrono-log stat {LOGS}/long", limit=limit)
        found = sum(map(int, re.findall(r"^(?:anchor|input|wake|switch) +(\d+)", stat, re.MULTILINE)))
        say(lab, f"recorded {count} instructions, {found} events\n{first}\n{stat}")
        if count < instructions or found < events:
            raise Failure(f"{count} instructions, {found} events:\n{stat}")
        samples, status = resident(lab, m, "replaying", replay, every, limit)
        check_flat("replaying", samples)
        if status != "0" or m.check("cat /tmp/output") != first:
            raise Failure(f"the replay ended with {status}: " + m.sh(f"cat {LOGS}/again")[0])
        m.check(f"cat {LOGS}/again", re.compile(f"replayed {count} instructions, all checks equal"))


@machine_test(level="all", cost=300)
def five_hundred_million_instructions(lab):
    long_run(lab, 500_000_000, 20_000, 1, 900)


@machine_test(level="soak", cost=4000)
def twenty_thousand_million_instructions(lab):
    long_run(lab, 20_000_000_000, 1_000_000, 15, 20_000)


def cut_off(lab, seconds):
    """The emulator is killed while a guest is recorded: what is on the disk replays up to its last chunk."""
    disk = logs_disk(lab, 16)
    options = "-mem 16 -append 100000000 /guests/torture.elf"
    boot = Boot(extra=str(own_guests(lab)))
    with lab.boot(boot, disks=[disk], ips=IPS) as m:
        m.check(f"(vmx -record {LOGS}/cut -chaos 5 {options} < /dev/urandom > /dev/null 2>&1 &); "
                "sleep 5", limit=300)          # what is older than three seconds must be there
        time.sleep(seconds)
        m.running.process.kill()
        m.running.process.wait()
        m.com1.wait_closed(5)
    subprocess.run(["/sbin/e2fsck", "-fy", disk], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    with lab.boot(boot, disks=[disk], ips=IPS) as m:
        verified, _ = m.sh(f"chrono-log verify {LOGS}/cut")
        usable = re.search(r": (\d+ chunks?) \(.* before it are usable", verified)
        if not usable:
            raise Failure(f"after {seconds:.1f} s: {verified}")
        output, status = m.sh(f"vmx -replay {LOGS}/cut {options} < /dev/null", 600)
        if status not in (124, 125) or "differs" in output or usable[1] not in output:
            raise Failure(f"after {seconds:.1f} s: status {status}\n{output}")
    say(lab, f"killed after {seconds:.1f} s, {usable[1]}: {output.strip().splitlines()[-1]}")
    return int(usable[1].split()[0])


def many_cuts(lab, number, longest):
    chances = random.Random(1)
    chunks = [cut_off(lab, chances.uniform(0, longest)) for _ in range(number)]
    if max(chunks) < 2:
        raise Failure(f"chunks on the disk: {chunks}")


@machine_test(level="all", cost=90)
def recording_is_cut_off(lab):
    many_cuts(lab, 2, 8)


@machine_test(level="soak", cost=1200)
def recording_is_cut_off_twenty_times(lab):
    many_cuts(lab, 20, 30)
