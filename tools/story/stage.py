"""The screen of make demo: a top line with scene, time and progress that is always there."""
import os
import shutil
import sys
import threading
import time

REFRESH, PLAIN_REFRESH = 0.5, 15                        # seconds
BOLD, DIM, REVERSE, OFF = "\x1b[1m", "\x1b[2m", "\x1b[7m", "\x1b[0m"


class Stage:
    """On a terminal the first line stays while the rest scrolls; elsewhere it is printed now and then."""

    def __init__(self):
        self.started = time.monotonic()
        self.terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.scene, self.progress, self.beside = "", "", ""
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._shown = None
        if self.terminal:
            rows = shutil.get_terminal_size().lines
            sys.stdout.write(f"\x1b[2J\x1b[2;{rows}r\x1b[2;1H")
        self._thread = threading.Thread(target=self._refresh, daemon=True)
        self._thread.start()

    def elapsed(self):
        return time.monotonic() - self.started

    def top_line(self):
        parts = [f"[{int(self.elapsed()) // 60}:{int(self.elapsed()) % 60:02}]", self.scene, self.progress]
        line = "  ".join(part for part in parts if part)
        return f"{line}   | {self.beside}" if self.beside else line

    def _refresh(self):
        while not self._over.wait(REFRESH if self.terminal else PLAIN_REFRESH):
            self.draw()

    def draw(self):
        with self._lock:
            line = self.top_line()
            if self.terminal:
                width = shutil.get_terminal_size().columns
                sys.stdout.write(f"\x1b7\x1b[1;1H{REVERSE}{line[:width]:{width}}{OFF}\x1b8")
                sys.stdout.flush()
            elif line != self._shown:
                print(line, flush=True)
            self._shown = line

    def close(self):
        self._over.set()
        if self.terminal:
            with self._lock:
                sys.stdout.write(f"\x1b[r\x1b[{shutil.get_terminal_size().lines};1H\n")
                sys.stdout.flush()

    # ---- what scenes use ---------------------------------------------------------------------

    def begin(self, number, count, title):
        self.scene, self.progress = f"scene {number}/{count}: {title}", ""
        self.say("")
        self.say(f"{number}. {title}", BOLD)
        self.draw()

    def tell(self, progress):
        """How far the scene is, for the top line."""
        self.progress = progress

    def say(self, text, style=""):
        with self._lock:
            on = style if self.terminal else ""
            for line in text.split("\n"):
                print(f"{on}{line}{OFF if on else ''}")
            sys.stdout.flush()

    def show(self, text):
        """What a program printed."""
        self.say("\n".join("    " + line for line in text.splitlines()), DIM)
