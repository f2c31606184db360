"""Recordings of VMs that somebody types at, at moments that nobody chose, several at once; and their replays."""
import random
import re
import time

from guests import replayed
from harness import Boot, Failure, machine_test
from test_guest import own_guests
from test_guest_linux import LIMIT, guest_options, image_files

AREA = "Record and replay"
IPS = 100_000_000
LINE_2 = "/dev/ttyS1"
KEYS = "abcdefghijklmnopqrstuvwxyz 0123456789"
LINES = "abcdefgh\n\n"
DROP_LINE = "\x15"                      # what was typed at a VM that had ended is in the shell's line


def type_until(consoles, texts, ended, mean):
    """Types at consoles by turns of chance, `mean` seconds apart on average, until ended() is true."""
    chances = random.Random()
    while not ended():
        chances.choice(consoles).send(chances.choice(texts))
        time.sleep(chances.expovariate(1 / mean))


def seen(console, pattern):
    """How often that is to be seen on the console since somebody waited for something."""
    return len(re.findall(pattern, console.pending(), re.MULTILINE))


def start_both(m, options):
    """Records two VMs: /tmp/first on the terminal, /tmp/second, behind the other line, in the background."""
    m.check(f"stty -F {LINE_2} raw -echo")
    m.check(f"vmx -record /tmp/second -log /tmp/second.messages {options} < {LINE_2} | tee /tmp/second.text > {LINE_2} &")
    m.com1.send(f"vmx -record /tmp/first -log /tmp/first.messages {options} | tee /tmp/first.text; wait; echo '<'ended\n")


def replay_both(m, options, least):
    """Both replay to what they wrote when they were recorded; each must have got so many inputs."""
    texts = []
    for name in ("first", "second"):
        stat = m.check(f"chrono-log stat /tmp/{name}")
        found = re.search(r"^input +(\d+)", stat, re.MULTILINE)
        if not found or int(found[1]) < least:
            raise Failure(f"{name}: not {least} inputs were recorded:\n{stat}")
        texts.append(m.check(f"cat /tmp/{name}.text"))
        again = replayed(m, options, f"/tmp/{name}", LIMIT)
        if again != texts[-1]:
            raise Failure(f"{name}: the replay wrote something else:\n{texts[-1]}\n----\n{again}")
    return texts


@machine_test(cost=20)
def keys_at_random_moments(lab):
    """Two torture guests at once: timers, halts, and bytes that come whenever they come. Every moment is in the hash."""
    options = "-mem 16 -append 30000 /guests/torture.elf"
    with lab.boot(Boot(extra=str(own_guests(lab))), ips=IPS) as m:
        start_both(m, options)
        type_until([m.com1, m.com2], KEYS, lambda: seen(m.com1, "<ended\n"), 0.02)
        m.com1.send(DROP_LINE + "\n")
        m.shell.wait_prompt()
        first, second = replay_both(m, options, 20)
        hashes = {re.search(r"hash ([0-9a-f]+)$", text)[1] for text in (first, second)}
        if len(hashes) != 2:
            raise Failure(f"the moments made no difference: {first}")


@machine_test(level="all", cost=200)
def two_debians_typed_at(lab):
    """Lines at random moments, while each writes to a disk, sleeps, and has nothing to do in between."""
    options = guest_options("console=ttyS0 quiet cryptomgr.notests rdinit=/roles role=typed", 128, "-disk /dev/hda,private")
    with lab.boot(Boot(mem=3 * 128, extra=image_files(lab, "cloud")), disks=[lab.disk("disk.img", 1)], ips=IPS) as m:
        start_both(m, options)
        both = [m.com1, m.com2]
        for console in both:
            console.expect("^typed: started", LIMIT)
        type_until(both, LINES, lambda: min(seen(console, "^typed: ") for console in both) >= 20, 0.1)
        for console in both:
            console.send("\nend\n")
        m.com1.expect("<ended\n", LIMIT)
        m.shell.wait_prompt()
        for text in replay_both(m, options, 100):
            if not re.search("^[0-9a-f]{32}  /dev/vda$", text, re.MULTILINE):
                raise Failure(f"the guest did not do its work:\n{text}")
