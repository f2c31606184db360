"""Debian's kernel under adversarial timing, with 1, 2 and 4 processors; short of memory; without a count."""
import re

from guests import recorded, replayed
from harness import Boot, Failure, machine_test
from test_guest_linux import HOST_MEM, IPS, LIMIT, guest_options, image_files

AREA = "Chaos"
RACE = "console=ttyS0 quiet cryptomgr.notests rdinit=/roles role=race"
SWAP = "console=ttyS0 quiet rdinit=/roles role=swap"
SWAP_MEM = 104                          # MiB: 48 MB of files in memory do not fit beside the kernel and its initrd


def same_again(m, extra, options, limit=LIMIT):
    """Records with `extra` options, replays, compares; returns what the guest wrote."""
    first = recorded(m, f"{extra} {options} < /dev/null", limit=limit)
    again = replayed(m, options, limit=limit)
    if again != first:
        raise Failure(f"vmx {extra} {options}: the replay wrote something else:\n{first}\n----\n{again}")
    return first


@machine_test(level="all", cost=400)
def racing_threads(lab):
    """Two threads of a Linux program without a lock: other results from seed to seed, the same in each replay."""
    found = []
    options = guest_options(RACE)
    with lab.boot(Boot(mem=HOST_MEM, extra=image_files(lab, "cloud")), ips=IPS) as m:
        for seed in range(1, 6):
            found.append(tuple(re.findall(r"^racer: (\d+) of", same_again(m, f"-chaos {seed}", options), re.MULTILINE)))
    if any(len(results) != 3 for results in found) or len(set(found)) < 3:
        raise Failure(f"not three results in five seeds: {found}")


@machine_test(level="all", cost=300)
def two_and_four_processors(lab):
    with lab.boot(Boot(mem=HOST_MEM, extra=image_files(lab, "cloud")), ips=IPS) as m:
        for cpus in (2, 4):
            output = same_again(m, f"-chaos {cpus}", guest_options(RACE, options=f"-cpus {cpus}"), 2 * LIMIT)
            if f"{cpus} processors" not in output:
                raise Failure(f"not {cpus} processors:\n{output}")


@machine_test(level="all", cost=120)
def short_of_memory(lab):
    """A guest that swaps: pages come and go, and so do their accessed bits."""
    disk = lab.disk("swap.img", 96)
    options = guest_options(SWAP, SWAP_MEM, "-disk /dev/hda,private")
    with lab.boot(Boot(mem=HOST_MEM + 96, extra=image_files(lab, "cloud")), disks=[disk], ips=IPS) as m:
        output = same_again(m, "-seed 1", options)
        swapped = [int(n) for n in re.findall(r"^pswp\w+ (\d+)", output, re.MULTILINE)]
        if len(set(re.findall(r"^([0-9a-f]{32})  /mnt/\d", output, re.MULTILINE))) != 1 or min(swapped, default=0) < 500:
            raise Failure(f"the guest did not swap:\n{output}")
        m.check("grep -c 'accessed bits only' /tmp/twin.messages || true", "0")


@machine_test(level="all", cost=150)
def clock_none(lab):
    """Time by exits: reads of the TSC are trapped, events come at exits alone."""
    options = guest_options(RACE, options="-clock none")
    with lab.boot(Boot(mem=HOST_MEM, extra=image_files(lab, "cloud")), ips=IPS) as m:
        same_again(m, "", options)
        m.check("cat /tmp/twin.messages", re.compile(r"replayed \d+ exits"))
        m.check("chrono-log info /tmp/twin", re.compile("^tick exit\nclock none$", re.MULTILINE))
