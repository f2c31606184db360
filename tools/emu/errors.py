"""What can go wrong with an emulator, said in a sentence."""


class EmuError(Exception):
    """The message says what happened; `machine` (if any) adds the last console lines."""

    def __init__(self, message, machine=None):
        super().__init__(message)
        self.message = message
        self.machine = machine

    def __str__(self):
        if self.machine is None:
            return self.message
        return self.message + "\n" + self.machine.post_mortem()


class Timeout(EmuError):
    """An expected text did not come within the wall-clock backstop."""


class MachineEnded(EmuError):
    """The emulator ended while something was still expected of it."""
