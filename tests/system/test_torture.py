"""The instruction clock: its proof at boot, the torture guest, and refused VM entries explained."""
import re

from harness import Boot, Failure, shell_test

AREA = "Instruction clock"
# Machines of their own: the log of a shared one may have lost its first lines.
ONE, TWO, SELFTEST = Boot(mem=192), Boot(cpus=2, mem=192), Boot(cmdline="vmm.selftest")
SAME = re.compile(r"always the same hash$", re.MULTILINE)


@shell_test(ONE)
def clock_is_exact_on_one_processor(m):
    m.check("dmesg | grep 'clock: tsc, exact: one TSC tick is one guest instruction'",
            re.compile("passage costs"))


@shell_test(TWO)
def clock_is_not_exact_on_two_processors(m):
    """Bochs's TSC jumps with several processors: the clock must notice."""
    m.check("dmesg | grep -c 'clock: .*, not exact: '", "1")


@shell_test(SELFTEST)
def refused_entries_are_explained(m):
    line = m.check("dmesg | grep 'vmm: selftest: .* refused entries explained'")
    good, all_of_them = map(int, re.search(r"(\d+) of (\d+) refused", line).groups())
    if good != all_of_them or good < 20 or "the guest runs afterwards" not in line:
        raise Failure(m.check("dmesg | grep -E 'NOT OK|refused entries explained'"))


@shell_test(ONE, cost=10)
def torture(m):
    m.check("/test/t_torture 1000 20", SAME, limit=120)


@shell_test(ONE, level="all", cost=120)
def torture_with_20_000_events_and_100_clones(m):
    m.check("/test/t_torture 20000 100", SAME, limit=900)


@shell_test(ONE, level="all", cost=60)
def torture_with_other_seeds(m):
    for seed in range(2, 12):
        m.check(f"/test/t_torture 1000 10 {seed}", SAME, limit=120)
