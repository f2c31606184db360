"""Scene 4: Debian's kernel, recorded beside the other scenes, replayed in a second boot of the image."""
import subprocess

from session import BUILD, TOOLS
from story import SceneFailed
from story.backwards import steps_of_debian
from story.linux import HOST_MEMORY, MEMORY, RACE, SEEDS, data_disk, vmx
from story.machines import MachineShell

REPLAYS = 3
# The second machine: another emulator speed, another period of the host's timer, another memory size.
IPS, SLICE_MS, MORE_MEMORY = 70_000_000, 7, 64
LAST_LINES = 8
RESULTS_WANTED = 3                                     # different ones of the racy program


class Scene:
    title = "A whole Debian"

    def play(self, story):
        recorder, stage = story.recorder, story.stage
        stage.say("  Debian's kernel boots to a shell, somebody types, files go to a disk, two threads race. It was\n"
                  "  recorded on the second core while you watched.")
        stage.tell("waiting for the first recording")
        recorder.wait(lambda: recorder.log.exists() and recorder.runs)
        replays = self.replay(story, recorder)
        self.beside(stage, recorder.runs[0]["console"], replays[0]["console"])
        stage.tell("gdb at the end of Debian's recording")
        steps_of_debian(story, recorder.log, [story.guest / name for name in ("vmlinuz", "initrd", "disk.img")])
        measure_computation(story)
        stage.tell("the other seeds")
        recorder.wait(lambda: len(recorder.runs) == len(SEEDS) and recorder.plain and not recorder.is_alive())
        races = [run["race"] for run in recorder.runs]
        again = [int(RACE.search(replay["console"])[1]) for replay in replays]
        stage.say(f"\n  The racy program, recorded with seeds {SEEDS[0]} to {SEEDS[-1]}: {', '.join(map(str, races))}.\n"
                  f"  Replays of seed {SEEDS[0]}: {', '.join(map(str, again))}.")
        if len(set(races)) < RESULTS_WANTED:
            raise SceneFailed(f"the racy program has only {len(set(races))} results: {races}")
        if set(again) != {races[0]}:
            raise SceneFailed(f"the replays' results of the racy program are {again}, recorded was {races[0]}")
        self.measure(story, recorder, replays, races)

    # ---- the second boot ---------------------------------------------------------------------

    def replay(self, story, recorder):
        stage, folder = story.stage, story.folder / "second"
        folder.mkdir()
        iso = folder / "second.iso"
        subprocess.run([TOOLS / "mkiso", "-o", iso, "-c",
                        f"console=ttyS0 loglevel=4 init=/bin/chrono-session slice={SLICE_MS}",
                        BUILD / "chronovisor.elf", BUILD / "initrd.cpio"], check=True)
        disk = data_disk(folder, story.guest, [recorder.log])
        stage.say(f"\n  A second machine: {IPS // 10**6} million instructions a second instead of 100, a host timer of "
                  f"{SLICE_MS} ms instead of 4,\n  {MORE_MEMORY} MiB more memory.")
        with MachineShell(disk, MEMORY + HOST_MEMORY + MORE_MEMORY, stage, log_dir=folder, ips=IPS, iso=iso) as machine:
            return [self.replay_once(machine, stage, number) for number in range(1, REPLAYS + 1)]

    def replay_once(self, machine, stage, number):
        stage.tell(f"replay {number} of {REPLAYS}")
        command = vmx("-replay debian-1.log -log messages")
        output, status = machine.status(command, limit=400)
        messages = machine.run("cat messages")
        if status != 0:
            raise SceneFailed(f"replay {number} of debian-1.log: status {status}\n{messages}", event=messages)
        stage.say(f"  # {command}")
        stage.show(messages)
        return {"console": output, "figures": machine.figures()}

    def beside(self, stage, recorded, replayed):
        """The last lines of the recording's console beside those of the replay's."""
        left, right = (clean_lines(text)[-LAST_LINES:] for text in (recorded, replayed))
        width = 58
        stage.say(f"\n  {'recorded':{width}}   replayed")
        for a, b in zip(left, right):
            stage.show(f"{a[:width]:{width}} | {b[:width]}")
        if clean_lines(recorded) != clean_lines(replayed):
            raise SceneFailed("the replay's console shows something else than the recording's")

    # ---- figures -----------------------------------------------------------------------------

    def measure(self, story, recorder, replays, races):
        recorded = [run["figures"] for run in recorder.runs]
        replayed = [replay["figures"] for replay in replays]
        first, plain = recorded[0], recorder.plain
        hashes = {(f["instructions"], f["memory_hash"], f["state_hash"]) for f in [first, *replayed]}
        if len(hashes) != 1:
            raise SceneFailed(f"recording and replays end differently: {hashes}")
        story.figures["debian"] = {
            "instructions": first["instructions"], "exits": first["exits"], "events": first["events"],
            "results": first["results"], "log_bytes": first["log_bytes"], "hash_bytes": first["hash_bytes"],
            "bytes_per_1000_instructions": 1000 * first["log_bytes"] / first["instructions"],
            "bytes_per_event": (first["log_bytes"] - first["hash_bytes"]) / max(1, first["events"]),
            "recording_overhead": overhead(recorded, plain),
            "replay_cost": median([f["busy_ticks"] / f["instructions"] for f in replayed])
            / (first["busy_ticks"] / first["instructions"]),
            "replays": REPLAYS, "checks_equal": sum(f["checks"] for f in replayed) if "checks" in first else REPLAYS,
            "memory_hash": first["memory_hash"], "state_hash": first["state_hash"],
            "races": races, "race_replayed": races[0]}


def measure_computation(story):
    """What recording costs a guest that only computes."""
    machine, stage = story.machine(), story.stage

    def run(what, options):
        stage.tell(f"a guest that only computes, {what}")
        machine.run(f"vmx {options} -stats figures -mem 32 compute.elf", limit=200)
        return machine.figures()
    plain = run("not recorded", "")
    recorded = [run(f"recorded, seed {seed}", f"-record compute.log -seed {seed}") for seed in SEEDS[:3]]
    story.figures["compute"] = {"instructions": plain["instructions"], "recording_overhead": overhead(recorded, plain),
                                "log_bytes": recorded[0]["log_bytes"]}


def median(values):
    return sorted(values)[len(values) // 2]


def overhead(recorded, plain):
    """Busy host ticks per guest instruction while recording, over those of a run that is not recorded."""
    def cost(figures):
        return figures["busy_ticks"] / figures["instructions"]
    return median([cost(figures) for figures in recorded]) / cost(plain) - 1


def clean_lines(console):
    """What the guest said; vmx's own messages and the carriage returns of its terminal apart."""
    lines = [line.rstrip() for line in console.replace("\r", "").splitlines()]
    return [line for line in lines if line and not line.startswith("vmx: ")]
