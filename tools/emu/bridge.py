"""A serial line of a machine as a TCP port of this workstation, for one client at a time."""
import socket
import threading


class Bridge:
    """Bytes between a Console and whoever connects to 127.0.0.1:port (0: any free one).

    What the machine sends while nobody is connected is kept for the next client, the last of it.
    """
    KEEP = 1 << 20

    def __init__(self, console, port=0):
        self.console = console
        self._client, self._kept = None, bytearray()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        console.sink = self._from_machine
        threading.Thread(target=self._serve, daemon=True).start()

    def _from_machine(self, data):
        with self._lock:
            if self._client is None:
                self._kept = (self._kept + data)[-self.KEEP:]
                return
            try:
                self._client.sendall(data)
            except OSError:
                self._client = None                    # it went away

    def _serve(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return                                 # closed
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._client = client
                kept, self._kept = bytes(self._kept), bytearray()
            try:
                client.sendall(kept)
                while data := client.recv(65536):
                    self.console.send(data)
            except Exception:                          # the client or the machine went away
                pass
            with self._lock:
                self._client = None
            client.close()

    def close(self):
        self._listener.close()
        self.console.sink = None
