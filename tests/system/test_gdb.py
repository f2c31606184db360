"""The real gdb against VMs: what users of debuggers in hypervisors have missed, a story each."""
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import test_guest_linux as linux
from debugging import LINE, Line, symbols, vm
from emu.patience import patience
from guests import recorded as recorded_guest, replayed
from harness import BUILD, TOP, Boot, Failure, machine_test

AREA = "Debugger"
DEBUGGEE = [symbols("debuggee.elf.64")]
FOREVER = "-mem 64 -append forever /guests/debuggee.elf"
AT_GUEST_MAIN = [("break guest_main", "Breakpoint 1"), ("continue", "guest_main"), ("delete", None)]


def files(lab):
    """A folder for the image with the guests that are debugged."""
    folder = lab.folder / "files" / "guests"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("debuggee.elf", "crash.elf", "modes.bin"):
        shutil.copy(BUILD / "guests" / name, folder)
    return str(folder.parent)


def steps(n, command="stepi"):
    """A gdb command that steps n times and prints the functions that it came through."""
    return (f"python print('through', sorted({{(gdb.execute('{command}', to_string=True), gdb.selected_frame().name())[1] "
            f"or '?' for i in range({n})}}))")


# ---- a live VM -----------------------------------------------------------------------------------------

def registers_and_memory(line):
    with vm(line.m, FOREVER):
        line.talk(AT_GUEST_MAIN + [
            ("info registers rip cr0 cr3 cr4 efer", r"cr0 +0x80000033 +\[ PE MP ET NE PG \]"),
            ("info registers cs fs_base gs_base k_gs_base", r"cs +0x8 +8"),
            ("p $cr8", "= 0"), ("p $mxcsr", r"= \[ IM DM ZM OM UM PM \]"), ("p/x $fctrl", "= 0x37f"), ("p/x $ftag", "= 0xffff"), ("p $st0", "= 0"),
            ("set var $rax = 0x1122334455667788", None), ("p/x $rax", "0x1122334455667788"),
            ("set var $pc = 0x1234567812345678", "does not take these values"), ("p $pc", "main"),
            ("set var $xmm3.v4_int32[1] = 77", None), ("p $xmm3.v4_int32", "= {0, 77, 0, 0}"),
            ("set var counter = 1000", None), ("p counter", "= 1000"),
            ("set var target = \"written by gdb\"", None), ("p (char *)&target", "written by gdb"),
            ("find &source, +64, 'l', 'a', 'z', 'y'", "1 pattern found"), ("find &source, +64, 'l', 'a', 'z', 'i'", "Pattern not found"),
            ("info mem", "0x8000000000000000 0x10000000000000000 rw"), ("x/x 0x100000000000", "Cannot access memory"),
            ("monitor xlate 0x100000", "guest-physical 0x100000"), ("monitor mem 0x100000 16", r"^0000000000100000  02 b0 ad 1b"),
            ("monitor nonsense", "monitor help lists"), ("monitor help", "^goto COUNT"), ("monitor goto begin", "has no history"),
            ("reverse-stepi", "does not support this command"), ("run", "does not support"),
            ("tbreak count_up", None), ("continue", "count_up"), ("p counter", "= 1000"), ("kill", "killed")], DEBUGGEE)


def stepping_code_not_the_timer(line):
    """An interrupt is pending when the guest allows interrupts: steps run its handler through."""
    with vm(line.m, FOREVER):
        text = line.talk(AT_GUEST_MAIN + [
            ("break *&sti_place", None), ("continue", "sti_place"), ("set $before = ticks", None), (steps(8), "through"),
            ("p ticks > $before", "= 1"), ("continue", "sti_place"), ("monitor interrupts step-over off", None), (steps(8), "trap"), ("delete", None),
            ("monitor interrupts step-over auto", None), ("tbreak three_lines", None), ("continue", "three_lines"), ("next", "add"), ("step", "add"),
            ("finish", "Value returned"), ("backtrace", "#0.*three_lines.*\n#1.*guest_main"),
            ("kill", "killed")], DEBUGGEE)
        seen = re.findall(r"^through (.*)", text, re.MULTILINE)[0]
        if "guest_main" not in seen or "timer_irq" in seen or "trap" in seen:
            raise Failure(f"8 steps came through {seen}")


