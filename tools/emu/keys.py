"""Names of keys: split text into keys, and say how each emulator calls them."""
import re

# name: (QEMU's name, X keysym)
NAMED = {
    "ret": ("ret", 0xFF0D), "esc": ("esc", 0xFF1B), "tab": ("tab", 0xFF09),
    "backspace": ("backspace", 0xFF08), "delete": ("delete", 0xFFFF),
    "insert": ("insert", 0xFF63), "home": ("home", 0xFF50), "end": ("end", 0xFF57),
    "pgup": ("pgup", 0xFF55), "pgdn": ("pgdn", 0xFF56), "left": ("left", 0xFF51),
    "up": ("up", 0xFF52), "right": ("right", 0xFF53), "down": ("down", 0xFF54),
    "ctrl": ("ctrl", 0xFFE3), "shift": ("shift", 0xFFE1), "alt": ("alt", 0xFFE9),
    "space": ("spc", 0x20), "minus": ("minus", 0x2D), "less": ("shift-comma", 0x3C),
}
NAMED.update({f"f{n}": (f"f{n}", 0xFFBD + n) for n in range(1, 13)})
KEYSYMS = {name: symbol for name, (_, symbol) in NAMED.items()}

PLAIN = {" ": "spc", "-": "minus", "=": "equal", "[": "bracket_left", "]": "bracket_right",
         "\\": "backslash", ";": "semicolon", "'": "apostrophe", "`": "grave_accent",
         ",": "comma", ".": "dot", "/": "slash"}
SHIFTED = dict(zip('!@#$%^&*()_+{}|:"~<>?', "1234567890-=[]\\;'`,./"))


def split_keys(text):
    """'ls<ret>' -> ['l', 's', 'ret'];  '\\n' is <ret>."""
    for part in re.findall(r"<[a-z0-9-]+>|.|\n", text):
        if len(part) > 1:
            yield part[1:-1]
        else:
            yield "ret" if part == "\n" else part


def qemu_name(key):
    """The argument of QEMU's sendkey."""
    *modifiers, last = key.split("-") if len(key) > 1 else [key]
    if len(last) > 1:
        last = NAMED[last][0]
    elif last in SHIFTED:
        base = SHIFTED[last]
        last = "shift-" + PLAIN.get(base, base)
    elif last.isupper():
        last = "shift-" + last.lower()
    else:
        last = PLAIN.get(last, last)
    return "-".join(modifiers + [last])


def keysym_of(key):
    """(needs shift, X keysym): Bochs's VNC server wants the shift key pressed as a person would."""
    if len(key) > 1:
        return False, KEYSYMS[key]
    return key.isupper() or key in SHIFTED, ord(key)
