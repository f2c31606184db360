"""Loaded into gdb: what makes it at home in a guest of Chronovisor.

    (gdb) source tools/gdb/chronovisor.py

`monitor goto`, `restart` and their like move the guest behind gdb's back; with this file gdb looks
again after each of them. Commands: `guest where`, `guest linux`, `guest help`.
"""
import gdb

SETTINGS = """
set pagination off
set confirm off
set breakpoint always-inserted on
set debuginfod enabled off
"""


def quietly(command):
    return gdb.execute(command, to_string=True)


def number(expression):
    """The value of an expression, unsigned; None where there is none."""
    try:
        return int(gdb.parse_and_eval(f"(unsigned long long)({expression})"))
    except gdb.error:
        return None


# ---- after `monitor` ---------------------------------------------------------------------------

def program_counter():
    return number("$pc")


def look_again():
    """gdb forgets what it has read. Watchpoints compare with the value that is there now."""
    quietly("maintenance flush register-cache")
    quietly("maintenance flush dcache")
    for point in gdb.breakpoints() or ():
        if point.type == gdb.BP_HARDWARE_WATCHPOINT and point.enabled:
            point.enabled = False
            point.enabled = True
    gdb.execute("frame")


class Looker:
    """Called by the hooks of `monitor`: looks again when the guest has moved."""
    place, busy = None, False

    def where(self):
        """Count, log event and place, as text; None when nothing is connected."""
        if self.busy or program_counter() is None:
            return None
        self.busy = True                               # asking is a `monitor`, too
        try:
            return quietly("monitor when").partition("\n")[0]
        finally:
            self.busy = False

    def remember(self):
        if not self.busy:
            self.place = self.where()

    def look(self):
        if not self.busy and self.place is not None and self.where() != self.place:
            look_again()


class Steps:
    """Tells the hypervisor whether steps are by line, which gdb's packets do not say backwards: steps by line
    do not go into interrupt handlers."""
    told = None
    COMMANDS = {"lines": ("step", "next", "until", "reverse-step", "reverse-next", "reverse-finish"),
                "instructions": ("stepi", "nexti", "reverse-stepi", "reverse-nexti")}

    def tell(self, what):
        if what == self.told or program_counter() is None:
            return
        chronovisor_looker.busy = True                 # nothing moves
        try:
            quietly(f"monitor steps {what}")
            self.told = what
        except gdb.error:
            pass                                       # the step will say what is wrong
        finally:
            chronovisor_looker.busy = False

    def forget(self, _):
        self.told = None

    def hooks(self):
        return "".join(f"define hook-{command}\npython chronovisor_steps.tell('{what}')\nend\n"
                       for what, commands in self.COMMANDS.items() for command in commands)


chronovisor_looker = Looker()
chronovisor_steps = Steps()
HOOKS = """
define hook-monitor
python chronovisor_looker.remember()
end
define hookpost-monitor
python chronovisor_looker.look()
end
"""


# ---- commands ----------------------------------------------------------------------------------

class Guest(gdb.Command):
    """Commands about the guest; `guest help` lists them."""

    def __init__(self):
        super().__init__("guest", gdb.COMMAND_DATA, prefix=True)


class GuestHelp(gdb.Command):
    """What there is: commands of this file, and of the hypervisor."""

    def __init__(self):
        super().__init__("guest help", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        print("guest where    the place as a linear address with its instructions, in 16-bit code, too\n"
              "guest linux    a Linux guest: its banner, the current task (symbols: chrono gdb --vmlinux)\n"
              "monitor help   what the hypervisor can do: places, checkpoints, events, devices")


class GuestWhere(gdb.Command):
    """The place as segment and offset and as the linear address, which gdb calls $pc; instructions there."""

    def __init__(self):
        super().__init__("guest where", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        linear = program_counter()
        if linear is None:
            raise gdb.GdbError("nothing is connected")
        mode = gdb.execute("monitor arch", to_string=True)
        base = 0 if "64-bit mode" in mode else number("$cs_base")
        print(f"0x{number('$cs'):x}:0x{linear - base:x} is at linear 0x{linear:x}")
        gdb.execute("x/5i $pc")


class GuestLinux(gdb.Command):
    """The banner and the current task of a Linux guest, by its symbols (vmlinux)."""

    def __init__(self):
        super().__init__("guest linux", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        banner = self.banner()
        print(banner.rstrip())
        task = self.current_task()
        if task is not None:
            comm = task["comm"].string(errors="replace")
            print(f"current task: {comm}, pid {int(task['pid'])}")

    @staticmethod
    def banner():
        address = number("&linux_banner")
        if address is None:
            raise gdb.GdbError("there are no symbols of Linux here: chrono gdb --vmlinux FILE, or file vmlinux")
        try:
            text = gdb.selected_inferior().read_memory(address, 200).tobytes()
        except gdb.MemoryError:
            text = b""
        if not text.startswith(b"Linux version"):
            raise gdb.GdbError(
                "the kernel is not where its symbols say: it has not started yet, these are another kernel's\n"
                "symbols, or it moved itself (KASLR): boot it with nokaslr on its command line")
        return text.split(b"\0")[0].decode(errors="replace")

    @staticmethod
    def current_task():
        """Of the selected vCPU: a variable per CPU, relative to GS's base while in the kernel."""
        base = number("$gs_base")
        if not base or base >> 63 == 0:
            base = number("$k_gs_base")                # in user space the two are swapped
        for symbol in ("pcpu_hot", "current_task"):
            offset = number(f"&{symbol}")
            if offset is None or not base:
                continue
            try:
                task = gdb.parse_and_eval(f"*(struct task_struct **)({base + offset})")
                return task.dereference() if int(task) else None
            except gdb.error:
                return None                            # no types: a kernel without debug information
        return None


for line in SETTINGS.strip().splitlines():
    quietly(line)
gdb.execute(HOOKS + chronovisor_steps.hooks())
gdb.events.connection_removed.connect(chronovisor_steps.forget)
for command in (Guest, GuestHelp, GuestWhere, GuestLinux):
    command()
