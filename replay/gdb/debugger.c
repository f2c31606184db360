#include "replay/gdb/debugger.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "replay/gdb/debugger_internal.h"

const char debugger_past[] = "the past cannot be changed: monitor go-live first";

// ---- ends ----------------------------------------------------------------------------------------
static void end(struct debugger *d, enum debugger_end how) {
    d->ended = true;
    d->end = how;
}

static void command_detach(struct debugger *d, struct scan *args) {
    debugger_ok(d);
    end(d, DEBUGGER_DETACHED);
}

static void command_kill(struct debugger *d, struct scan *args) {
    d->silent = true; // gdb does not wait for an answer
    end(d, DEBUGGER_KILLED);
}

static void command_vkill(struct debugger *d, struct scan *args) {
    debugger_ok(d);
    end(d, DEBUGGER_KILLED);
}

// ---- the commands ----------------------------------------------------------------------------------
// A name of one letter is followed by its arguments; a longer one by a separator or nothing. Everything else is
// answered by an empty packet: "not supported".
static const struct command {
    const char *name;
    command_function *function;
} commands[] = {
    {"?", command_stop_reason},
    {"c", command_continue},
    {"s", command_step},
    {"C", command_continue_signal},
    {"S", command_step_signal},
    {"g", command_read_registers},
    {"G", command_write_registers},
    {"p", command_read_register},
    {"P", command_write_register},
    {"m", command_read_memory},
    {"M", command_write_memory},
    {"X", command_write_binary},
    {"H", command_choose_thread},
    {"T", command_thread_alive},
    {"Z", command_set_point},
    {"z", command_remove_point},
    {"D", command_detach},
    {"k", command_kill},
    {"bs", command_reverse_step},
    {"bc", command_reverse_continue},
    {"vCont", command_vcont},
    {"vCont?", command_vcont_query},
    {"vCtrlC", command_vctrlc},
    {"vKill", command_vkill},
    {"vMustReplyEmpty", command_must_reply_empty},
    {"qSupported", command_supported},
    {"QStartNoAckMode", command_no_acknowledgments},
    {"qXfer", command_transfer},
    {"qAttached", command_attached},
    {"qOffsets", command_offsets},
    {"qC", command_current_thread},
    {"qfThreadInfo", command_first_threads},
    {"qsThreadInfo", command_next_threads},
    {"qThreadExtraInfo", command_thread_info},
    {"qSearch:memory", command_search_memory},
    {"qRcmd", command_monitor},
};
#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static bool is_command(const struct command *c, struct scan *s) {
    struct scan rest = *s;
    if (!scan_word(&rest, c->name))
        return false;
    if (c->name[1] && !scan_end(&rest) && !strchr(":;,", *rest.at))
        return false;
    *s = rest;
    return true;
}

static void execute(struct debugger *d) {
    struct scan s = {d->parser.data, d->parser.data + d->parser.size};
    packet_clear(&d->reply);
    d->silent = false;
    for (unsigned i = 0; i < COUNT(commands); i++) {
        if (is_command(&commands[i], &s)) {
            commands[i].function(d, &s);
            break;
        }
    }
    if (d->reply.overflow) {
        packet_clear(&d->reply);
        debugger_error(d, "the answer does not fit into a packet");
    }
    if (!d->silent && !d->gone)
        debugger_send(d, &d->reply);
}

// ---- answers ---------------------------------------------------------------------------------------
void debugger_ok(struct debugger *d) {
    packet_text(&d->reply, "OK");
}

void debugger_error(struct debugger *d, const char *sentence) {
    packet_text(&d->reply, "E.%s", sentence);
}

void debugger_send(struct debugger *d, const struct packet *p) {
    d->frame_size = packet_frame(p, d->frame);
    d->channel->send(d->channel->opaque, d->frame, d->frame_size);
}