def shadows_and_strings(line):
    """Over STI, MOV SS and REP, and without leaving a trap flag where the guest looks."""
    with vm(line.m, FOREVER):
        line.talk(AT_GUEST_MAIN + [
            ("break *&sti_place", None), ("continue", "sti_place"), ("stepi", "sti_shadow|after_sti"), ("tbreak *&mov_ss_place", None),
            ("continue", "mov_ss_place"), ("stepi", "after_mov_ss"), ("p $pc == (char *)&after_mov_ss", "= 1"), ("continue", "sti_place"),
            ("break *&copy_rep", None), ("continue", "copy_rep"), ("p $rcx", "= 64"), ("stepi", None), ("p $rcx", "= 63"), ("delete", None),
            ("stepi 10", None), ("p $rcx", "= 53"),
            ("break flags_seen", None), ("continue", "flags_seen"), ("stepi", None), ("p *(long *)$rsp & 0x100", "= 0"), ("kill", "killed")],
            DEBUGGEE)


def without_a_count(line):
    """Under a clock that counts no instructions: a sentence."""
    said, status = line.m.sh(f"vmx -gdb {LINE} -gdb-wait -clock none {FOREVER}")
    if status != 125 or "a debugger needs a clock that counts the guest's instructions" not in said:
        raise Failure(f"status {status}:\n{said}")


def places_to_stop(line):
    """Hardware and software breakpoints, watchpoints of all kinds and more than the processor has, also
    while the guest uses debug registers itself; code that is loaded over a breakpoint."""
    with vm(line.m, FOREVER):
        text = line.talk(AT_GUEST_MAIN + [
            ("break *((char *)three_lines + 1)", "in the middle of the instruction at"), ("delete", None),
            ("hbreak count_up", "Hardware"), ("continue", "count_up"), ("delete", None),
            ("watch counter", "Hardware watchpoint"), ("continue", "Old value = 0\n+New value = 1"),
            ("backtrace 1", "count_up"), ("continue", "Old value = 1\n+New value = 2"), ("delete", None),
            ("rwatch source[3]", "read watchpoint"), ("continue", "Value = 32"), ("backtrace 1", "copy"), ("delete", None),
            ("awatch rounds", "access"), ("continue", "rounds"), ("delete", None),
            ("break *loaded", None), ("continue", "loaded"), ("stepi", None), ("p $eax", "= 7"), ("delete", None),
            ("watch rounds", None), ("watch counter", None), ("watch second_cpu_rounds", None), ("watch target[40]", None),
            ("watch target[41]", None), ("watch guarded", None), ("continue", "Hardware watchpoint"), ("continue", "Hardware watchpoint"),
            ("continue", "Hardware watchpoint"), ("delete", None), ("tbreak sleep_a_tick", None), ("continue", "sleep_a_tick"),
            ("p traps == rounds + 1", "= 1"), ("kill", "killed")], DEBUGGEE)
        if "not ok" in text:
            raise Failure(f"the guest noticed something:\n{text}")


def one_address_space(line):
    with vm(line.m, FOREVER):
        line.talk(AT_GUEST_MAIN + [
            ("break in_a_space", None), ("continue", r"=1\)"), ("continue", r"=2\)"), ("delete", None),
            ("monitor cr3 current", "stop where CR3 is 0x"), ("hbreak in_a_space", None), ("continue", r"=2\)"), ("continue", r"=2\)"),
            ("monitor cr3 any all", "any address space"), ("continue", r"=1\)"), ("continue", r"=2\)"), ("kill", "killed")], DEBUGGEE)


