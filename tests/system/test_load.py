"""VMkernel under load: nothing is lost, nothing breaks, and it says what it did."""
import re

from harness import Boot, Failure, machine_test, shell_test

AREA = "Load and abuse"
BOCHS_1, BOCHS_2 = Boot(), Boot(cpus=2)
QEMU_4 = Boot(emu="qemu", cpus=4)
END_OK = re.compile(r"^end \d+ ok, 0 not ok$", re.MULTILINE)


def cycles(m, count):
    """fork/exec/exit; as many pages are free as before."""
    m.check(f"/test/t_cycles {count}", END_OK, limit=900)


def system_calls(m, count, seed):
    """Random system calls; afterwards everything else still works and no program is left over."""
    m.check(f"/test/t_sysfuzz {count} {seed}", re.compile(r"^end ok \d+ calls$", re.MULTILINE), 1800)
    m.check("/test/t_process", END_OK)
    m.check("i=0; while ps | grep -q '[t]_sysfuzz' && [ $i -lt 300 ]; do sleep 0.1; i=$((i + 1)); done; "
            "ps | grep -c '[t]_sysfuzz' || true", "0")


@shell_test(BOCHS_1, cost=15)
def cycles_on_one_processor(m):
    cycles(m, 1000)


@shell_test(QEMU_4, cost=10)
def cycles_on_four_processors(m):
    cycles(m, 1000)


@shell_test(BOCHS_1, level="all", cost=120)
def ten_thousand_cycles_on_one_processor(m):
    cycles(m, 10_000)


@shell_test(BOCHS_2, level="all", cost=150)
def ten_thousand_cycles_on_two_processors(m):
    cycles(m, 10_000)


@shell_test(QEMU_4, level="all", cost=60)
def ten_thousand_cycles_on_four_processors(m):
    cycles(m, 10_000)


@shell_test(QEMU_4, cost=20)
def system_call_fuzz(m):
    system_calls(m, 40_000, 1)


@shell_test(BOCHS_1, cost=15)
def system_call_fuzz_on_one_processor(m):
    system_calls(m, 30_000, 2)


@shell_test(BOCHS_2, cost=20)
def system_call_fuzz_on_two_processors(m):
    system_calls(m, 30_000, 3)


@shell_test(QEMU_4, level="all", cost=250)
def million_system_calls(m):
    for seed in range(100, 107):
        system_calls(m, 100_000, seed)


@shell_test(BOCHS_2, level="all", cost=150)
def million_system_calls_on_two_processors(m):
    for seed in range(200, 203):
        system_calls(m, 100_000, seed)


@shell_test(QEMU_4, level="all", cost=70)
def everything_at_once(m):
    m.check("/test/t_smp 60", END_OK, limit=240)


@shell_test(QEMU_4, level="soak", cost=1900)
def everything_at_once_for_half_an_hour(m):
    m.check("/test/t_smp 1800", END_OK, limit=4000)


@machine_test(Boot(mem=128), emus=("bochs", "qemu"), level="quick", cost=10)
def fork_bomb(lab):
    """In a pool with limits: it ends, the rest goes on, the log says which limit was met."""
    with lab.boot() as m:
        m.check("/test/t_forkbomb", END_OK, limit=120)
        log = m.check("dmesg")
        for line in (r"pool: bomb: the memory limit of 24576 KiB is reached",
                     r"pool: bomb: out of memory: killing \d+ \(t_forkbomb\)"):
            if not re.search(line, log):
                raise Failure(f"the log does not say {line!r}:\n{log[-1500:]}")


@machine_test(Boot(mem=64), emus=("bochs", "qemu"), level="quick", cost=10)
def out_of_memory(lab):
    """Without a pool: who asks for more than there is ends, with a message; nobody else does."""
    with lab.boot() as m:
        _, status = m.sh("awk 'BEGIN { s = \"0123456789abcdef\"; while (1) s = s s }'", 120)
        if status != 137:
            raise Failure(f"the greedy program ended with {status}, expected 137")
        m.check("dmesg", re.compile(r"mm: out of memory: killing \d+ \(awk\)"))
        m.check("/test/t_process", END_OK)


@machine_test(Boot(mem=256), level="all", cost=200)
def threads_for_two_thousand_million_instructions(lab):
    """8 threads with mutexes, condition variables and malloc; Bochs' TSC counts instructions."""
    with lab.boot() as m:
        output = m.check("/test/t_thread 6000", END_OK, limit=1200)
        ticks = int(re.search(r"^# (\d+) million ticks", output, re.MULTILINE)[1])
        if ticks < 2000:
            raise Failure(f"only {ticks} million instructions")
