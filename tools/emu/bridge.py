"""A serial line of a machine as a TCP port of this workstation, for one client at a time."""
import re
import socket
import threading
import time

from .console import hang_up
from .patience import end_of


class Bridge:
    """Bytes between a Console and whoever connects to 127.0.0.1:port (0: any free one).

    What the machine sends while nobody is connected is kept for the next client, the last of it. A serial
    line does not tell the machine that a client has left: with `farewell` these bytes do, and what the
    machine sends up to the end of its `answer` to them is nobody's. A client that has said so itself, or
    was told to go (`polite`, a regular expression for the last bytes of either), is not spoken for.
    """
    KEEP, LAST = 1 << 20, 64
    ANSWER_SECONDS = 20

    def __init__(self, console, port=0, farewell=b"", answer=b"", polite=b"(?!)"):
        self.console = console
        self.farewell, self.answer, self.polite = farewell, answer, re.compile(polite)
        self._sent, self._received = b"", b""          # the last bytes of the client, of the machine
        self._client, self._kept = None, bytearray()
        self._changed = threading.Condition()
        self.heard = None                              # called with each chunk of a client's bytes, when it is on the line
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        console.sink = self._from_machine
        threading.Thread(target=self._serve, daemon=True).start()

    def _from_machine(self, data):
        with self._changed:
            client = self._client
            if client is None:
                self._kept = (self._kept + data)[-self.KEEP:]
                self._changed.notify_all()
                return
        self._received = (self._received + data)[-self.LAST:]
        try:
            client.sendall(data)
        except OSError:
            pass                                       # it went away: _serve() notices, too

    def _serve(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return                                 # closed
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                self._hand_over(client)
                while data := client.recv(65536):
                    self._sent = (self._sent + data)[-self.LAST:]
                    self.console.send(data)
                    if self.heard:
                        self.heard(data)
            except Exception:                          # the client or the machine went away
                pass
            with self._changed:
                self._client = None
            client.close()
            polite = self.polite.search(self._sent) or self.polite.search(self._received)
            self._sent = self._received = b""
            if self.farewell and not polite:
                self._say_farewell()

    def _hand_over(self, client):
        """What was kept comes first; from then on what the machine sends goes to this client."""
        while True:
            with self._changed:
                kept, self._kept = bytes(self._kept), bytearray()
                if not kept:
                    self._client = client
                    return
            client.sendall(kept)

    def _say_farewell(self):
        with self._changed:
            self._kept.clear()
        try:
            self.console.send(self.farewell)
        except Exception:                              # the machine went away
            return
        deadline = end_of(self.ANSWER_SECONDS)
        with self._changed:
            while self.answer not in self._kept and time.monotonic() < deadline:
                self._changed.wait(max(0, deadline - time.monotonic()))
            self._kept.clear()

    def close(self):
        self.console.sink = None
        hang_up(self._listener)                        # _serve() ends
        hang_up(self._client)