def interrupting(line):
    """^C while it runs and while it sleeps; then it goes on without gdb, and gdb comes back."""
    with vm(line.m, FOREVER):
        text = line.talk([(line.interrupt_after(1), None), ("continue", "SIGINT"), ("p rounds", r"= \d+"), ("detach", "detached")], DEBUGGEE)
        first = re.search(r"p rounds\n\$\d+ = (\d+)", text)[1]
        line.talk([(line.interrupt_after(1), None), ("continue", "SIGINT"), (f"p rounds > {first}", "= 1"), ("set var fall_asleep = 1", None),
                   ("tbreak sleep_forever", None), ("continue", "sleep_forever"), (line.interrupt_after(1), None), ("continue", "SIGINT"),
                   ("info threads", "halted"), ("backtrace", "sleep_forever"),
                   *line.interrupted("next"), ("backtrace", "sleep_forever"), *line.interrupted("stepi 3"), ("kill", "killed")], DEBUGGEE)


def two_processors(line):
    """vCPUs as threads: one that was not started yet, breakpoints of one, steps of each."""
    with vm(line.m, "-cpus 2 " + FOREVER):
        line.talk([
            ("info threads", '2 +Thread 2 "vCPU 1" .*waits for its start-up'), *AT_GUEST_MAIN,
            ("break second_cpu_counts", None), ("continue", 'Thread 2 "vCPU 1" hit Breakpoint'), ("backtrace", "second_cpu "),
            ("thread apply all backtrace 1", "Thread 1"), ("thread 1", "Switching"), ("p $rsp", "="), (steps(20), "through"),
            ("thread 2", "Switching"), ("delete", None), ("next", None), ("info threads", r"\* 2"),
            ("break count_up", None), ("continue", 'Thread 1 "vCPU 0" hit Breakpoint'),
            ("break second_cpu_counts", None), ("continue", "hit Breakpoint"), ("continue", "hit Breakpoint"),
            (line.interrupt_after(1), None), ("delete", None), ("continue", "SIGINT"), ("kill", "killed")], DEBUGGEE)


def from_real_mode_to_long_mode(line):
    """With one description from the first instruction on; then the same with 32-bit registers."""
    modes = [symbols("modes.bin.elf")]
    with vm(line.m, "-mem 64 /guests/modes.bin", status=5):
        text = line.talk([
            ("monitor arch", "16-bit mode"), ("p $pc", "0x7c00"), ("stepi", None), ("p $cs", "= 0"), ("break far_code", None), ("continue", "far_code"),
            ("guest where", "^0x7c0:0x.* is at linear 0x7c"), ("stepi", None), ("p/x $cx", "0x4321"),
            ("break protected_mode", None), ("continue", "protected_mode"), ("monitor arch", "32-bit mode"), ("p/x $bx", "0x1234"),
            ("p $cr0", r"\[ PE ET \]"), ("info registers", "r15"), ("break long_mode", None), ("continue", "long_mode"), ("monitor arch", "64-bit mode"),
            ("p $efer", "LMA"), ("stepi", None), ("p/x $rbx", "0x123456789abcdef0"), ("continue", "switched itself off"), ("continue", "exited")], modes)
        if "reply is too long" in text:
            raise Failure(text)
    with vm(line.m, "-gdb-arch i8086 -mem 64 /guests/modes.bin"):
        line.talk([
            ("show architecture", "i8086"), ("x/2i $pc", r"cli *\n.*xor +%ax,%ax"), ("p $eip", "0x7c00"), ("monitor arch", "16-bit mode"),
            ("break *0x7e00", None), ("continue", "Breakpoint"), ("monitor arch", "set architecture i386"), ("set architecture i386", "i386"),
            ("x/i $pc", r"mov +\$0x10,%eax"), ("stepi", None), ("p $eax", "= 16"), ("set architecture i8086", "i8086"), ("x/i $pc", r"mov +%ax,%ds"),
            ("monitor arch x86-64", "when it connects again"), ("kill", "killed")])


