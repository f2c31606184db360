"""Runs of guests under vmx, each with its twin: what is recorded is also replayed and compared."""
import re

from harness import Failure


def own_lines(text):
    """What the guest wrote, without vmx's messages."""
    return [line for line in text.splitlines() if not line.startswith("vmx: ")]


def recorded(m, options, log="/tmp/twin", status=0, limit=120):
    """Records `vmx OPTIONS` as LOG; returns what the guest wrote. status None: any that is the guest's or its end."""
    output, got = m.sh(f"vmx -record {log} -log {log}.messages {options}", limit)
    if got != status and (status is not None or got in (124, 125, 126)):
        raise Failure(f"vmx {options}: status {got}, expected {status}:\n{output[-2000:]}\n"
                      + m.sh(f"cat {log}.messages")[0])
    m.check(f"cat {log}.messages", re.compile(r"recorded \d+ (instructions|exits)"))
    return output


def replayed(m, options, log="/tmp/twin", limit=120):
    """Replays LOG, whose checks must all be equal; returns what the guest wrote."""
    return m.check(f"vmx -replay {log} -log {log}.messages {options} < /dev/null; s=$?; grep -q 'all checks equal' "
                   f"{log}.messages || {{ cat {log}.messages; s=1; }}; (exit $s)", limit=limit)


def twins(m, options, wanted=None, log="/tmp/twin", status=0, limit=120, replays=1):
    """Records a guest that needs no input, and replays it; returns what it wrote, which matches `wanted` (a regex)."""
    first = recorded(m, options + " < /dev/null", log, status, limit)
    if wanted and not re.search(wanted, first, re.MULTILINE):
        raise Failure(f"vmx {options}: no {wanted!r} in:\n{first}")
    for _ in range(replays):
        again = replayed(m, options, log, limit)
        if again != first:
            raise Failure(f"vmx {options}: the replay wrote something else:\n{first}\n----\n{again}")
    m.check(f"rm -f {log} {log}.messages")
    return first