void debugger_say(struct debugger *d, const char *fmt, ...) {
    char text[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    packet_clear(&d->note);
    packet_text(&d->note, "O");
    packet_hex(&d->note, text, strlen(text));
    debugger_send(d, &d->note);
}

// ---- what arrives ------------------------------------------------------------------------------------
static void acknowledge(struct debugger *d, char how) {
    d->channel->send(d->channel->opaque, &how, 1);
}

// A line without a beginning and an end (a serial line) may have got another client: it says hello.
static bool is_hello(const struct debugger *d) {
    struct scan s = {d->parser.data, d->parser.data + d->parser.size};
    return scan_word(&s, "qSupported");
}

static void on_command(struct debugger *d) {
    d->pending = false;
    if (is_hello(d))
        debugger_forget_client(d);
    if (d->acknowledge)
        acknowledge(d, '+');
    execute(d);
}

static void on_broken(struct debugger *d) {
    if (d->acknowledge) {
        acknowledge(d, '-');
        return;
    }
    packet_clear(&d->reply);
    debugger_error(d, "the packet was broken, or is longer than PacketSize");
    debugger_send(d, &d->reply);
}

static void on_event(struct debugger *d, enum packet_event event) {
    switch (event) {
    case PACKET_COMMAND: on_command(d); break;
    case PACKET_BROKEN: on_broken(d); break;
    case PACKET_REFUSED:
        if (d->acknowledge && d->frame_size)
            d->channel->send(d->channel->opaque, d->frame, d->frame_size);
        break;
    case PACKET_NOTHING:
    case PACKET_ACKNOWLEDGED:
    case PACKET_INTERRUPT: break; // ^C: we stand already
    }
}

bool debugger_attention(struct debugger *d) {
    int byte;
    while (!d->pending && !d->gone &&
           (byte = d->channel->get(d->channel->opaque, false)) != CHANNEL_NOTHING) {
        d->gone = byte == CHANNEL_GONE;
        enum packet_event event = d->gone ? PACKET_NOTHING : packet_feed(&d->parser, (uint8_t)byte);
        d->pending = event ==
                     PACKET_COMMAND; // a client that does not wait: it is served after the stop
        d->interrupted |= event == PACKET_INTERRUPT;
    }
    d->interrupted |= d->pending || d->gone;
    return d->interrupted;
}

void debugger_forget_client(struct debugger *d) {
    timeline_clear_breakpoints(d->timeline);
    d->arch = d->next_arch;
    d->acknowledge = d->hints = true;
    d->swbreak = d->hwbreak = false;
    d->general_cpu = timeline_now(d->timeline)->cpu;
    d->resume_cpu = NO_CPU;
    d->cr3 = ANY_CR3;
    d->place_count = 0;
    d->step_over = STEP_OVER_AUTO;
    d->line_steps = false;
}

enum debugger_end debugger_serve(struct debugger *d, const struct debugger_channel *channel) {
    const struct run_result standing = {.end = RAN_STEP, .position = *timeline_now(d->timeline)};
    d->channel = channel;
    packet_parser_init(&d->parser);
    d->frame_size = 0;
    d->pending = d->interrupted = d->gone = d->ended = false;
    debugger_forget_client(d);
    resume_set_stop(d, &standing, standing.position.cpu, false);
    while (!d->ended && !d->gone) {
        if (d->pending) {
            on_command(d);
            continue;
        }
        int byte = channel->get(channel->opaque, true);
        if (byte == CHANNEL_GONE)
            d->gone = true;
        else
            on_event(d, packet_feed(&d->parser, (uint8_t)byte));
    }
    timeline_clear_breakpoints(d->timeline);
    return d->ended ? d->end : DEBUGGER_GONE;
}

struct debugger *debugger_create(struct timeline *t, enum gdb_arch arch) {
    struct debugger *d = calloc(1, sizeof(*d));
    if (d) {
        d->timeline = t;
        d->next_arch = arch;
    }
    return d;
}

bool debugger_over(const struct debugger *d, struct run_result *last) {
    if (d->over)
        *last = d->last;
    return d->over;
}

void debugger_free(struct debugger *d) {
    free(d);
}
