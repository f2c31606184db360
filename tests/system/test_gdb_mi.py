"""tools/gdb/launch.json with the real gdb: what VS Code's C/C++ extension does with that file, said to gdb in its machine
interface. The extension itself is not here; its order of commands is that of Microsoft's MIEngine.
"""
import json
import os
import re
import shutil
import subprocess
import threading
import time

from debugging import Line, symbols, vm
from harness import TOP, Boot, Failure, machine_test
from test_gdb import RECORDED, files, recorded

AREA = "Debugger"
LAUNCH = TOP / "tools/gdb/launch.json"
LIMIT = 60                                             # seconds for an answer


def configuration(workspace, home, port):
    """The file's only configuration, its variables filled in as VS Code does."""
    text = re.sub(r"^\s*//.*$", "", LAUNCH.read_text(), flags=re.MULTILINE)
    text = text.replace("${workspaceFolder}", str(workspace)).replace("${env:HOME}", str(home))
    left = re.search(r"\$\{.*?\}", text)
    if left:
        raise Failure(f"launch.json: {left[0]} is not filled in")
    found = json.loads(text)["configurations"][0]
    found["miDebuggerServerAddress"] = found["miDebuggerServerAddress"].replace("1234", str(port))
    return found


class Mi:
    """gdb's machine interface: commands and their results, and what happens in between."""

    def __init__(self, path):
        self.gdb = subprocess.Popen([path, "--interpreter=mi", "-nx"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    stderr=subprocess.STDOUT, text=True, errors="replace")
        self.lines, self.seen, self.token = [], 0, 1000
        self.said = ""                                 # before the last answer
        self.changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.gdb.stdout:
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                self.changed.notify_all()

    def wait(self, pattern):
        """The next line that matches; those before it are over."""
        deadline = time.monotonic() + LIMIT
        with self.changed:
            while True:
                for number in range(self.seen, len(self.lines)):
                    if re.search(pattern, self.lines[number]):
                        self.seen = number + 1
                        return self.lines[number]
                if self.gdb.poll() is not None or not self.changed.wait(deadline - time.monotonic()):
                    raise Failure(f"gdb: no {pattern!r} after {self.lines[max(0, self.seen - 5):]}")

    def ask(self, command, result="done"):
        """The command's result record."""
        self.token += 1
        before = self.seen
        self.gdb.stdin.write(f"{self.token}{command}\n")
        self.gdb.stdin.flush()
        answer = self.wait(rf"^{self.token}\^")
        if not re.match(rf"{self.token}\^({result})", answer):
            raise Failure(f"{command}: {answer}")
        self.said = "\n".join(self.lines[before:self.seen])
        return answer

    def console(self, command, said="", result="done"):
        """A command of gdb's console: the extension's debug console, after -exec."""
        self.ask('-interpreter-exec console "' + command.replace('"', '\\"') + '"', result)
        if said not in self.said:
            raise Failure(f"{command}: no {said!r} in:\n{self.said}")

    def run(self, command, stopped):
        """Lets the guest run; where it stops next must match."""
        self.ask(command, "running")
        return self.stop(command, stopped)

    def stop(self, command, wanted):
        where = self.wait(r"^\*stopped")
        if not re.search(wanted, where):
            raise Failure(f"{command}: no {wanted!r} in {where}")
        return where

    def value(self, expression):
        return re.search(r'value="(.*)"', self.ask(f'-data-evaluate-expression "{expression}"'))[1]


def launch(config):
    """What the extension says until the guest stands before its first instruction."""
    mi = Mi(config["miDebuggerPath"])
    mi.ask("-gdb-set mi-async on")
    for setup in config["setupCommands"]:
        mi.ask(setup["text"]) if setup["text"].startswith("-") else mi.console(setup["text"])
    mi.console("set pagination off")
    mi.ask(f"-environment-cd {config['cwd']}")
    mi.ask(f"-file-exec-and-symbols {config['program']}")
    mi.console("show architecture")
    mi.ask("-break-insert main", "done|error")         # a kernel has no main
    mi.ask(f"-target-select remote {config['miDebuggerServerAddress']}", "connected")
    return mi


def expect(found, wanted, what):
    if found != wanted:
        raise Failure(f"{what}: {found!r} instead of {wanted!r}")


def forwards(mi):
    mi.ask("-break-insert -f count_up")
    mi.run("-exec-continue", 'reason="breakpoint-hit".*func="count_up"')
    if '"vCPU 0"' not in mi.ask("-thread-info"):
        raise Failure("no thread is vCPU 0")
    for what, wanted in (("-stack-list-frames", 'func="guest_main"'), ("-stack-list-variables 1", "variables="), ("-data-list-register-names", '"cr3"'),
                         ("-data-list-register-values x 16", 'value="0x'), ("-data-disassemble -s $pc -e $pc+4 -- 0", "count_up"),
                         ("-var-create - * rounds", 'value="0"'), ("-data-read-memory-bytes &rounds 4", 'contents="00000000"')):
        if wanted not in mi.ask(what):
            raise Failure(f"{what}: no {wanted}")
    mi.run("-exec-continue", 'func="count_up"')
    expect(mi.value("rounds"), "1", "rounds")
    mi.run("-exec-finish", 'func="guest_main"')
    mi.run("-exec-next", "end-stepping-range")
    mi.run("-exec-step", "end-stepping-range")
    mi.run("-exec-step-instruction", "end-stepping-range")


def backwards(mi):
    mi.run("-exec-step-instruction --reverse", "end-stepping-range")
    mi.run("-exec-continue --reverse", 'reason="breakpoint-hit".*func="count_up"')
    expect(mi.value("rounds"), "1", "rounds, back at the breakpoint")
    mi.run("-exec-next --reverse", 'func="guest_main"')
    mi.ask("-break-delete")
    mi.ask("-break-watch counter")
    mi.run("-exec-continue --reverse", 'reason="watchpoint-trigger".*old="1",new="0".*func="count_up"')
    mi.ask("-break-delete")
    # By line over the timer's handler, with which the sleep before ends.
    mi.ask("-break-insert -t sleep_a_tick")
    mi.run("-exec-continue", 'func="sleep_a_tick"')
    mi.run("-exec-finish", 'func="guest_main"')
    ticks = int(mi.value("ticks"))
    mi.run("-exec-step --reverse", 'func="sleep_a_tick"')
    mi.run("-exec-step --reverse", 'func="(sleep_a_tick|guest_main)"')
    mi.run("-exec-next --reverse", 'func="(sleep_a_tick|guest_main)"')
    expect(ticks - int(mi.value("ticks")), 1, "ticks that the steps went back over")


def debug_console(mi):
    """And the pause button."""
    mi.console("monitor goto end", "now at count")
    expect(mi.value("rounds"), "50", "rounds, at the end")
    mi.console("reverse-continue", result="running|done")
    mi.stop("reverse-continue", 'func="_start"')
    mi.console("guest where", "is at linear 0x")
    for index in (48, 52, 56, 60):                     # more watchpoints than the processor has: going on is slow
        mi.ask(f"-break-watch source[{index}]")
    mi.ask("-break-insert -t guest_main")
    mi.run("-exec-continue", 'func="guest_main"')
    mi.ask('-break-watch "*(long *)((char *)&stack_top - 8)"')
    mi.ask("-exec-continue", "running")
    mi.ask("-exec-interrupt")
    mi.stop("-exec-interrupt", "SIGINT")


@machine_test(level="all", cost=30)
def launch_json(lab):
    workspace, home = lab.folder / "workspace", lab.folder / "home"
    for folder in (workspace, home):
        folder.mkdir(exist_ok=True)
    shutil.copy(symbols("debuggee.elf.64"), workspace / "mykernel.elf")
    if not (home / "chronovisor").exists():
        os.symlink(TOP, home / "chronovisor")
    with lab.boot(Boot(mem=320, extra=files(lab))) as m:
        line = Line(m)
        recorded(m)
        with vm(m, f"-replay /tmp/log {RECORDED}"):
            mi = launch(configuration(workspace, home, line.bridge.port))
            for story in (forwards, backwards, debug_console):
                story(mi)
            mi.console("kill")
            mi.ask("-gdb-exit", "exit")
        line.close()
