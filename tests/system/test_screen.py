"""The VGA console and the PS/2 keyboard."""
from harness import Boot, Failure, machine_test

AREA = "VGA console and keyboard"
SCREEN = Boot(prompt="")


def save(m, lab, name):
    """A picture, for looking at."""
    m.screen().save_png(lab.folder / f"{name}.png")


@machine_test(SCREEN, emus=("bochs", "qemu"))
def shell(lab):
    with lab.boot() as m:
        m.wait_screen(r"# *$", 60)
        m.type_keys("echo Seen-$((40+2)) | tr S s\n")
        m.wait_screen(r"^seen-42 *$", 30)
        save(m, lab, "shell")


@machine_test(SCREEN, emus=("bochs", "qemu"))
def full_screen_programs(lab):
    with lab.boot() as m:
        m.wait_screen(r"# *$", 60)
        m.type_keys("top\n")
        m.wait_screen(r"^Mem:", 30)
        save(m, lab, "top")
        m.type_keys("q")
        m.wait_screen(r"# *$", 30)
        m.type_keys("vi /etc/inittab\n")
        screen = m.wait_screen(r"- /etc/inittab", 30)
        if not screen.lines()[0].startswith("# busybox init"):
            raise Failure("vi does not show the file:\n" + screen.text())
        save(m, lab, "vi")
        m.type_keys("<esc>:q\n")
        m.wait_screen(r"# *$", 30)


@machine_test(Boot(cmdline="panic=test", prompt=""), emus=("bochs", "qemu"))
def panic_report(lab):
    """A report on the screen and on the serial line that one can act on."""
    with lab.boot() as m:
        m.com1.trouble = None
        m.com1.expect(r"has stopped\.", 60)
        m.com1.expect(r"RIP [0-9a-f]{16}  \w+\+0x", 10)
        m.wait_screen(r"has stopped\.", 20)
        save(m, lab, "panic")


