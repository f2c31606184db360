"""The last screen: what was measured beside the goals and beside QEMU's record/replay; build/demo.json."""
import json

# Goals, and what QEMU 7.2's record/replay needs for the same boot of the same kernel (docs/recording.md has the
# commands; measured once on another machine, not in this run).
QEMU = {"recording_overhead": "46 %", "bytes_per_1000": "4.34", "replay_cost": "1.86 x (time)",
        "reverse_stepi": "551 M instructions"}
NEXT = """
Three things to try:
  make run                                                   the machine itself; ^] leaves
  build/chrono record build/guests/queue.elf --chaos 1 -o bug.chrono && build/chrono replay bug.chrono
  build/chrono gdb bug.chrono                                and then: reverse-stepi"""


def rows(figures):
    """(what, measured, goal, met or None, QEMU)"""
    debian, reverse = figures.get("debian"), figures.get("reverse_debian")
    if debian:
        overhead, cost = debian["recording_overhead"], debian["replay_cost"]
        per_1000, per_event = debian["bytes_per_1000_instructions"], debian["bytes_per_event"]
        yield "recording Debian costs", f"{100 * overhead:.1f} %", "5 %", overhead <= 0.05, QEMU["recording_overhead"]
        if "compute" in figures:
            value = figures["compute"]["recording_overhead"]
            yield "recording a computation costs", f"{100 * value:.1f} %", "5 %", value <= 0.05, ""
        yield "log, bytes per 1000 instructions", f"{per_1000:.4f}", "0.1", per_1000 <= 0.1, QEMU["bytes_per_1000"]
        yield "log, bytes per event", f"{per_event:.1f}", "6", per_event <= 6, ""
        yield "replay, idle time skipped", f"{cost:.2f} x", "1.1 x", cost <= 1.1, QEMU["replay_cost"]
        yield "replays equal to the recording", f"{debian['replays']} of {debian['replays']}", "all", True, ""
    if reverse:
        executed = reverse["reverse_stepi_instructions"]
        yield ("reverse-stepi at Debian's end runs", f"{executed / 1e6:.2f} M instructions", "2 M", executed <= 2_000_000,
               QEMU["reverse_stepi"])
        if "checkpoint_instructions" in reverse:
            value = reverse["checkpoint_instructions"]
            yield "a checkpoint of Debian", f"{value / 1e6:.2f} M instructions", "0.2 M", value <= 200_000, ""


def show(stage, figures):
    lines = list(rows(figures))
    if not lines:
        return
    stage.say("")
    stage.say(f"  {'':34}{'measured':>22}{'goal':>8}  {'':8}{'QEMU':>20}")
    for what, measured, goal, met, qemu in lines:
        stage.say(f"  {what:34}{measured:>22}{goal:>8}  {'met' if met else 'missed':8}{qemu:>20}")


def write(path, figures):
    """What was measured now replaces what an earlier run measured; a single scene leaves the others' figures."""
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        known = {}
    seconds = known.get("seconds", {}) | figures["seconds"]
    path.write_text(json.dumps(known | figures | {"seconds": seconds}, indent=1, sort_keys=True) + "\n")
