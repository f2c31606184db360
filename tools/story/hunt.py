"""Scene 1: a small kernel with a mistake; hunt records it with one timing after another until it fails."""
import re

from story import SceneFailed

SEEDS = "1..500"


class Scene:
    title = "A kernel with a bug: it fails in one run of some"

    def play(self, story):
        stage = story.stage
        stage.say("  tests/guests/queue: a timer interrupt queues work, the main loop carries it out. Same kernel, no\n"
                  "  input at all: only the moments of the interrupts differ from run to run, by a seed.\n")
        stage.tell("booting Chronovisor")
        hunt(story, show=True)
        found = story.figures["hunt"]
        stage.say(f"\n  {found['runs'] - 1} runs were fine, seed {found['seed']} crashed. Its log is kept: "
                  f"{found['instructions']:,} instructions,\n  {found['records']} records, "
                  f"{found['log_bytes']} bytes.")


def hunt(story, show):
    """Finds and keeps queue.log; what the other scenes need of this one."""
    machine = story.machine()
    output, status = machine.status(f"hunt -o queue.log -seeds {SEEDS} {story.QUEUE}", limit=240, show=show)
    runs = re.findall(r"^seed (\d+): exit status (\d+), (\d+) instructions(?:: caught: (.*))?$", output, re.MULTILINE)
    if status != 0 or not runs or not runs[-1][3]:
        raise SceneFailed(f"the hunt of {SEEDS} found no crash:\n{output}")
    seed, _status, instructions, crash = runs[-1]
    info = dict(line.partition(" ")[::2] for line in machine.run("chrono-log info queue.log").splitlines())
    story.figures["hunt"] = {
        "runs": len(runs), "seed": int(seed), "crash": crash, "instructions": int(instructions),
        "records": int(info["records"]), "log_bytes": int(info["bytes"])}
