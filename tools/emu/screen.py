"""The VGA text screen: 80 x 25 cells of character and attribute, as text or as a picture."""
import struct
import zlib
from pathlib import Path

COLUMNS, ROWS = 80, 25
PALETTE = [(0, 0, 0), (0, 0, 170), (0, 170, 0), (0, 170, 170), (170, 0, 0), (170, 0, 170),
           (170, 85, 0), (170, 170, 170), (85, 85, 85), (85, 85, 255), (85, 255, 85),
           (85, 255, 255), (255, 85, 85), (255, 85, 255), (255, 255, 85), (255, 255, 255)]
FONT_FILES = ["/usr/share/vgabios/vgabios.bin", "/usr/share/bochs/VGABIOS-lgpl-latest",
              "/usr/share/seabios/vgabios-stdvga.bin"]
LETTER_A = bytes.fromhex("000010386cc6c6fec6c6c6c600000000")
GLYPH = 16


class Screen:
    def __init__(self, memory, cursor=None):
        self.characters = memory[0:COLUMNS * ROWS * 2:2]
        self.attributes = memory[1:COLUMNS * ROWS * 2:2]
        self.cursor = cursor

    def lines(self):
        text = self.characters.replace(b"\0", b" ").decode("cp437")
        return [text[row * COLUMNS:(row + 1) * COLUMNS].rstrip() for row in range(ROWS)]

    def text(self):
        return "\n".join(self.lines())

    def attribute(self, row, column):
        """(foreground, background) as VGA colour numbers."""
        value = self.attributes[row * COLUMNS + column]
        return value & 15, value >> 4 & 7

    def save_png(self, path):
        """Draws the screen with the video BIOS's own 8 x 16 font."""
        font = load_font()
        width = COLUMNS * 8
        rows = bytearray()
        for y in range(ROWS * GLYPH):
            rows.append(0)                                   # PNG: no filter for this line
            for column in range(COLUMNS):
                cell = y // GLYPH * COLUMNS + column
                bits = font[self.characters[cell] * GLYPH + y % GLYPH]
                value = self.attributes[cell]
                colours = (value >> 4 & 7, value & 15)
                for x in range(8):
                    rows.append(colours[bits >> (7 - x) & 1])
        palette = bytes(part for colour in PALETTE for part in colour)
        header = struct.pack(">IIBBBBB", width, ROWS * GLYPH, 8, 3, 0, 0, 0)
        Path(path).write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
                               + chunk(b"PLTE", palette)
                               + chunk(b"IDAT", zlib.compress(bytes(rows))) + chunk(b"IEND", b""))


def chunk(kind, data):
    return (struct.pack(">I", len(data)) + kind + data
            + struct.pack(">I", zlib.crc32(kind + data)))


def load_font():
    for path in FONT_FILES:
        try:
            rom = Path(path).read_bytes()
        except OSError:
            continue
        start = rom.find(LETTER_A) - ord("A") * GLYPH
        if start >= 0:
            return rom[start:start + 256 * GLYPH]
    raise OSError("no video BIOS with an 8 x 16 font; tools/deps emu installs one")
