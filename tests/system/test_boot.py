"""Boots: emulators, processors, memory sizes, the hybrid image, ends."""
import re
import subprocess

from emu.patience import patience
from harness import TOP, Boot, Failure, iso_for, machine_test

AREA = "Boot to a shell"


def boots(lab, boot, **more):
    """The shell comes, sees its memory and processors, and the machine switches itself off."""
    with lab.boot(boot, **more) as m:
        processors = m.check("grep -c ^processor /proc/cpuinfo")
        if int(processors) != boot.cpus:
            raise Failure(f"{processors} processors, expected {boot.cpus}")
        total = int(re.search(r"^Mem: +(\d+)", m.check("free"), re.MULTILINE)[1]) // 1024
        if not boot.mem * 0.6 < total <= boot.mem:
            raise Failure(f"free says {total} MiB of {boot.mem}")
        m.com1.send("poweroff\n")
        m.powers_off(60)


@machine_test(emus=("bochs", "qemu"))
def one_processor(lab):
    boots(lab, Boot())


@machine_test(emus=("bochs", "qemu"))
def two_processors(lab):
    boots(lab, Boot(cpus=2))


@machine_test(Boot(emu="qemu"))
def four_processors(lab):
    boots(lab, Boot(cpus=4))


@machine_test(emus=("bochs", "qemu"))
def smallest_memory(lab):
    boots(lab, Boot(mem=64))


@machine_test(Boot(emu="qemu"))
def six_gigabytes(lab):
    boots(lab, Boot(mem=6144, cpus=2))


@machine_test(emus=("bochs", "qemu"))
def usb_stick(lab):
    """The same file as a disk with a boot sector."""
    with lab.boot(Boot(), usb=True) as m:
        m.check("echo started", "started")


@machine_test(emus=("bochs", "qemu"))
def first_program_ends(lab):
    """Its exit status is reported, then the machine switches itself off."""
    with lab.boot(Boot(cmdline="init=/bin/sh console=ttyS0 loglevel=6")) as m:
        m.com1.send("exit 7\n")
        m.com1.expect(r"init exited with status 7$", 30)
        m.powers_off(60)


@machine_test()
def first_program_missing(lab):
    """A sentence that says what to do, on the console."""
    with lab.boot(Boot(cmdline="init=/no/such/program", prompt="")) as m:
        m.com1.trouble = None
        m.com1.expect(r"/no/such/program cannot be started", 60)


@machine_test()
def second_serial_line(lab):
    with lab.boot(Boot(cmdline="console=ttyS1", prompt="")) as m:
        m.com2.expect(r"# $", 60)
        m.com2.send("echo on-$((1 + 1))\n")
        m.com2.expect(r"^on-2$", 30)


@machine_test(Boot(emu="qemu"), cost=12)
def unattended(lab):
    """What `make boot` does: standard input is typed; ends with the first program's exit status."""
    for cmdline, options, wanted in (("init=/bin/sh console=ttyS0", [], 23),
                                     ("", ["--power-off"], 0)):
        iso = iso_for(Boot(cmdline=cmdline))
        text = b"echo typed-$((40 + 2))\n" + (b"exit 23\n" if wanted else b"")
        done = subprocess.run([TOP / "tools/boot", "--emu", "qemu", "--limit", str(90 * patience()), *options, iso],
                              input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != wanted or b"typed-42" not in done.stdout:
            raise Failure(f"make boot ended with {done.returncode}, expected {wanted}:\n"
                          + done.stdout.decode(errors="replace")[-1500:])
