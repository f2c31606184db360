// Inside the debugger: its state, and what its files offer each other. A command reads its arguments from a
// cursor behind its name and leaves its answer in `reply`.
#pragma once
#include "replay/gdb/debugger.h"
#include "replay/gdb/packet.h"
#include "replay/gdb/scan.h"

#define NO_CPU UINT32_MAX

enum step_over { STEP_OVER_AUTO, STEP_OVER_ON, STEP_OVER_OFF };

// A place that the client has set once, and the address space that it is meant in. It is remembered when the client
// takes it out, since gdb does that at every stop and puts it in again.
struct place {
    struct breakpoint breakpoint;
    bool set; // now
};
#define PLACES_MAX (2 * BREAKPOINTS_MAX)

struct debugger {
    struct timeline *timeline;
    enum gdb_arch arch;      // layout of the client that is there
    enum gdb_arch next_arch; // of the next one
    bool over;               // the live VM has ended, so:
    struct run_result last;

    // The client.
    const struct debugger_channel *channel;
    struct packet_parser parser;
    struct packet reply, note; // the answer; text for the user beside it
    uint8_t frame[PACKET_FRAME_MAX];
    size_t frame_size; // of the last packet, in case it is refused
    bool acknowledge;
    bool swbreak, hwbreak; // the client understands these reasons to stop
    bool hints;            // say what gdb must be told after a travel
    bool pending;          // a command arrived while the guest ran: comes next
    bool interrupted;      // ^C, a command, or the client's end while the guest runs
    bool gone, ended;
    bool silent; // no answer to this command
    enum debugger_end end;

    uint32_t general_cpu; // whose registers and memory are meant
    uint32_t resume_cpu;  // who steps; NO_CPU: whose turn it is
    uint64_t cr3;         // for places that are set from now on
    struct place places[PLACES_MAX];
    unsigned place_count;
    enum step_over step_over;
    bool line_steps;    // the client's single steps are parts of steps by line
    struct packet stop; // why we stand
};

typedef void command_function(struct debugger *d, struct scan *args);

// debugger.c
void debugger_error(struct debugger *d, const char *sentence); // as the answer
void debugger_ok(struct debugger *d);
void debugger_send(struct debugger *d, const struct packet *p);
// Text for gdb's user. Only while it waits for a stop, or for the answer to `monitor`.
void debugger_say(struct debugger *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void debugger_forget_client(struct debugger *d);
extern const char debugger_past[]; // why nothing can be changed

// resume.c
command_function command_stop_reason, command_continue, command_step, command_continue_signal,
    command_step_signal, command_vcont, command_vcont_query, command_reverse_step,
    command_reverse_continue, command_vctrlc;
void resume_set_stop(struct debugger *d, const struct run_result *r, uint32_t cpu, bool backwards);
// Around anything that lets the guest run: true if the client has interrupted it already.
bool resume_begin(struct debugger *d);

// inspect.c
command_function command_read_registers, command_write_registers, command_read_register,
    command_write_register, command_read_memory, command_write_memory, command_write_binary,
    command_search_memory;

// points.c
command_function command_set_point, command_remove_point;
void points_set_space(struct debugger *d, uint64_t cr3, bool all);

// threads.c
command_function command_choose_thread, command_thread_alive, command_current_thread,
    command_first_threads, command_next_threads, command_thread_info;
// "0" (any) and "-1" (all) give NO_CPU. False: there is no such vCPU.
bool threads_scan(struct debugger *d, struct scan *s, uint32_t *cpu);
size_t threads_list(struct debugger *d, char *xml, size_t n);

// query.c
command_function command_supported, command_transfer, command_no_acknowledgments, command_attached,
    command_offsets, command_must_reply_empty;

// monitor.c
command_function command_monitor;
