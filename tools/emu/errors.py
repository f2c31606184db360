"""What can go wrong with an emulator, said in a sentence."""


class EmuError(Exception):
    """The message says what happened; a machine adds what it last said, as it was at that moment."""

    def __init__(self, message, machine=None):
        self.message = message
        super().__init__(message + ("\n" + machine.post_mortem() if machine else ""))


class Timeout(EmuError):
    """An expected text did not come within the wall-clock backstop."""


class MachineEnded(EmuError):
    """The emulator ended while something was still expected of it."""
