/* sources: kernel/tty/ldisc.c kernel/tty/output.c kernel/tty/read.c */
// The line discipline: editing, echo, signals, flow control, VMIN and VTIME.
#define _POSIX_C_SOURCE 200809L // or stdlib.h brings a sigset_t that is not the kernel's
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "cpu/clock.h"
#include "proc/signal.h"
#include "tty/ldisc.h"

static struct tty *t;
static struct tty_file file;
static char screen[8192];
static size_t shown, screen_limit;
static int last_signal, last_group, wakes;
static uint64_t now;
static const char *arrives; // typed while the reader sleeps
static uint64_t arrives_at;
static int job_answer;

// ---- the surroundings

static size_t device_write(struct tty *tty, const char *text, size_t n) {
    n = MIN(n, screen_limit - shown);
    memcpy(screen + shown, text, n);
    shown += n;
    screen[shown] = 0;
    if (memchr(text, 5, n)) // ENQ: a terminal that answers questions
        tty->answer[tty->answer_len++] = 'A';
    return n;
}
static int throttled = -1;
static void device_throttle(struct tty *tty, bool on) {
    throttled = on;
}
static const struct tty_driver driver = {
    .name = "test", .write = device_write, .throttle = device_throttle};

int signal_send_group(int pgrp, int sig, const siginfo_t *info) {
    last_group = pgrp;
    last_signal = sig;
    return 0;
}
uint64_t clock_monotonic(void) {
    return now;
}
void waitq_init(struct waitq *q) {}
void waitq_wake(struct waitq *q, uint32_t events) {
    wakes++;
}
void waitq_prepare(struct waitq *q, struct waiter *w, bool interruptible) {}
void waitq_finish(struct waiter *w) {}
int waitq_sleep(struct waiter *w, bool interruptible, uint64_t deadline) {
    if (arrives && arrives_at <= deadline) {
        now = MAX(now, arrives_at);
        const char *text = arrives;
        arrives = NULL;
        ldisc_receive(t, text, strlen(text));
        return 0;
    }
    if (deadline == UINT64_MAX)
        return -ERESTARTSYS; // nothing will ever come: a signal ends the test's wait
    now = deadline;
    return -ETIMEDOUT;
}
int tty_check_job(struct tty *tty, int sig) {
    return job_answer;
}
ssize_t uio_write_out(struct uio *u, const void *buf, size_t n) {
    n = MIN(n, u->resid);
    memcpy(u->vec->base, buf, n);
    u->vec->base = (char *)u->vec->base + n;
    u->resid -= n;
    return n;
}

// ---- helpers

static int start(void **state) {
    free(t);
    t = calloc(1, sizeof(*t));
    t->driver = &driver;
    t->pgrp = 42;
    ldisc_init(t);
    file = (struct tty_file){.tty = t};
    shown = 0;
    screen[0] = 0;
    screen_limit = sizeof(screen) - 1;
    last_signal = last_group = 0;
    throttled = -1;
    arrives = NULL;
    job_answer = 0;
    return 0;
}

static void type(const char *text) {
    ldisc_receive(t, text, strlen(text));
}
static void typed(const char *text, const char *echo) {
    shown = 0;
    screen[0] = 0;
    type(text);
    assert_string_equal(screen, echo);
}
static long reads(char *buf, size_t size, bool nonblock) {
    struct uio_vec vec = {buf, size};
    struct uio u = {&vec, 1, size, true};
    memset(buf, 0, size);
    return tty_read(&file, &u, nonblock);
}
static void line(const char *expected) {
    char buf[256];
    assert_int_equal(reads(buf, sizeof(buf) - 1, true), strlen(expected));
    assert_string_equal(buf, expected);
}
static void nothing(void) {
    char buf[16];
    assert_int_equal(reads(buf, sizeof(buf), true), -EAGAIN);
}
static void flags(tcflag_t iflag, tcflag_t lflag) {
    struct ktermios old = t->termios;
    t->termios.c_iflag = iflag;
    t->termios.c_lflag = lflag;
    ldisc_termios_changed(t, &old);
}
static void raw(unsigned min, unsigned time) {
    t->termios.c_cc[VMIN] = min;
    t->termios.c_cc[VTIME] = time;
    flags(0, 0);
}