@machine_test(cost=45)
def live_stories(lab):
    with lab.boot(Boot(mem=256, extra=files(lab))) as m:
        line = Line(m)
        for story in (registers_and_memory, stepping_code_not_the_timer, shadows_and_strings, one_address_space,
                      from_real_mode_to_long_mode):
            story(line)
        line.close()


@machine_test(cost=45)
def stops_and_threads(lab):
    with lab.boot(Boot(mem=256, extra=files(lab))) as m:
        line = Line(m)
        for story in (without_a_count, places_to_stop, interrupting, two_processors):
            story(line)
        line.close()


RECORDED = "-mem 64 /guests/debuggee.elf"


@machine_test(cost=20)
def recording_while_debugged(lab):
    """The log knows nothing of stops, steps and watchpoints; what would change the guest is refused."""
    with lab.boot(Boot(mem=256, extra=files(lab))) as m:
        line = Line(m)
        with vm(m, f"-record /tmp/log -serial file:/tmp/first {RECORDED}", status=0):
            line.talk(AT_GUEST_MAIN + [
                ("stepi 10", None), ("set var counter = 1000", "Cannot access memory"), ("break *&sti_place", None), ("continue", "sti_place"),
                (steps(8), "through"), ("delete", None), ("watch counter", "Hardware watchpoint"), ("continue", "New value = 2"),
                ("delete", None), ("continue", "switched itself off"), ("detach", "detached")], DEBUGGEE)
        line.close()
        replayed(m, f"-serial file:/tmp/again {RECORDED}", "/tmp/log")
        m.check("cmp /tmp/first /tmp/again && tail -1 /tmp/again", re.compile(r"^end \d+ ok, 0 not ok"))


# ---- a replay --------------------------------------------------------------------------------------------

AROUND = ("python p = lambda: [gdb.execute(c, to_string=True) for c in ('info all-registers', 'x/32gx $rsp', 'output ticks', 'output counter')]")
IDENTITY = ("python import random; random.seed(7); bad = 0\n"
            "for i in range({n}):\n"
            "    gdb.execute('monitor goto %d' % random.randrange(2000, {last}), to_string=True)\n"
            "    before = p()\n"
            "    gdb.execute('reverse-stepi', to_string=True)\n"
            "    away = p() != before\n"
            "    gdb.execute('stepi', to_string=True)\n"
            "    bad += p() != before or not away\n"
            "print('{n} points, bad:', bad)")
BACK = ("python places = []\n"
        "for i in range({n}):\n"
        "    gdb.execute('reverse-continue', to_string=True)\n"
        "    places.append(int(gdb.parse_and_eval('rounds')))\n"
        "print('came by', places)")


def recorded(m):
    """Records the debuggee; returns the number of its instructions."""
    found = m.check(f"vmx -record /tmp/log {RECORDED} < /dev/null > /tmp/first 2>&1; tail -1 /tmp/first", re.compile(r"recorded \d+ instructions"))
    return int(re.search(r"recorded (\d+)", found)[1])


def script(line, folder, name, text):
    """A gdb command that runs lines of Python; gdb reads them from a file."""
    path = folder / f"{name}.py"
    path.write_text(text.replace("python ", "", 1))
    return f"source {path}"


# Back through the loop in which the guest sleeps until an interrupt: by line not into its handler, by instruction into it.
OVER_THE_TIMER = [
    ("tbreak sleep_a_tick", None), ("continue", "sleep_a_tick"), ("finish", "guest_main"), ("p $after = ticks", "="),
    (steps(4, "reverse-step"), r"^through \['guest_main', 'sleep_a_tick'\]|^through \['sleep_a_tick'\]"), ("p $after - ticks", "= 1"),
    ("tbreak sleep_a_tick", None), ("continue", "sleep_a_tick"), ("finish", "guest_main"), ("p $after = ticks", "="),
    ("reverse-next", "sleep_a_tick"), ("p $after - ticks", "= 1"),
    ("tbreak sleep_a_tick", None), ("continue", "sleep_a_tick"), ("finish", "guest_main"), (steps(60, "reverse-stepi"), "timer_irq"),
]


