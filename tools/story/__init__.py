"""make demo: a story in five scenes, told by the real thing. tools/demo runs it; a module per scene.

A scene is a class with `title` and play(story). It says what it does through story.stage, puts what it
measured into story.figures, and raises SceneFailed where something is not as it should be.
"""


class SceneFailed(Exception):
    """What is wrong, and the first event of the log that differs, where that is known."""

    def __init__(self, message, event=None):
        super().__init__(message)
        self.event = event