// ---- tests

static void lines(void **state) {
    typed("hello", "hello");
    nothing();
    typed("\r", "\r\n");
    line("hello\n");
    type("one\ntwo\n");
    line("one\n");
    line("two\n");
    nothing();
    char buf[4];
    type("abcdef\n"); // a short buffer takes the line in pieces
    assert_int_equal(reads(buf, 3, true), 3);
    assert_memory_equal(buf, "abc", 3);
    line("def\n");
}

static void end_of_file(void **state) {
    char buf[8];
    type("\004");
    assert_int_equal(reads(buf, sizeof(buf), true), 0);
    nothing();
    type("abc\004");
    line("abc");
    nothing();
    type("abc\004\004"); // the second one is an end of file of its own
    assert_int_equal(reads(buf, 3, true), 3);
    assert_int_equal(reads(buf, 3, true), 0);
}

static void erase(void **state) {
    typed("ab\177", "ab\b \b");
    typed("\177\177\177", "\b \b");
    typed("a\001\177", "a^A\b \b\b \b");
    typed("\025one two\027", "\b \bone two\b \b\b \b\b \b");
    typed("\027x\n", "\b \b\b \b\b \b\b \bx\r\n");
    line("x\n");
    typed("abc\025d\n", "abc\b \b\b \b\b \bd\r\n");
    line("d\n");
    t->termios.c_lflag &= ~ECHOKE;
    typed("abc\025d\n", "abc^U\r\nd\r\n");
    line("d\n");
    t->termios.c_lflag &= ~ECHOE;
    typed("ab\177\n", "ab^?\r\n");
    line("a\n");
}

static void erase_tab_and_utf8(void **state) {
    typed("ab\t\177", "ab\t\b\b\b\b\b\b");
    typed("\t\t\177\177\177\177", "\t\t\b\b\b\b\b\b\b\b\b\b\b\b\b\b\b \b\b \b");
    t->termios.c_iflag |= IUTF8;
    typed("\xc3\xa9\177", "\xc3\xa9\b \b");
    typed("a\xe2\x82\xac\t\177\177\n", "a\xe2\x82\xac\t\b\b\b\b\b\b\b \b\r\n");
    line("a\n");
    type("x\xc3\xa9y \xc3\xa9\027\n");
    line("x\xc3\xa9y \n");
}

static void literal_and_reprint(void **state) {
    typed("a\026\003b\n", "a^\b^Cb\r\n");
    assert_int_equal(last_signal, 0);
    line("a\003b\n");
    typed("xy\022z\n", "xy^R\r\nxyz\r\n");
    line("xyz\n");
    t->termios.c_cc[VEOL] = '.';
    type("a.b\n");
    line("a.");
    line("b\n");
}

static void signals(void **state) {
    typed("abc", "abc");
    typed("\003", "^C");
    assert_int_equal(last_signal, SIGINT);
    assert_int_equal(last_group, 42);
    type("d\n");
    line("d\n"); // the line before was flushed
    type("\032");
    assert_int_equal(last_signal, SIGTSTP);
    type("\034");
    assert_int_equal(last_signal, SIGQUIT);
    t->termios.c_lflag |= NOFLSH;
    type("abc\003d\n");
    line("abcd\n");
    t->termios.c_lflag &= ~ISIG;
    last_signal = 0;
    type("\003\n");
    assert_int_equal(last_signal, 0);
    line("\003\n");
}