def ways_back(line, folder):
    with vm(line.m, f"-replay /tmp/log {RECORDED}"):
        line.talk(AT_GUEST_MAIN + [
            ("break count_up", None), ("continue", "count_up"), ("continue 2", "count_up"), ("p rounds", "= 2"), ("reverse-continue", "count_up"), ("p rounds", "= 1"),
            ("continue", "count_up"), ("reverse-continue 2", "count_up"), ("p rounds", "= 0"), ("delete", None),
            ("tbreak three_lines", None), ("continue", "three_lines"), ("next", "add"), ("reverse-next", "add|three_lines"), ("reverse-next", "count_up"),
            ("tbreak add", None), ("continue", "add"), ("reverse-finish", "three_lines"), ("step", "add"), ("reverse-step", "three_lines|guest_main"),
            ("watch target[40]", "Hardware watchpoint"), ("continue", r"New value = 100 'd'"), ("p $rcx", "= 23"), ("reverse-continue", r"Old value = 100 'd'"),
            ("x/i $pc", "copy_rep.*rep movs"), ("p $rcx", "= 24"), ("delete", None),
            ("watch counter", None), ("continue", "New value = 2"), ("continue", "New value = 3"), ("reverse-continue", "Old value = 3\n+New value = 2"),
            ("reverse-continue", "Old value = 2\n+New value = 1"), ("delete", None), ("reverse-continue", "No more reverse-execution history"),
            ("p $pc == (char *)_start", "= 1"), ("set var counter = 5", "Cannot access memory"), ("set var $rax = 5", "the past cannot be changed"),
            *OVER_THE_TIMER, ("monitor goto end", "now at count"), ("p rounds", "= 50"), ("break count_up", None), ("reverse-continue", "count_up"), ("p rounds", "= 49"),
            ("monitor checkpoint", "checkpoint 1"), ("p $there = $rsp", None), ("monitor goto begin", "count 0"), ("monitor restart 1", "now at count"),
            ("p rounds", "= 49"), ("p $rsp == $there", "= 1"), ("monitor delete 1", None), ("monitor restart 1", "no such checkpoint"),
            ("delete", None), ("continue", "end 1 ok, 0 not ok|switched itself off"), ("info threads", "vCPU 0"), ("kill", "killed")], DEBUGGEE)


def steps_are_undone(line, folder, last, n):
    with vm(line.m, f"-replay /tmp/log {RECORDED}"):
        identity = script(line, folder, "identity", IDENTITY.format(n=n, last=last - 1000))
        line.talk([(AROUND, None), (identity, f"{n} points, bad: 0"), ("kill", "killed")], DEBUGGEE, limit=250)


