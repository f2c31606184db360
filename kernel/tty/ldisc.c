// The line discipline's input side: what N_TTY does in Linux (termios(3) describes it). Bytes from
// the device pass through receive_char(), which edits, echoes, sends signals and stores.
#include "lib/string.h"
#include "proc/signal.h"
#include "tty/ldisc.h"

static bool is_control(unsigned char c) {
    return c < 32 || c == 127;
}
// Letters, digits, _ and whatever begins a UTF-8 sequence.
static bool is_word(unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c >= 0xc0;
}
static bool is_continuation(const struct tty *t, unsigned char c) {
    return (t->termios.c_iflag & IUTF8) && (c & 0xc0) == 0x80;
}
// True when c is the special character `index`; 0 (_POSIX_VDISABLE) switches one off.
static bool is_special(const struct tty *t, unsigned char c, unsigned index) {
    return c != 0 && c == t->termios.c_cc[index];
}
static unsigned char *slot(struct tty *t, unsigned at) {
    return (unsigned char *)&t->input[at % TTY_INPUT_SIZE];
}

void ldisc_init(struct tty *t) {
    static const cc_t chars[NCCS] = {
        [VINTR] = 'C' - 64,    [VQUIT] = '\\' - 64,  [VERASE] = 127,
        [VKILL] = 'U' - 64,    [VEOF] = 'D' - 64,    [VMIN] = 1,
        [VSTART] = 'Q' - 64,   [VSTOP] = 'S' - 64,   [VSUSP] = 'Z' - 64,
        [VREPRINT] = 'R' - 64, [VWERASE] = 'W' - 64, [VLNEXT] = 'V' - 64,
        [VDISCARD] = 'O' - 64,
    };
    memset(&t->termios, 0, sizeof(t->termios));
    t->termios.c_iflag = ICRNL | IXON;
    t->termios.c_oflag = OPOST | ONLCR;
    t->termios.c_cflag = B38400 | CS8 | CREAD | HUPCL;
    t->termios.c_lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN;
    memcpy(t->termios.c_cc, chars, sizeof(chars));
    t->termios.c_ispeed = t->termios.c_ospeed = 38400;
    t->head = t->canon = t->tail = 0;
    t->out_head = t->out_tail = 0;
    t->column = t->line_column = 0;
    t->literal_next = t->throttled = t->stopped = false;
    t->flow_char = 0;
}

static size_t used(const struct tty *t) {
    return t->head - t->tail;
}

static void wake_readers(struct tty *t) {
    waitq_wake(&t->read_wait, POLLIN | POLLRDNORM);
}

// Stores one byte. In canonical mode the last place is kept for the end of the line, so that a line
// that is too long can still be finished.
static void store(struct tty *t, unsigned char c, enum tty_mark mark) {
    bool keep_last = ldisc_flag(t, ICANON) && mark == MARK_NONE;
    if (used(t) + keep_last >= TTY_INPUT_SIZE) {
        if (t->termios.c_iflag & IMAXBEL)
            echo_raw(t, '\a');
        return;
    }
    t->mark[t->head % TTY_INPUT_SIZE] = mark;
    *slot(t, t->head++) = c;
    if (mark != MARK_NONE)
        t->canon = t->head;
}

// ---- editing of the current line

// The column where the tab at `at` began, modulo 8 matters only.
static unsigned tab_column(struct tty *t, unsigned at) {
    unsigned columns = 0;
    while (at != t->canon) {
        unsigned char c = *slot(t, --at);
        if (c == '\t')
            return columns;
        if (is_control(c))
            columns += ldisc_flag(t, ECHOCTL) ? 2 : 0;
        else if (!is_continuation(t, c))
            columns++;
    }
    return columns + t->line_column;
}

static void echo_rubout(struct tty *t) {
    echo_raw(t, '\b');
    echo_raw(t, ' ');
    echo_raw(t, '\b');
}

// Takes the echo of the character c, which stood at t->head, off the screen.
static void unecho(struct tty *t, unsigned char c) {
    if (c == '\t') {
        for (unsigned n = 8 - (tab_column(t, t->head) & 7); n; n--)
            echo_raw(t, '\b');
        return;
    }
    if (is_control(c)) {
        if (!ldisc_flag(t, ECHOCTL))
            return;
        echo_rubout(t);
    }
    echo_rubout(t);
}

// Drops the last character of the line (all bytes of it in UTF-8) and returns its first byte;
// false when there is none, or only a torn sequence.
static bool drop_last(struct tty *t, unsigned char *first) {
    unsigned at = t->head;
    unsigned char c;
    do {
        if (at == t->canon)
            return false;
        c = *slot(t, --at);
    } while (is_continuation(t, c));
    t->head = at;
    *first = c;
    return true;
}

