"""A serial line of a machine: a socket that the emulator connects to, and the text seen on it."""
import re
import socket
import threading
import time

from .errors import EmuError, MachineEnded, Timeout
from .patience import end_of

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[()][A-Z0-9]|\x1b[=>78cDEHM]|\r")


def hang_up(connection):
    """Closes a socket, or None; a thread that waits on it is woken."""
    if connection:
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass                           # it was not connected any more
        connection.close()


class Console:
    """Listens before the emulator starts; a thread keeps everything that arrives."""

    def __init__(self, name, log_path=None):
        self.name = name
        self.machine = None
        self.data = bytearray()
        self.position = 0                  # everything before this was consumed by expect()
        self.changed = threading.Condition()
        self.closed = False
        self.trouble = None                # a regex: expect() gives up when it is seen instead
        self.sink = None                   # called with each chunk of bytes (terminal of make run)
        self.nobody = None                 # the error by which the sink gave up: nobody takes what is shown
        self._log = open(log_path, "wb", buffering=0) if log_path else None
        self._peer = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._receiver = threading.Thread(target=self._receive, daemon=True)
        self._receiver.start()

    def _receive(self):
        try:
            peer, _ = self._listener.accept()
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.changed:
                self._peer = peer
                self.changed.notify_all()
            while chunk := peer.recv(65536):
                if self._log:
                    self._log.write(chunk)
                self._show(chunk)
                with self.changed:
                    self.data += chunk
                    self.changed.notify_all()
        except OSError:
            pass
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def _show(self, chunk):
        if not self.sink or self.nobody:
            return
        try:
            self.sink(chunk)
        except OSError as error:
            self.nobody = error

    def close(self):
        hang_up(self._listener)
        hang_up(self._peer)
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        self._receiver.join(1)             # it may be about to write to the log
        if self._log and not self._receiver.is_alive():
            self._log.close()

    # ---- sending ---------------------------------------------------------------------------

    def send(self, text):
        """Types text (str or bytes) on the line."""
        data = text.encode() if isinstance(text, str) else text
        deadline = end_of(30)
        with self.changed:
            while not (self._peer or self.closed or self._never_connected()) and time.monotonic() < deadline:
                self.changed.wait(0.2)
        if self._peer is None:
            raise MachineEnded(f"{self.name}: the emulator did not connect", self.machine)
        try:
            self._peer.sendall(data)
        except OSError as error:
            raise MachineEnded(f"{self.name}: cannot send: {error}", self.machine) from error

    # ---- waiting ---------------------------------------------------------------------------

    def expect(self, pattern, limit=60, consume=True):
        """Waits until the regular expression is seen after what was consumed; returns the match.

        The pattern sees text without escape sequences and carriage returns. `limit` is wall-clock
        time, only a backstop. The match object has an extra attribute: before (the text up to it).
        """
        regex = re.compile(pattern, re.MULTILINE) if isinstance(pattern, str) else pattern
        deadline = end_of(limit)
        with self.changed:
            while True:
                text = self.pending()
                match = regex.search(text)
                if match:
                    if consume:
                        self._consume(text, match.end())
                    return Found(match, text[: match.start()])
                if self.trouble and self.trouble.search(text):
                    self.changed.wait_for(lambda: self.closed, 2)     # the report's other lines
                    raise EmuError(f"{self.name}: VMkernel panicked; expected {regex.pattern!r}",
                                   self.machine)
                if self.closed or self._never_connected():
                    raise MachineEnded(
                        f"{self.name}: the machine ended; expected {regex.pattern!r}", self.machine)
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Timeout(f"{self.name}: no {regex.pattern!r} within {limit} s",
                                  self.machine)
                self.changed.wait(min(left, 1.0))
                if len(text) > 100_000:    # do not scan a flood anew for every packet
                    self.changed.wait_for(lambda: self.closed, min(left, 0.2))

    def _never_connected(self):
        """The emulator ended before it opened this line."""
        return self._peer is None and self.machine is not None and not self.machine.alive()

    def pending(self):
        """Text that arrived and was not consumed yet."""
        return clean(bytes(self.data[self.position:]))

    def _consume(self, text, characters):
        """Moves the position to where the cleaned text so far ends in the raw bytes."""
        low, high = self.position, len(self.data)
        while low < high:                  # shortest raw prefix whose cleaned text is long enough
            middle = (low + high) // 2
            if len(clean(bytes(self.data[self.position:middle]))) >= characters:
                high = middle
            else:
                low = middle + 1
        self.position = low

    def text(self, last=None):
        """Everything seen so far (or its last bytes), without escape sequences."""
        return clean(bytes(self.data[-last:] if last else self.data))

    def wait_closed(self, limit):
        deadline = end_of(limit)
        with self.changed:
            while not self.closed and time.monotonic() < deadline:
                self.changed.wait(min(1.0, max(0.01, deadline - time.monotonic())))
        return self.closed


class Found:
    """A match and the text before it."""

    def __init__(self, match, before):
        self.match = match
        self.before = before

    def group(self, *which):
        return self.match.group(*which)

    def __getitem__(self, which):
        return self.match[which]


def clean(data):
    return ESCAPES.sub("", data.decode("utf-8", "replace"))
