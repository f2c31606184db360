"""Scene 3: the real gdb, backwards from the crash to the instruction that caused it."""
import argparse
import re

from datadisk import fetch
from gdb import DebugSession, Debuggee, transcript
from session import built
from story import SceneFailed

# What is typed into gdb. `monitor when` says where we are; `monitor costs` what the last travel executed again.
TYPED = ["continue", "bt", "p *q.head", "monitor when",
         "watch q.head->next", "reverse-continue", "bt 1", "monitor when",
         "reverse-stepi", "monitor when", "monitor costs"]
COUNT = re.compile(r"^count (\d+),", re.MULTILINE)
COST = re.compile(r"executed again: (\d+)")


class Scene:
    title = "Backwards"

    def play(self, story):
        stage, folder = story.stage, story.folder / "gdb"
        story.need_crash()
        stage.tell("the log leaves the machine, a debugger gets it")
        log = self.fetch_log(story)
        debuggee = Debuggee(argparse.Namespace(what=str(log), image=[str(built("guests/queue.elf"))],
                                               symbols=[str(built("guests/queue.elf.64"))], vmlinux=None), folder)
        stage.say("  A machine replays the recording of the crash, gdb is connected to it through a serial line.\n")
        with DebugSession(debuggee, folder, write=lambda data: None, log_dir=folder) as session:
            stage.tell("gdb")
            text = transcript(session.port, debuggee.symbols, TYPED, show=stage.show)
        self.judge(story, text)

    def fetch_log(self, story):
        machine = story.machine()
        folder = story.folder / "gdb"
        folder.mkdir(exist_ok=True)
        machine.run("sync")
        if not fetch(machine.disk.image, "queue.log", folder / "queue.log"):
            raise SceneFailed("the log of the crash is not on the data disk")
        return folder / "queue.log"

    def judge(self, story, text):
        """The transcript must tell the story: the culprit, the old and the new value, and what it cost."""
        places = [int(count) for count in COUNT.findall(text)]
        culprit = re.search(r"\btimer_irq \(.* at \S*queue\.c:(\d+)", text)
        values = re.search(r"^Old value = (.*)\nNew value = (.*)$", text, re.MULTILINE)
        cost = COST.search(text)
        if len(places) != 3 or not culprit or not values or not cost:
            raise SceneFailed("gdb did not stand on the culprit, or its values or the costs are missing")
        crash, damage, before = places
        if damage >= crash or before >= damage:
            raise SceneFailed(f"gdb did not go backwards: instructions {places}")
        story.figures["reverse"] = {
            "crash": crash, "culprit": damage, "instructions_back": crash - damage, "line": int(culprit[1]),
            "old_value": values[1], "new_value": values[2], "reverse_stepi_instructions": int(cost[1])}
        story.stage.say(f"\n  The culprit is {crash - damage:,} instructions before the crash. reverse-stepi executed "
                        f"{int(cost[1]):,} instructions again.")


# At the end of the recording of Debian: what a step back costs there, the first and the next.
TYPED_AT_DEBIAN = ["monitor goto end", "reverse-stepi", "monitor costs", "reverse-stepi", "monitor costs", "monitor when"]


def steps_of_debian(story, log, images):
    """A step back near the end of Debian's recording: instructions that were executed again."""
    stage, folder = story.stage, story.folder / "gdb-debian"
    folder.mkdir()
    debuggee = Debuggee(argparse.Namespace(what=str(log), image=[str(path) for path in images], symbols=[], vmlinux=None),
                        folder)
    with DebugSession(debuggee, folder, write=lambda data: None, log_dir=folder) as session:
        text = transcript(session.port, [], TYPED_AT_DEBIAN, show=stage.show)
    costs = [int(cost) for cost in COST.findall(text)]
    places = [int(count) for count in COUNT.findall(text)]
    if len(costs) != 2 or not places:
        raise SceneFailed("gdb did not step backwards at the end of Debian's recording")
    story.figures["reverse_debian"] = {"count": places[-1], "first_instructions": costs[0],
                                       "reverse_stepi_instructions": costs[1]}
    if checkpoint := re.search(r"the last one in (\d+)", text):
        story.figures["reverse_debian"]["checkpoint_instructions"] = int(checkpoint[1])
    stage.say(f"\n  Two steps back from the end of Debian's {places[-1]:,} instructions: {costs[0]:,} and {costs[1]:,} "
              "instructions executed again.")
