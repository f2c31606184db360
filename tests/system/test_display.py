"""A guest's screen on a terminal, and what is typed there at its keyboard."""
from harness import Boot, Failure, machine_test
from test_loaders import image_files
from test_screen import enter, save

AREA = "Guests"
GUEST = """
display = stdio
memory = 128
reboot = no
initrd = /guests/initrd
kernel = /guests/chronovisor.elf
"""


@machine_test(cost=25)
def guest_with_a_screen(lab):
    """A guest that has nothing but its screen and keyboard, VMkernel itself, on the screen and keyboard of this machine."""
    files = image_files(lab)
    (files / "guests/vm.conf").write_text(GUEST)
    with lab.boot(Boot(mem=320, prompt="", extra=str(files)), ips=100_000_000) as m:
        m.wait_screen(r"# *$", 60)
        enter(m, "vmx -record /tmp/log -c /guests/vm.conf")
        m.wait_screen(r"\A(?![\s\S]*vm\.conf)[\s\S]*# *$", 120)    # our own command has made way for the guest's prompt
        enter(m, "echo Guest-$((40+2)) | tr G g")
        m.wait_screen(r"^guest-42 *$", 60)
        save(m, "guest")
        m.type_keys("false<up><up><ctrl-c>")                   # sequences and control characters
        enter(m, "poweroff")
        m.wait_screen(r"vmx: recorded \d+ instructions", 60)
        enter(m, "vmx -replay /tmp/log -c /guests/vm.conf")
        screen = m.wait_screen(r"vmx: replayed \d+ instructions, all checks equal", 120)
        if "guest-42" not in screen.text():
            raise Failure("the replay shows something else:\n" + screen.text())