def often_back(line, folder):
    with vm(line.m, f"-replay /tmp/log {RECORDED}"):
        text = line.talk([("monitor goto end", None), ("break in_a_space", None), (script(line, folder, "back", BACK.format(n=100)), "came by"),
                          ("reverse-continue", "No more"), ("kill", "killed")], DEBUGGEE, limit=250)
        places = re.search(r"came by \[(.*)\]", text)[1].split(", ")
        if [int(p) for p in places] != [i // 2 for i in reversed(range(100))]:
            raise Failure(f"100 reverse-continues came by {places}")


# More watchpoints than the processor has, none of which is met: every access to the stack's page exits, and all runs are very slow.
SLOW = [(f"watch source[{i}]", "Hardware watchpoint") for i in (48, 52, 56, 60)] + [("watch -l *(long *)$slow", "Hardware watchpoint")]


def interrupting_a_replay(line):
    """^C: going back stays where it was, going on stands where it came to."""
    with vm(line.m, f"-replay /tmp/log {RECORDED}"):
        line.talk(AT_GUEST_MAIN + [
            ("p $slow = (long)$rsp", "="), ("monitor goto end", "now at count"), *SLOW, ("p $end = rounds", "= 50"),
            *line.interrupted("reverse-continue"), ("p rounds == $end", "= 1"), *line.interrupted("reverse-continue"), ("delete", None),
            ("tbreak let_the_timer_expire", None), ("reverse-continue", "let_the_timer_expire"), ("p rounds", "= 49"), ("finish", "guest_main"), *SLOW,
            *line.interrupted("reverse-next"), ("delete", None), ("tbreak let_the_timer_expire", None), ("reverse-continue", "let_the_timer_expire"),
            ("p rounds", "= 49"), *SLOW, *line.interrupted("finish"), ("backtrace", "let_the_timer_expire"), *line.interrupted("continue"),
            *line.interrupted("next"), ("delete", None), ("stepi", None), ("tbreak sleep_a_tick", None), ("continue", "sleep_a_tick"), ("p rounds", "= 49"),
            ("kill", "killed")], DEBUGGEE)


@machine_test(cost=25)
def backwards(lab):
    with lab.boot(Boot(mem=320, extra=files(lab))) as m:
        line = Line(m)
        recorded(m)
        ways_back(line, lab.folder)
        line.close()


@machine_test(cost=15)
def backwards_from_a_crash(lab):
    """A replay ends as the recording did: gdb stands at the instruction that nobody can carry out, and goes back from there."""
    with lab.boot(Boot(mem=320, cmdline="loglevel=1", extra=files(lab))) as m:
        line = Line(m)
        for way, status, told, function in (("triple", 128, "triple fault on vCPU 0", "triple_fault"),
                                            ("stack", 126, "error 1 in KVM", "stack_in_device"),
                                            ("fxsave", 126, "error 1 in KVM", "save_to_device")):
            run = f"-mem 64 -append {way} /guests/crash.elf"
            recorded_guest(m, f"{run} < /dev/null", "/tmp/log", status)
            with vm(m, f"-replay /tmp/log {run}", status=0):
                line.talk([("continue", told), ("backtrace 1", function), ("p $there = $pc", "="), ("reverse-stepi 2", None),
                           ("p $pc != $there", "= 1"), ("break guest_main", None), ("reverse-continue", "guest_main"),
                           ("monitor goto end", "now at count"), ("p $pc == $there", "= 1"), ("kill", "killed")], [symbols("crash.elf.64")])
        line.close()


@machine_test(level="all", cost=50)
def interrupting_backwards(lab):
    with lab.boot(Boot(mem=320, extra=files(lab))) as m:
        line = Line(m)
        last = recorded(m)
        interrupting_a_replay(line)
        interrupting_travels(line, last)
        line.close()


@machine_test(level="all", cost=120)
def backwards_often(lab):
    with lab.boot(Boot(mem=320, extra=files(lab))) as m:
        line = Line(m)
        count = recorded(m)
        often_back(line, lab.folder)
        steps_are_undone(line, lab.folder, count, 12)
        line.close()


# ---- clients ---------------------------------------------------------------------------------------------

def raw(line, data, read=0):
    """A client that is not gdb: sends bytes, perhaps reads some, and vanishes."""
    with socket.create_connection(("127.0.0.1", line.bridge.port)) as client:
        client.settimeout(20 * patience())
        client.sendall(data)
        got = b""
        while len(got) < read:
            chunk = client.recv(read - len(got))
            if not chunk:
                break
            got += chunk
    return got


def packet(text):
    return b"$%s#%02x" % (text, sum(text) & 255)


def slowly(line, data):
    """A byte at a time, read a byte at a time."""
    with socket.create_connection(("127.0.0.1", line.bridge.port)) as client:
        client.settimeout(20 * patience())
        for byte in data:
            client.sendall(bytes([byte]))
            time.sleep(0.01)
        return b"".join(client.recv(1) for _ in range(20))


def expand(data):
    """Runs written out: a character, '*', and how often more, plus 29."""
    return re.sub(rb"(.)\*(.)", lambda run: run[1] * (ord(run[2]) - 28), data, flags=re.DOTALL)


def monitor(line, command, interrupt_after=None):
    """The answer to a `monitor`, by a client that sends ^C so many seconds later, which gdb itself keeps until it has the answer."""
    with socket.create_connection(("127.0.0.1", line.bridge.port)) as client:
        client.settimeout(20 * patience())
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(packet(b"QStartNoAckMode") + packet(b"qRcmd," + command.encode().hex().encode()))
        if interrupt_after is not None:
            time.sleep(interrupt_after)
            client.sendall(b"\x03")
        got = b""
        for goodbye in (b"", packet(b"D")):
            client.sendall(goodbye)
            while got.count(b"$OK#9a") < (3 if goodbye else 2):
                got += client.recv(4096)
    return b"".join(bytes.fromhex(text.decode()) for text in re.findall(rb"\$O([0-9a-f]+)#", expand(got))).decode()


def interrupting_travels(line, last):
    """^C on the way: the guest stands where it has come to. Before the way has begun: where it was."""
    with vm(line.m, f"-replay /tmp/log {RECORDED}"):
        came_to = []
        for delay in (0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8):
            monitor(line, "goto begin")
            said = monitor(line, "goto end", delay)
            place = re.search(r"(?:now|still) at count (\d+)", said)
            if not place:
                raise Failure(f"^C after {delay} s: {said!r}")
            came_to.append(int(place[1]))
            if came_to[-1] < last and "interrupted" not in said:
                raise Failure(f"at {came_to[-1]} without a word: {said!r}")
        if not any(0 < count < last for count in came_to):
            raise Failure(f"no ^C on the way to the end, {last}, stopped there: {came_to}")
        line.talk([("kill", "killed")])


@machine_test(level="all", cost=25)
def broken_clients(lab):
    """Whatever a client does, the VM goes on and the next one can connect."""
    with lab.boot(Boot(mem=256, extra=files(lab))) as m:
        line = Line(m)
        with vm(m, FOREVER):
            line.talk([("break three_lines", None), ("continue", "three_lines"), ("p $a = rounds", None)], DEBUGGEE)
            if not raw(line, b"+" + packet(b"qSupported") + packet(b"?"), 30).startswith(b"+$PacketSize"):
                raise Failure("a second client gets no answer")
            raw(line, packet(b"Z0,100000,1") + packet(b"vCont;c"))          # vanishes while the guest runs
            raw(line, b"$m100000,40000000#")                               # in the middle of a packet
            raw(line, bytes(range(256)) * 20 + b"$" + b"A" * 20000)        # noise, and a packet without an end
            raw(line, b"".join(packet(b"g") for _ in range(50)))           # does not read its answers
            if not slowly(line, b"+" + packet(b"qSupported:swbreak+")).startswith(b"+$PacketSize"):
                raise Failure("a slow client gets no answer")
            line.talk([("p $first = rounds", "="), ("tbreak three_lines", None), ("continue", "three_lines"), ("p rounds > 1", "= 1"),
                       ("info breakpoints", "No breakpoints"), ("kill", "killed")], DEBUGGEE)
        line.close()


# ---- Debian ----------------------------------------------------------------------------------------------

BUSY = "(while :; do cat /etc/profile > /dev/null; done) &"
OPENS = """#!/bin/sh
mount -t proc proc /proc
grep -wE 'linux_banner|init_task|current_task|start_kernel|do_sys_openat2' /proc/kallsyms
for i in $(seq 120); do cat /work > /dev/null; done
poweroff -f
"""


@machine_test(level="all", cost=200)
def debian_live(lab):
    """Break in the kernel, step, watch, go on; two vCPUs as two threads; ^C while it sleeps. All is recorded, and replayed."""
    with lab.boot(Boot(mem=linux.HOST_MEM + 64, extra=linux.image_files(lab, "cloud")), ips=linux.IPS) as m:
        line = Line(m)
        options = linux.guest_options(linux.LINE + " nokaslr", options="-cpus 2")
        with linux.guest_shell(m, f"vmx -record /tmp/twin -gdb {LINE} {options}") as guest:
            found = linux.checked(guest, "grep -wE 'do_sys_openat2|jiffies_64' /proc/kallsyms")
            at = {name: "0x" + address for address, _, name in (row.split()[:3] for row in found.splitlines())}
            line.talk([(line.interrupt_after(2), None), ("continue", "SIGINT"), ("info threads", "halted(.*\n)*.*Thread 2"), ("detach", "detached")])
            linux.checked(guest, BUSY)
            opened = at["do_sys_openat2"]
            line.talk([(f"break *{opened}", None), ("continue", "hit Breakpoint"), (f"p $pc == {opened}", "= 1"), ("p $cs", "= 16"),
                       ("stepi", None), ("stepi 20", None), ("continue", "hit Breakpoint"), ("delete", None),
                       (f"watch *(long *){at['jiffies_64']}", None), ("continue", "New value"), ("continue", "New value"), ("delete", None),
                       ("thread apply all x/i $pc", "Thread 1"), ("info registers cr3 gs_base", "gs_base"), ("detach", "detached")])
            linux.checked(guest, "kill $!; echo still here")
        line.close()
        replayed(m, options, limit=linux.LIMIT)


@machine_test(level="all", cost=600)
def debian_backwards(lab):
    """By symbols out of /proc/kallsyms: the kernel's first C function, and 100 times back to where a file was opened."""
    folder = Path(linux.image_files(lab, "cloud"))
    tree = lab.folder / "opens"
    tree.mkdir(exist_ok=True)
    (tree / "work").write_text(OPENS)
    (tree / "work").chmod(0o755)
    subprocess.run([TOP / "tools/initrd", "-o", folder / "guests/opens.cpio", "--tree", tree], check=True)
    run = "-mem 128 -initrd /guests/opens.cpio -append 'console=ttyS0 quiet rdinit=/work nokaslr' /guests/vmlinuz"
    with lab.boot(Boot(mem=512, extra=str(folder)), ips=linux.IPS) as m:
        line = Line(m)
        said = m.check(f"vmx -record /tmp/log {run} < /dev/null", re.compile("recorded"), limit=300)
        (lab.folder / "kallsyms").write_text("\n".join(re.findall(r"^[0-9a-f]{16} \w \w+", said, re.MULTILINE)))
        kernel = lab.folder / "kernel.elf"
        subprocess.run([TOP / "tools/gdb/kallsyms", lab.folder / "kallsyms", kernel], check=True)
        with vm(m, f"-replay /tmp/log {run}"):
            places = ("python counts = []\n"
                      "for i in range(100):\n"
                      "    gdb.execute('reverse-continue', to_string=True)\n"
                      "    counts.append(int(gdb.execute('monitor when', to_string=True).split()[1].rstrip(',')))\n"
                      "print('fell', all(a > b for a, b in zip(counts, counts[1:])), len(counts))")
            line.talk([("guest linux", "it has not started yet"), ("hbreak start_kernel", "Hardware"), ("continue", "start_kernel"), ("delete", None),
                       ("guest linux", r"^Linux version 6.*\n(.*\n)*(no current task yet|current task: at 0x)"), ("guest tasks", "the symbols have no types"),
                       ("monitor goto end", "now at count"), ("hbreak do_sys_openat2", "Hardware"),
                       (script(line, lab.folder, "opens", places), "fell True 100"), ("p (char *)$pc - (char *)do_sys_openat2", "= 0"),
                       ("backtrace 1", "do_sys_openat2"), ("guest linux", "current task: at 0xffff"), ("kill", "killed")], [kernel], limit=500)
        line.close()