static void input_mapping(void **state) {
    flags(INLCR, 0);
    t->termios.c_cc[VMIN] = 1;
    type("a\nb\r");
    line("a\rb\r");
    flags(IGNCR | ISTRIP, 0);
    type("\r\n\xe1");
    line("\na");
    flags(0, ICANON | ECHO); // without ICRNL a carriage return ends nothing
    typed("a\r", "a\r");
    nothing();
}

static void echo_modes(void **state) {
    t->termios.c_lflag &= ~ECHO;
    typed("secret\n", "");
    t->termios.c_lflag |= ECHONL;
    typed("secret\n", "\r\n");
    t->termios.c_lflag = ICANON | ECHO; // no ECHOCTL
    typed("\001", "\001");
}

static void output_processing(void **state) {
    assert_int_equal(output_write(t, "a\nb\tc\b", 7 - 1), 6);
    assert_string_equal(screen, "a\r\nb\tc\b");
    assert_int_equal(t->column, 8);
    shown = 0;
    t->termios.c_oflag = OPOST | XTABS | OCRNL;
    output_write(t, "\rx\ty", 4);
    assert_string_equal(screen + 0, "\nx       y" + 0);
    shown = 0;
    t->termios.c_oflag = 0;
    output_write(t, "a\nb", 3);
    assert_string_equal(screen, "a\nb");
}

static void flow_control(void **state) {
    type("\023");
    assert_int_equal(output_write(t, "later", 5), 5);
    assert_string_equal(screen, "");
    type("\021");
    assert_string_equal(screen, "later");
    type("\023");
    t->termios.c_iflag |= IXANY;
    typed("x", "x");
    // A device that is full keeps the rest in the ring; writers see what was taken.
    shown = 0;
    screen_limit = 10;
    static char much[4000];
    memset(much, 'm', sizeof(much));
    size_t taken = output_write(t, much, sizeof(much));
    assert_true(taken < sizeof(much) && taken > TTY_OUTPUT_SIZE / 2);
    screen_limit = sizeof(screen) - 1;
    flush_output(t);
    assert_int_equal(shown, taken);
}

static void overflow(void **state) {
    static char much[10000], got[10000];
    memset(much, 'x', sizeof(much));
    t->termios.c_lflag &= ~ECHO;
    ldisc_receive(t, much, sizeof(much));
    assert_true(ldisc_input_room(t) > 0); // never blocks the one who must send the newline
    type("\n");
    assert_int_equal(reads(got, sizeof(got), true), TTY_INPUT_SIZE);
    assert_int_equal(got[TTY_INPUT_SIZE - 1], '\n');
    raw(1, 0);
    ldisc_receive(t, much, sizeof(much));
    assert_int_equal(ldisc_input_room(t), 0);
    assert_int_equal(throttled, 1);
    assert_int_equal(reads(got, sizeof(got), true), TTY_INPUT_SIZE);
    assert_int_equal(throttled, 0);
}

static void raw_reads(void **state) {
    char buf[16];
    raw(1, 0);
    type("ab");
    line("ab");
    nothing();
    raw(0, 0);
    assert_int_equal(reads(buf, sizeof(buf), false), 0);
    raw(3, 0);
    type("ab");
    assert_false(ldisc_readable(t, true));
    arrives = "cd";
    arrives_at = now + 5;
    assert_int_equal(reads(buf, sizeof(buf), false), 4);
    type("abcde");
    assert_int_equal(reads(buf, 2, false), 2);
    line("cde");
}

static void raw_timeouts(void **state) {
    char buf[16];
    raw(0, 5); // half a second for the first byte
    uint64_t begin = now;
    assert_int_equal(reads(buf, sizeof(buf), false), 0);
    assert_int_equal(now - begin, NSEC_PER_SEC / 2);
    arrives = "x";
    arrives_at = now + NSEC_PER_SEC / 4;
    assert_int_equal(reads(buf, sizeof(buf), false), 1);
    raw(5, 2); // between bytes
    arrives = "xy";
    arrives_at = now + 10 * NSEC_PER_SEC;
    begin = now;
    assert_int_equal(reads(buf, sizeof(buf), false), 2);
    assert_int_equal(now - begin, 10 * NSEC_PER_SEC + NSEC_PER_SEC / 5);
}

