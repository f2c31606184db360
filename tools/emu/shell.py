"""A shell at the other end of a console: commands in, output and status out."""


class Shell:
    def __init__(self, console, prompt=r"# $"):
        self.console, self.prompt, self.serial = console, prompt, 0

    def wait_prompt(self, limit=120):
        """Returns the text before the prompt."""
        return self.console.expect(self.prompt, limit).before

    def run(self, command, limit=60):
        """Runs a command line; returns (output, status).

        Marks around the output tell it from the echo of the command, which has quotes in them.
        """
        self.serial += 1
        n = self.serial
        joint = " " if command.rstrip().endswith("&") else "; "
        self.console.send(f"echo '<'\"<{n}\"; {command}{joint}echo '>'\">{n} $?\"\n")
        self.console.expect(rf"^<<{n}$", limit)
        # The newline is waited for: a status may come digit by digit.
        found = self.console.expect(rf"^([^\n]*)>>{n} (\d+)\n", limit)
        self.console.expect(self.prompt, limit)
        return (found.before + found[1]).strip("\n"), int(found[2])
