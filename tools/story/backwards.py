"""Scene 3: the real gdb, backwards from the crash to the instruction that caused it."""


class Scene:
    title = "Backwards"

    def play(self, story):
        raise NotImplementedError
