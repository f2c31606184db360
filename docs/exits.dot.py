"""The exits by what is done about them, from vmm/exit.h (kinds) and vmm/exit.c (the table of handlers)."""
import re
from collections import defaultdict
from pathlib import Path

VMM = Path(__file__).resolve().parent.parent / "vmm"
TEXT = dict(re.findall(r'X\(([A-Z_]+),\s*"([^"]*)"\)', (VMM / "exit.h").read_text()))
TEXT.pop("name", None)
SOURCE = (VMM / "exit.c").read_text()
HANDLERS = re.findall(r"\[EXIT_(\w+)\] = (\w+),", SOURCE[SOURCE.index("exit_handlers[EXIT_KIND_COUNT]"):])
# Where a handler's work can end. Whatever is not here goes on with the guest.
TO_USER = {"port", "memory", "hlt", "count_reached", "msr_exit_read", "msr_exit_write", "rdtsc_exit", "random_number", "rdpmc",
           "pause", "dr_exit", "exception_exit", "triple_fault", "entry_failed", "vcpu_report_unknown"}
missing = set(TEXT) - {kind for kind, _ in HANDLERS}
if missing:
    raise SystemExit(f"exits: no handler for {sorted(missing)}")

by_handler = defaultdict(list)
for kind, handler in HANDLERS:
    by_handler[handler].append(kind)

print("digraph exits {\n  rankdir=LR; node [shape=box, fontname=Helvetica, fontsize=10];")
print('  guest [label="guest", shape=ellipse]; user [label="user space\\n(vmx)", shape=ellipse];')
for handler, kinds in by_handler.items():
    label = "\\l".join(f"{kind}: {TEXT[kind]}" for kind in kinds) + "\\l"
    print(f'  "k_{handler}" [label="{label}"]; "{handler}" [label="{handler}()", style=rounded];')
    print(f'  guest -> "k_{handler}" [arrowhead=none]; "k_{handler}" -> "{handler}";')
    if handler in TO_USER:
        print(f'  "{handler}" -> user;')
print("}")
