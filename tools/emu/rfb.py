"""As much of a VNC (RFB 3.3) client as it takes to press keys."""
import socket
import struct
import threading
import time

from .keys import KEYSYMS, keysym_of
from .patience import patience

KEY_EVENT = 4


class Rfb:
    def __init__(self, port):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30 * patience())
        self._read(12)
        self._socket.sendall(b"RFB 003.003\n")
        if struct.unpack(">I", self._read(4))[0] != 1:
            raise OSError("rfb: the server wants a password")
        self._socket.sendall(b"\x01")
        header = self._read(24)
        self._read(struct.unpack(">I", header[20:24])[0])
        self._socket.settimeout(None)
        threading.Thread(target=self._drain, daemon=True).start()
        time.sleep(0.3)              # Bochs takes the new client on at its next screen update

    def _read(self, size):
        data = b""
        while len(data) < size:
            chunk = self._socket.recv(size - len(data))
            if not chunk:
                raise OSError("rfb: the server closed the connection")
            data += chunk
        return data

    def _drain(self):
        try:
            while self._socket.recv(65536):
                pass
        except OSError:
            pass

    def press(self, key):
        """Presses and releases one key, given as split_keys() gives it: 'a', 'ctrl-c', 'ret'."""
        *modifiers, last = key.split("-") if len(key) > 1 else [key]
        symbols = [KEYSYMS[name] for name in modifiers]
        needs_shift, symbol = keysym_of(last)
        if needs_shift:
            symbols.append(KEYSYMS["shift"])
        for code in symbols + [symbol]:
            self._event(code, True)
        for code in [symbol] + symbols[::-1]:
            self._event(code, False)
        time.sleep(0.03 * (len(symbols) + 1))    # Bochs drops keys when its 16 bytes are full

    def _event(self, symbol, down):
        self._socket.sendall(struct.pack(">BBHI", KEY_EVENT, down, 0, symbol))

    def close(self):
        self._socket.close()