static void mode_changes(void **state) {
    struct ktermios old = t->termios;
    type("half");
    raw(1, 0);
    line("half");
    type("rest");
    t->termios.c_lflag = old.c_lflag;
    struct ktermios before = old;
    before.c_lflag = 0;
    ldisc_termios_changed(t, &before);
    line("rest"); // what was typed before counts as a line
    assert_int_equal(ldisc_pending(t), 0);
    type("abc\004de\n");
    assert_int_equal(ldisc_pending(t), 6);
}

static void waiting(void **state) {
    char buf[16];
    assert_int_equal(reads(buf, sizeof(buf), false), -ERESTARTSYS);
    arrives = "abc\n";
    arrives_at = now;
    assert_int_equal(reads(buf, sizeof(buf), false), 4);
    job_answer = -EIO;
    assert_int_equal(reads(buf, sizeof(buf), false), -EIO);
    job_answer = 0;
    t->generation++; // hung up
    type("abc\n");
    assert_int_equal(reads(buf, sizeof(buf), false), 0);
}

static void terminal_answers(void **state) {
    raw(1, 0);
    output_write(t, "who\005", 4);
    line("A");
}

// Random bytes under random settings: the counters keep their order, memory its bounds.
static void any_input(void **state) {
    static char buf[512];
    srand(2);
    for (int i = 0; i < 30000; i++) {
        if (rand() % 50 == 0) {
            flags(rand() & (ICRNL | INLCR | IXON | IXANY | IUTF8 | IMAXBEL | IXOFF),
                  rand() & (ICANON | ECHO | ECHOE | ECHOK | ECHOKE | ECHOCTL | ISIG | IEXTEN));
            t->termios.c_cc[VMIN] = rand() % 3;
            t->termios.c_oflag = rand() & (OPOST | ONLCR | OCRNL | XTABS | ONOCR);
        }
        size_t n = rand() % 200;
        for (size_t j = 0; j < n; j++)
            buf[j] = rand() % 3 ? rand() % 32 : rand();
        ldisc_receive(t, buf, n);
        shown = 0;
        if (rand() % 3 == 0) {
            if (ldisc_flag(t, ICANON))
                reads(buf, rand() % sizeof(buf), true);
            else
                reads(buf, rand() % sizeof(buf), true);
        }
        assert_true(t->head - t->tail <= TTY_INPUT_SIZE);
        assert_true((int)(t->canon - t->tail) >= 0 && (int)(t->head - t->canon) >= 0);
        assert_true(t->out_head - t->out_tail <= TTY_OUTPUT_SIZE);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(lines, start),
        cmocka_unit_test_setup(end_of_file, start),
        cmocka_unit_test_setup(erase, start),
        cmocka_unit_test_setup(erase_tab_and_utf8, start),
        cmocka_unit_test_setup(literal_and_reprint, start),
        cmocka_unit_test_setup(signals, start),
        cmocka_unit_test_setup(input_mapping, start),
        cmocka_unit_test_setup(echo_modes, start),
        cmocka_unit_test_setup(output_processing, start),
        cmocka_unit_test_setup(flow_control, start),
        cmocka_unit_test_setup(overflow, start),
        cmocka_unit_test_setup(raw_reads, start),
        cmocka_unit_test_setup(raw_timeouts, start),
        cmocka_unit_test_setup(mode_changes, start),
        cmocka_unit_test_setup(waiting, start),
        cmocka_unit_test_setup(terminal_answers, start),
        cmocka_unit_test_setup(any_input, start),
    };
    int failed = cmocka_run_group_tests_name("ldisc", tests, NULL, NULL);
    free(t);
    return failed;
}
