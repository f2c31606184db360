"""The VGA console and the PS/2 keyboard. Pictures for looking at go to build/screens/."""
import re

from harness import BUILD, Boot, EmuError, Failure, machine_test
from test_shell import JOB

AREA = "VGA console and keyboard"
SCREEN = Boot(prompt="")


def save(m, name):
    folder = BUILD / "screens"
    folder.mkdir(exist_ok=True)
    m.screen().save_png(folder / f"{name}-{m.boot.emu}.png")


def enter(m, line):
    """Types a command; what a busy emulator lost is typed again before Return is pressed."""
    for _ in range(4):
        m.type_keys(line)
        try:
            m.wait_screen(re.escape(line) + r" *$", 5)
            break
        except EmuError:
            m.type_keys("<ctrl-u>")
    m.type_keys("\n")


@machine_test(SCREEN, emus=("bochs", "qemu"))
def shell(lab):
    with lab.boot() as m:
        m.wait_screen(r"# *$", 60)
        enter(m, "echo Seen-$((40+2)) | tr S s")
        m.wait_screen(r"^seen-42 *$", 30)
        save(m, "shell")


@machine_test(SCREEN, emus=("bochs", "qemu"))
def full_screen_programs(lab):
    with lab.boot() as m:
        m.wait_screen(r"# *$", 60)
        enter(m, "top")
        m.wait_screen(r"^Mem:", 30)
        save(m, "top")
        m.type_keys("q")
        m.wait_screen(r"# *$", 30)
        enter(m, "vi /etc/inittab")
        screen = m.wait_screen(r"- /etc/inittab", 30)
        if not screen.lines()[0].startswith("# busybox init"):
            raise Failure("vi does not show the file:\n" + screen.text())
        save(m, "vi")
        m.type_keys("<esc>:q\n")
        m.wait_screen(r"# *$", 30)


@machine_test(SCREEN, emus=("bochs", "qemu"))
def keys_for_jobs(lab):
    """^C, ^Z, fg and a background job on the screen; another terminal behind Alt-F2."""
    with lab.boot() as m:
        m.wait_screen(r"# *$", 60)
        enter(m, JOB)
        m.wait_screen(r"^begin *$", 30)
        m.type_keys("<ctrl-z>")
        m.wait_screen(r"Stopped +sh -c", 30)
        enter(m, "clear; fg")
        m.wait_screen(r"^sh -c .*sleep 0.1(.*\n)*again *$", 30)
        m.type_keys("<ctrl-c>")
        enter(m, "sleep 0.1 & wait; echo Ended-$?")
        m.wait_screen(r"^Ended-0", 30)
        m.type_keys("<alt-f2>")
        m.wait_screen(r"\A\s*$", 30)
        m.type_keys("<alt-f1>")
        m.wait_screen(r"^Ended-0", 30)


@machine_test(SCREEN, emus=("bochs", "qemu"))
def curses_program(lab):
    """A static ncurses program: boxes, colours, keys."""
    with lab.boot() as m:
        m.wait_screen(r"# *$", 60)
        enter(m, "/test/ncdemo")
        m.wait_screen(r"^ncurses \S+ on linux, 25 x 80", 30)
        save(m, "ncurses")
        m.type_keys("q")
        m.wait_screen(r"# *$", 30)
        enter(m, "echo Status-$?")
        m.wait_screen(r"^Status-0", 30)


@machine_test(Boot(cmdline="panic=test", prompt=""), emus=("bochs", "qemu"))
def panic_report(lab):
    """A report on the screen and on the serial line that one can act on."""
    with lab.boot() as m:
        m.com1.trouble = None
        m.com1.expect(r"has stopped\.", 60)
        m.com1.expect(r"RIP [0-9a-f]{16}  \w+\+0x", 10)
        m.wait_screen(r"has stopped\.", 20)
        save(m, "panic")