static void erase_char(struct tty *t) {
    unsigned char c;
    if (!drop_last(t, &c) || !ldisc_flag(t, ECHO))
        return;
    if (ldisc_flag(t, ECHOE))
        unecho(t, c);
    else
        echo_char(t, t->termios.c_cc[VERASE]);
}

static void erase_word(struct tty *t) {
    bool in_word = false;
    for (;;) {
        unsigned head = t->head;
        unsigned char c;
        if (!drop_last(t, &c))
            return;
        if (is_word(c)) {
            in_word = true;
        } else if (in_word) {
            t->head = head; // the character before the word stays
            return;
        }
        if (ldisc_flag(t, ECHO))
            unecho(t, c);
    }
}

static void kill_line(struct tty *t) {
    bool visibly = ldisc_flag(t, ECHOK) && ldisc_flag(t, ECHOKE) && ldisc_flag(t, ECHOE);
    unsigned char c;
    if (ldisc_flag(t, ECHO) && visibly) {
        while (drop_last(t, &c))
            unecho(t, c);
    } else if (ldisc_flag(t, ECHO) && t->head != t->canon) {
        echo_char(t, t->termios.c_cc[VKILL]);
        if (ldisc_flag(t, ECHOK))
            echo_raw(t, '\n');
    }
    t->head = t->canon;
}

static void reprint(struct tty *t) {
    echo_char(t, t->termios.c_cc[VREPRINT]);
    echo_raw(t, '\n');
    for (unsigned at = t->canon; at != t->head; at++)
        echo_char(t, *slot(t, at));
}

static void end_line(struct tty *t, unsigned char c, enum tty_mark mark) {
    store(t, c, mark);
    wake_readers(t);
}

// Canonical mode's special characters. True when c was one.
static bool edit(struct tty *t, unsigned char c) {
    bool extended = ldisc_flag(t, IEXTEN);
    if (is_special(t, c, VERASE)) {
        erase_char(t);
    } else if (is_special(t, c, VKILL)) {
        kill_line(t);
    } else if (extended && is_special(t, c, VWERASE)) {
        erase_word(t);
    } else if (extended && is_special(t, c, VREPRINT) && ldisc_flag(t, ECHO)) {
        reprint(t);
    } else if (c == '\n') {
        if (ldisc_flag(t, ECHO | ECHONL))
            echo_raw(t, '\n');
        end_line(t, c, MARK_LINE);
    } else if (is_special(t, c, VEOF)) {
        end_line(t, 0, MARK_EOF);
    } else if (is_special(t, c, VEOL) || (extended && is_special(t, c, VEOL2))) {
        if (ldisc_flag(t, ECHO))
            echo_char(t, c);
        end_line(t, c, MARK_LINE);
    } else {
        return false;
    }
    return true;
}

// ---- signals and flow control

void ldisc_flush_input(struct tty *t) {
    t->head = t->canon = t->tail;
    t->literal_next = false;
    ldisc_check_throttle(t);
}

// True when c asked for a signal.
static bool signal_char(struct tty *t, unsigned char c) {
    int sig = is_special(t, c, VINTR)   ? SIGINT
              : is_special(t, c, VQUIT) ? SIGQUIT
              : is_special(t, c, VSUSP) ? SIGTSTP
                                        : 0;
    if (!sig)
        return false;
    int pgrp = READ_ONCE(t->pgrp);
    if (pgrp)
        signal_send_group(pgrp, sig, NULL);
    if (!ldisc_flag(t, NOFLSH)) {
        ldisc_flush_input(t);
        output_discard(t);
    }
    if (t->termios.c_iflag & IXON)
        output_start(t);
    if (ldisc_flag(t, ECHO))
        echo_char(t, c);
    return true;
}

// True when c was START or STOP.
static bool flow_char(struct tty *t, unsigned char c) {
    bool start = is_special(t, c, VSTART), stop = is_special(t, c, VSTOP);
    if (start && (!stop || t->stopped))
        output_start(t);
    else if (stop)
        output_stop(t);
    else if (t->stopped && (t->termios.c_iflag & IXANY))
        output_start(t);
    return start || stop;
}

void ldisc_check_throttle(struct tty *t) {
    bool on = t->throttled ? used(t) > TTY_INPUT_SIZE / 4 : used(t) > TTY_INPUT_SIZE * 3 / 4;
    // A canonical reader waits for the end of the line: never keep the sender from sending it.
    if (ldisc_flag(t, ICANON) && t->canon == t->tail)
        on = false;
    if (on == t->throttled)
        return;
    t->throttled = on;
    if (t->termios.c_iflag & IXOFF) {
        t->flow_char = t->termios.c_cc[on ? VSTOP : VSTART];
        flush_output(t);
    }
    if (t->driver->throttle)
        t->driver->throttle(t, on);
}

