"""Loaded into gdb: what makes it at home in a guest of Chronovisor.

    (gdb) source tools/gdb/chronovisor.py

`monitor goto`, `restart` and their like move the guest behind gdb's back; with this file gdb looks
again after each of them. Commands: `guest where`, `guest linux`, `guest tasks`, `guest help`.
"""
import re

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
    hints_off = False                                  # what the hypervisor says for a gdb without this file

    def where(self):
        """Count, log event and place, as text; None when nothing is connected."""
        if self.busy or program_counter() is None:
            return None
        self.busy = True                               # asking is a `monitor`, too
        try:
            if not self.hints_off:
                quietly("monitor hints off")
                self.hints_off = True
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

    def hooks(self):
        return "".join(f"define hook-{command}\npython chronovisor_steps.tell('{what}')\nend\n"
                       for what, commands in self.COMMANDS.items() for command in commands)


def disconnected(_):
    chronovisor_looker.hints_off = False
    chronovisor_steps.told = None


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


# ---- breakpoints ---------------------------------------------------------------------------------

FUNCTION_MAX = 1 << 16                                 # bytes that are disassembled to find an instruction's begin


def begin_of_function(address):
    """By the nearest symbol; None: there is none, or far before."""
    found = re.match(r"(\S+)( \+ (\d+))? in section ", quietly(f"info symbol {address:#x}"))
    return address - int(found[3] or 0) if found and int(found[3] or 0) < FUNCTION_MAX else None


def instruction_around(address):
    """The address of the instruction that it lies in the middle of; None: of none, as far as symbols tell and gdb's
    architecture is the guest's."""
    line, begin = gdb.find_pc_line(address), begin_of_function(address)
    if begin is None or (line.symtab and line.pc == address):
        return None
    try:
        last = gdb.selected_inferior().architecture().disassemble(begin, address)[-1]
    except gdb.MemoryError:
        return None
    return last["addr"] if last["addr"] < address < last["addr"] + last["length"] else None


def check_breakpoint(point):
    """A software breakpoint is an INT3 for the processor: inside an instruction it would make another one of it."""
    if point.type != gdb.BP_BREAKPOINT:
        return
    for location in point.locations:
        around = instruction_around(location.address)
        if around is not None:
            print(f"Warning: {location.address:#x} is in the middle of the instruction at {around:#x}: this breakpoint would change what the\n"
                  f"guest executes. Delete it; hbreak *{location.address:#x} changes nothing.")


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
              "guest tasks    a Linux guest's processes and threads\n"
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


class Linux:
    """A Linux guest by its symbols (vmlinux)."""
    NO_TYPES = "the symbols have no types (they are not of a vmlinux with debug information)"
    TASKS_MAX = 100000                                 # a list that is longer is broken

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
    def type_of_task():
        """None: there are symbols, but no types."""
        try:
            return gdb.lookup_type("struct task_struct")
        except gdb.error:
            return None

    @staticmethod
    def current_task():
        """Its address, of the selected vCPU: a variable per CPU, relative to GS's base while in the kernel."""
        base = number("$gs_base")
        if not base or base >> 63 == 0:
            base = number("$k_gs_base")                # in user space the two are swapped
        for symbol in ("pcpu_hot", "current_task"):
            offset = number(f"&{symbol}")
            if offset is not None and base:
                return number(f"*(unsigned long long *)({base + offset})")
        return None

    @staticmethod
    def name(task):
        return f"{task['comm'].string(errors='replace')}, pid {int(task['pid'])}"

    @classmethod
    def members(cls, head, name):
        """The tasks in a list; `name`: the member of a task by which it is in it."""
        task_type = cls.type_of_task()
        offset = next(f.bitpos for f in task_type.fields() if f.name == name) // 8
        node = head["next"]
        for _ in range(cls.TASKS_MAX):
            if int(node) == int(head.address):
                return
            yield gdb.Value(int(node) - offset).cast(task_type.pointer()).dereference()
            node = node["next"]

    @classmethod
    def threads(cls):
        """Every thread of every process but the first one, the idle threads."""
        first = gdb.Value(number("&init_task")).cast(cls.type_of_task().pointer()).dereference()
        for process in cls.members(first["tasks"], "tasks"):
            yield from cls.members(process["signal"]["thread_head"], "thread_node")


class GuestLinux(gdb.Command):
    """The banner and the current task of a Linux guest, by its symbols (vmlinux)."""

    def __init__(self):
        super().__init__("guest linux", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        print(Linux.banner().rstrip())
        address, task_type = Linux.current_task(), Linux.type_of_task()
        if not address:
            print("no current task yet")
        elif task_type is None:
            print(f"current task: at {address:#x}; {Linux.NO_TYPES}")
        else:
            print("current task:", Linux.name(gdb.Value(address).cast(task_type.pointer()).dereference()))


class GuestTasks(gdb.Command):
    """The processes and threads of a Linux guest, by the types of its vmlinux."""

    def __init__(self):
        super().__init__("guest tasks", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        Linux.banner()
        if Linux.type_of_task() is None:
            raise gdb.GdbError(Linux.NO_TYPES)
        for task in Linux.threads():
            print(f"{int(task.address):#x} {Linux.name(task)}")


for line in SETTINGS.strip().splitlines():
    quietly(line)
gdb.execute(HOOKS + chronovisor_steps.hooks())
gdb.events.connection_removed.connect(disconnected)
gdb.events.breakpoint_created.connect(check_breakpoint)
for command in (Guest, GuestHelp, GuestWhere, GuestLinux, GuestTasks):
    command()
