"""Scene 5: would we notice? One bit of a log is flipped; a log without its events is run."""
import re

from story import SceneFailed

# Where in the log: in the middle of a chunk. `flip` is a line of shell, since the bit is flipped in the machine.
FLIP = ("cp queue.log flipped.log; at=$(($(stat -c %s queue.log) * 2 / 3)); "
        "byte=$(od -An -tu1 -j $at -N 1 queue.log); "
        "printf \"\\\\$(printf %o $((byte ^ 4)))\" | dd of=flipped.log bs=1 seek=$at conv=notrunc 2> /dev/null; "
        "echo \"bit 2 of byte $at\"")


class Scene:
    title = "Would we notice?"

    def play(self, story):
        machine, stage = story.machine(), story.stage
        story.need_crash()
        stage.tell("one bit is flipped")
        machine.run(FLIP, show=True)
        report = self.refused(machine, "flipped.log", story.QUEUE)
        where = re.search(r"chunk (\d+) .* at (0x[0-9a-f]+).*usable", report)
        if not where:
            raise SceneFailed(f"a flipped bit was not reported with its place:\n{report}")
        stage.tell("a log without its events")
        machine.run("chrono-log control queue.log control.log", show=True)
        control = self.refused(machine, "control.log", story.QUEUE)
        if "differs from the recording" not in control:
            raise SceneFailed(f"a log without its events ended otherwise:\n{control}")
        machine.run(f"vmx -replay queue.log {story.QUEUE} > /dev/null 2> messages; cat messages; "
                    "grep -q 'all checks equal' messages", show=True)
        story.figures["control"] = {"flipped": report.strip(), "control": control.strip(), "diverges": True}
        stage.say("\n  Both were noticed, at their true places; the log itself still replays.")

    def refused(self, machine, log, guest):
        """The report of a replay that must fail."""
        output, _ = machine.status(f"vmx -replay {log} {guest} > /dev/null 2> messages; echo status $?; cat messages",
                                   show=True)
        if re.search(r"^status 0$", output, re.MULTILINE):
            raise SceneFailed(f"{log}: the replay noticed nothing:\n{output}")
        return output.partition("\n")[2]
