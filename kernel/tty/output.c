// Output processing of a terminal (OPOST), echo, and the way to the driver.
#include "tty/ldisc.h"

static bool is_control(unsigned char c) {
    return c < 32 || c == 127;
}

// A byte inside a UTF-8 sequence: takes no column of its own.
static bool is_continuation(const struct tty *t, unsigned char c) {
    return (t->termios.c_iflag & IUTF8) && (c & 0xc0) == 0x80;
}

static size_t ring_free(const struct tty *t) {
    return TTY_OUTPUT_SIZE - (t->out_head - t->out_tail);
}

static void ring_put(struct tty *t, char c) {
    t->output[t->out_head++ % TTY_OUTPUT_SIZE] = c;
}

size_t output_room(const struct tty *t) {
    size_t n = ring_free(t);
    return n > TTY_ECHO_SPACE ? n - TTY_ECHO_SPACE : 0;
}

// The bytes that take the cursor to the next tab stop.
static void put_tab(struct tty *t) {
    unsigned spaces = 8 - (t->column & 7);
    t->column += spaces;
    if ((t->termios.c_oflag & TABDLY) != XTABS) {
        ring_put(t, '\t');
        return;
    }
    while (spaces--)
        ring_put(t, ' ');
}

// The cases of OPOST that are more than counting columns. At most 8 bytes are put.
static void put_processed(struct tty *t, unsigned char c) {
    tcflag_t flags = t->termios.c_oflag;
    switch (c) {
    case '\n':
        if (flags & (ONLCR | ONLRET))
            t->column = 0;
        if (flags & ONLCR)
            ring_put(t, '\r');
        ring_put(t, '\n');
        return;
    case '\r':
        if ((flags & ONOCR) && t->column == 0)
            return;
        if (flags & OCRNL) {
            if (flags & ONLRET)
                t->column = 0;
            ring_put(t, '\n');
            return;
        }
        t->column = 0;
        break;
    case '\t': put_tab(t); return;
    case '\b':
        if (t->column > 0)
            t->column--;
        break;
    default:
        if ((flags & OLCUC) && c >= 'a' && c <= 'z')
            c -= 'a' - 'A';
        if (!is_control(c) && !is_continuation(t, c))
            t->column++;
    }
    ring_put(t, c);
}

bool output_char(struct tty *t, unsigned char c, unsigned reserve) {
    if (ring_free(t) < reserve + 8)
        return false;
    if (t->termios.c_oflag & OPOST)
        put_processed(t, c);
    else
        ring_put(t, c);
    return true;
}

size_t output_write(struct tty *t, const char *text, size_t n) {
    size_t done = 0;
    while (done < n) {
        if (!output_char(t, text[done], TTY_ECHO_SPACE)) {
            flush_output(t);
            if (!output_char(t, text[done], TTY_ECHO_SPACE))
                break;
        }
        done++;
    }
    flush_output(t);
    return done;
}

void echo_raw(struct tty *t, unsigned char c) {
    if (!output_char(t, c, 0)) {
        flush_output(t);
        output_char(t, c, 0);
    }
}

void echo_char(struct tty *t, unsigned char c) {
    if (ldisc_flag(t, ECHOCTL) && is_control(c) && c != '\t') {
        echo_raw(t, '^');
        echo_raw(t, c ^ 0x40);
        return;
    }
    echo_raw(t, c);
}

// What the driver takes of the ring, a contiguous piece at a time.
static void drive(struct tty *t) {
    if (t->flow_char) {
        char c = t->flow_char;
        if (t->driver->write(t, &c, 1) == 0)
            return;
        t->flow_char = 0;
    }
    while (!t->stopped && t->out_head != t->out_tail) {
        unsigned at = t->out_tail % TTY_OUTPUT_SIZE;
        size_t n = MIN(t->out_head - t->out_tail, TTY_OUTPUT_SIZE - at);
        size_t taken = t->driver->write(t, t->output + at, n);
        t->out_tail += taken;
        if (taken < n)
            break;
    }
}

void flush_output(struct tty *t) {
    if (t->flushing) // an answer's echo: the caller above goes on with the ring
        return;
    t->flushing = true;
    drive(t);
    // Answers of the terminal become input, whose echo is output again. An echoed answer asks
    // nothing, so this ends; the bound is for a driver that thinks otherwise.
    for (int round = 0; t->answer_len && round < 4; round++) {
        char answer[TTY_ANSWER_SIZE];
        size_t n = t->answer_len;
        __builtin_memcpy(answer, t->answer, n);
        t->answer_len = 0;
        ldisc_receive(t, answer, n);
        drive(t);
    }
    t->answer_len = 0;
    t->flushing = false;
    if (output_room(t) >= TTY_OUTPUT_SIZE / 4)
        waitq_wake(&t->write_wait, POLLOUT | POLLWRNORM);
}

void output_discard(struct tty *t) {
    t->out_tail = t->out_head;
    waitq_wake(&t->write_wait, POLLOUT | POLLWRNORM);
}

void output_stop(struct tty *t) {
    t->stopped = true;
}

void output_start(struct tty *t) {
    if (!t->stopped)
        return;
    t->stopped = false;
    flush_output(t);
}
