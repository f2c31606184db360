"""Scene 2: the crash that was found, replayed three times."""
import re

from story import SceneFailed

REPLAYS = 3


class Scene:
    title = "The same crash, three times"

    def play(self, story):
        machine, stage = story.machine(), story.stage
        story.need_crash()
        recorded = story.figures["hunt"]
        results = []
        for number in range(1, REPLAYS + 1):
            stage.tell(f"replay {number} of {REPLAYS}")
            output, status = machine.status(
                f"vmx -replay queue.log -stats figures {story.QUEUE} 2> messages; echo status $?; cat messages",
                show=True)
            if not re.search(r"^status 0$", output, re.MULTILINE):
                raise SceneFailed(f"replay {number} differs:\n{output}", event=output)
            results.append(self.result(output, machine.figures()))
        if any(result != results[0] for result in results):
            raise SceneFailed(f"the replays differ among themselves: {results}")
        crash, instructions, memory, state = results[0]
        if crash != recorded["crash"] or instructions != recorded["instructions"]:
            raise SceneFailed(f"the replays crash elsewhere than the recording: {results[0]}")
        stage.say(f"\n  {REPLAYS} replays: each crashed after instruction {instructions:,}, with the same words,\n"
                  f"  memory {memory}, registers and devices {state}.")
        story.figures["crash_replays"] = {"replays": REPLAYS, "instructions": instructions, "memory_hash": memory,
                                          "state_hash": state, "equal": REPLAYS}

    def result(self, output, figures):
        crash = re.search(r"^panic: .*", output, re.MULTILINE)
        return (crash[0] if crash else None, figures["instructions"], figures["memory_hash"], figures["state_hash"])
