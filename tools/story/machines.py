"""A machine with a shell in it, for the scenes: commands typed visibly, answers shown as they come."""
import re
import time

from emu import EmuError
from emu.patience import end_of
from emu.shell import Shell
from session import PANIC, Session

PROMPT = r"^chrono# $"


class MachineShell:
    """A booted machine. Use it as a context manager, or stop() it."""

    def __init__(self, disk, mem, stage, log_dir=None, **more):
        """`disk`: a DataDisk with the files; the shell is in its folder. `stage`: None: shows nothing."""
        self.stage = stage
        self.session = Session(disk, "export PS1='chrono# '; sh -i", mem, write=lambda data: None,
                               log_dir=log_dir, **more)
        self.disk, self.running = disk, self.session.running
        try:
            self.session.wait_begin()
            self.running.com1.trouble = PANIC
            self.shell = Shell(self.running.com1, PROMPT)
            self.shell.wait_prompt()
            self.status("stty cols 1000")              # no line breaks in what is echoed
        except BaseException:
            self.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.running.stop()

    def power_off(self, limit=60):
        """Ends it in good order, so that its disk can be read."""
        self.running.com1.send("exit\n")
        self.session.wait_end(limit)
        self.stop()

    def status(self, command, limit=60, show=False):
        """Runs a command line; returns (output, status). With show, it and its answer are on the stage."""
        if show and self.stage:
            self.stage.say(f"  # {command}")
        if show and self.stage:
            output, status = self._run_shown(command, limit)
        else:
            output, status = self.shell.run(command, limit)
        return output, status

    def run(self, command, limit=60, show=False):
        """The same for a command that must succeed; returns its output."""
        output, status = self.status(command, limit, show)
        if status != 0:
            raise EmuError(f"{command}: status {status}\n{output}")
        return output

    def _run_shown(self, command, limit):
        """Like Shell.run(), with each line shown when it is complete."""
        console = self.running.com1
        self.shell.serial += 1
        n = self.shell.serial
        console.send(f"echo '<'\"<{n}\"; {command}; echo '>'\">{n} $?\"\n")
        console.expect(rf"^<<{n}\n", limit)
        deadline, lines = end_of(limit), []
        while True:
            found = console.expect(r"^[^\n]*\n", max(1, deadline - time.monotonic()))
            line = found[0].rstrip("\n")
            end = re.search(rf"(.*)>>{n} (\d+)$", line)
            text = end[1] if end else line
            if text or not end:
                lines.append(text)
                self.stage.show(text)
            if end:
                console.expect(PROMPT, limit)
                return "\n".join(lines), int(end[2])

    def figures(self, name="figures"):
        """What `vmx -stats NAME` wrote: {word: number or text}."""
        text = self.run(f"cat {name}")
        found = re.search(r"figures: (.*)", text)
        if not found:
            raise EmuError(f"no figures in {text!r}")
        words = found[1].split()
        return {key: int(value) if re.fullmatch(r"\d+", value) else value
                for key, value in zip(words[::2], words[1::2])}
