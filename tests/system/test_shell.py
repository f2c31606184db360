"""Debian's busybox as people use it: a shell, pipes, jobs, signals from the keyboard."""
import re

from harness import Boot, Failure, shell_test

AREA = "busybox shell"
BOTH = ("bochs", "qemu")
# Says when it is there, and when it goes on (18 is SIGCONT): before that a key would be the shell's.
JOB = "sh -c 'trap \"echo again\" 18; echo be\"gin\"; while :; do sleep 0.1; done'"


@shell_test(emus=BOTH)
def pipeline(m):
    m.check("echo abc | tr a-c A-C | sed s/B/x/", "AxC")
    m.check("seq 1 1000 | awk '{ s += $1 } END { print s }'", "500500")


@shell_test(emus=BOTH)
def status_of_commands(m):
    for command, wanted in (("true", 0), ("false", 1), ("sh -c 'exit 42'", 42),
                            ("/no/such/program", 127), ("sh -c 'kill -9 $$'", 137)):
        _, status = m.sh(command)
        if status != wanted:
            raise Failure(f"{command}: status {status}, expected {wanted}")


@shell_test(emus=BOTH)
def every_file_can_be_found(m):
    if int(m.check("find / -xdev | wc -l").split()[-1]) < 300:
        raise Failure("find saw fewer than 300 files")


def job_in_foreground(m):
    m.com1.send(JOB + "\n")
    m.com1.expect(r"^begin\n")


@shell_test(emus=BOTH)
def interrupt_key(m):
    job_in_foreground(m)
    m.com1.send("\x03")
    m.com1.expect(r"# $", 20)
    m.check("echo alive", "alive")


@shell_test(emus=BOTH)
def stop_and_continue(m):
    job_in_foreground(m)
    m.com1.send("\x1a")
    m.com1.expect(r"\[1\]\+ +Stopped +sh -c", 20)
    m.com1.expect(r"# $", 20)
    m.com1.send("fg\n")
    m.com1.expect(r"^sh -c .*sleep 0.1.*\n", 20)
    m.com1.expect(r"^again\n", 20)
    m.com1.send("\x03")
    m.com1.expect(r"# $", 20)


@shell_test(emus=BOTH)
def background_jobs(m):
    m.check("sleep 1000 & sleep 1000 & jobs", re.compile(r"\[2\]\+ +Running +sleep 1000"))
    m.check("kill %1 %2; wait; jobs | grep -c Running || true", re.compile(r"^0$", re.MULTILINE))


@shell_test(emus=BOTH)
def processes_are_listed(m):
    m.check("ps", re.compile(r"^ +1 .*init", re.MULTILINE))
    m.check("top -b -n1 | head -5", re.compile(r"^Mem:", re.MULTILINE))


def sort_numbers(m, count):
    m.check(f"seq {count} -1 1 > /tmp/big; sort -n /tmp/big | head -1; rm /tmp/big", "1", limit=300)


@shell_test(emus=BOTH)
def sort_numbers_by_value(m):
    sort_numbers(m, 30_000)


@shell_test(Boot(mem=512), emus=BOTH, level="all", cost=60)
def sort_ten_megabytes(m):
    sort_numbers(m, 1_400_000)


@shell_test(emus=BOTH)
def archives(m):
    m.check("tar -cf - /bin/busybox 2> /dev/null | gzip > /tmp/a.tgz && "
            "mkdir -p /tmp/a && tar -xzf /tmp/a.tgz -C /tmp/a && "
            "cmp /bin/busybox /tmp/a/bin/busybox && rm -r /tmp/a /tmp/a.tgz", "")


@shell_test(emus=BOTH)
def editor_on_serial(m):
    m.check("printf 'one\\ntwo\\n' > /tmp/text")
    m.com1.send("vi /tmp/text\n")
    m.com1.expect(r"/tmp/text.*1/2", 30)
    m.com1.send("Gothree\x1b")
    m.com1.expect(r"- /tmp/text \[Modified\] 3/3", 30)      # escape alone, not a sequence
    m.com1.send(":wq\n")
    m.com1.expect(r"# $", 30)
    m.check("cat /tmp/text; rm /tmp/text", "one\ntwo\nthree")