// ---- bytes in

static void add_char(struct tty *t, unsigned char c) {
    if (ldisc_flag(t, ECHO)) {
        if (t->head == t->canon)
            t->line_column = t->column;
        echo_char(t, c);
    }
    store(t, c, MARK_NONE);
}

static void receive_char(struct tty *t, unsigned char c) {
    tcflag_t iflag = t->termios.c_iflag;
    if (iflag & ISTRIP)
        c &= 0x7f;
    if (t->literal_next) {
        t->literal_next = false;
        add_char(t, c);
        return;
    }
    if ((iflag & IXON) && flow_char(t, c))
        return;
    if (ldisc_flag(t, ISIG) && signal_char(t, c))
        return;
    if (c == '\r') {
        if (iflag & IGNCR)
            return;
        if (iflag & ICRNL)
            c = '\n';
    } else if (c == '\n' && (iflag & INLCR)) {
        c = '\r';
    }
    if (ldisc_flag(t, ICANON)) {
        if (ldisc_flag(t, IEXTEN) && is_special(t, c, VLNEXT)) {
            t->literal_next = true;
            if (ldisc_flag(t, ECHO) && ldisc_flag(t, ECHOCTL)) {
                echo_raw(t, '^');
                echo_raw(t, '\b');
            }
            return;
        }
        if (edit(t, c))
            return;
    }
    add_char(t, c);
}

void ldisc_receive(struct tty *t, const char *bytes, size_t n) {
    if (!(t->termios.c_cflag & CREAD))
        return;
    for (size_t i = 0; i < n; i++)
        receive_char(t, bytes[i]);
    if (!ldisc_flag(t, ICANON) && t->head != t->tail)
        wake_readers(t);
    ldisc_check_throttle(t);
    flush_output(t);
}

size_t ldisc_input_room(const struct tty *t) {
    size_t room = TTY_INPUT_SIZE - 1 - MIN(used(t), TTY_INPUT_SIZE - 1);
    // As in ldisc_check_throttle(): what is too long for a line is accepted and dropped.
    if (room == 0 && ldisc_flag(t, ICANON) && t->canon == t->tail)
        return TTY_INPUT_SIZE;
    return room;
}

// ---- bytes out to the reader

bool ldisc_readable(const struct tty *t, bool poll) {
    if (ldisc_flag(t, ICANON))
        return t->canon != t->tail;
    unsigned need = poll && !t->termios.c_cc[VTIME] ? t->termios.c_cc[VMIN] : 1;
    return used(t) >= MAX(need, 1u);
}

size_t ldisc_pending(const struct tty *t) {
    if (!ldisc_flag(t, ICANON))
        return used(t);
    size_t n = 0;
    for (unsigned at = t->tail; at != t->canon; at++)
        n += t->mark[at % TTY_INPUT_SIZE] != MARK_EOF;
    return n;
}

static size_t take_line(struct tty *t, char *buf, size_t n, bool *end) {
    size_t done = 0;
    while (t->tail != t->canon) {
        enum tty_mark mark = t->mark[t->tail % TTY_INPUT_SIZE];
        if (mark == MARK_EOF) { // also right behind a full buffer: else the next read would see 0
            t->tail++;
            *end = true;
            break;
        }
        if (done == n)
            break;
        buf[done++] = *slot(t, t->tail++);
        if (mark == MARK_LINE) {
            *end = true;
            break;
        }
    }
    return done;
}

size_t ldisc_take(struct tty *t, char *buf, size_t n, bool *end) {
    size_t done = 0;
    *end = false;
    if (ldisc_flag(t, ICANON)) {
        done = take_line(t, buf, n, end);
    } else {
        while (done < n && t->tail != t->head)
            buf[done++] = *slot(t, t->tail++);
        if ((int)(t->canon - t->tail) < 0)
            t->canon = t->tail;
    }
    ldisc_check_throttle(t);
    return done;
}

void ldisc_termios_changed(struct tty *t, const struct ktermios *old) {
    if ((old->c_lflag ^ t->termios.c_lflag) & ICANON) {
        t->literal_next = false;
        // To canonical: what was typed before counts as one line. To raw: no lines any more.
        if (ldisc_flag(t, ICANON)) {
            for (unsigned at = t->tail; at != t->head; at++)
                t->mark[at % TTY_INPUT_SIZE] = MARK_NONE;
            if (t->head != t->tail)
                t->mark[(t->head - 1) % TTY_INPUT_SIZE] = MARK_LINE;
        }
        t->canon = ldisc_flag(t, ICANON) ? t->head : t->tail;
    }
    if ((old->c_iflag & IXON) && !(t->termios.c_iflag & IXON))
        output_start(t);
    ldisc_check_throttle(t);
    wake_readers(t);
}
