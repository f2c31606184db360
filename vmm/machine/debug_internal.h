// What the files of the machine's debugger share.
#pragma once
#include "vmm/machine/cpu.h"
#include "vmm/machine/debug.h"

// ---- address spaces (debug_walk.c) -------------------------------------------------------------------
// How linear addresses are translated: a vCPU's control registers, CR3 perhaps another one.
struct space {
    uint64_t cr0, cr3, cr4, efer;
};
#define SPACE_PAGE 4096u
extern const struct space debug_physical_space; // every address is its own
struct space debug_space(struct cpu *c);
// The same with this page-table base; ANY_CR3: as it is.
struct space debug_space_with(struct space s, uint64_t cr3);
// Whether the space is the one that a breakpoint is restricted to.
bool debug_space_is(const struct space *s, uint64_t cr3);
// False: not mapped. Sets no accessed bits.
bool debug_translate(struct machine *m, const struct space *s, uint64_t linear, uint64_t *gpa);
// Reads what is mapped to RAM: the number of bytes until the first that is not.
size_t debug_read(struct machine *m, const struct space *s, uint64_t linear, void *buf, size_t n);

// ---- breakpoints and watchpoints (debug_break.c) -----------------------------------------------------
#define PLACED_MAX      (BREAKPOINTS_MAX + 1) // and one of our own: where an interrupt returns to
#define WATCH_MAX       SPACE_PAGE            // bytes of a watchpoint
#define DEBUG_REGISTERS 4

enum placing {
    NOWHERE,      // not mapped, and no debug register is free: tried again later
    IN_CODE,      // an INT3 that only fetches see
    IN_REGISTERS, // debug registers
    IN_PAGES,     // accesses to its pages exit
    AT_DELIVERIES // looked for by debug_delivers()
};
struct placed {
    struct breakpoint b;
    bool used;
    enum placing how;
    uint32_t which;  // index in the request's list
    unsigned pieces; // of a watchpoint: pages that it lies in; 0: not mapped
    uint64_t gpa[2]; // of the pieces
    size_t piece_size[2];
    uint8_t *value; // of a watchpoint: its bytes as last seen
    bool value_known;
};

// ---- a run: three small state machines -----------------------------------------------------------------
// The step that the run is for (debug_step.c). Exits set `executed`; it is looked at before the next turn.
//
//     WANTED --executed--> the run ends
//       |  an interrupt is given to the vCPU instead, and is to be run through
//       v
//     DIVERTED --executed--> IN_HANDLER --is back at the place--> WANTED
struct step {
    enum { STEP_NONE, STEP_WANTED, STEP_DIVERTED, STEP_IN_HANDLER } state;
    bool executed;           // the step's vCPU, something
    uint64_t linear, rsp;    // the place: what was interrupted
    struct placed *way_back; // STEP_IN_HANDLER: a breakpoint of our own there
};

// What an access by pages stops before it happens (debug_exits.c):
//
//     NONE --a watched page--> AHEAD --executed--> DONE --before the next turn: was it a hit?--> NONE
//
// (An instruction that the VMM has begun to carry out is completed at once, without these states.)
struct access {
    enum { ACCESS_NONE, ACCESS_AHEAD, ACCESS_DONE } state;
    struct placed *watch;
    uint64_t address;
    uint64_t count; // where it was stopped
    unsigned delivered;
};

// What the next instruction is executed in spite of, as a single step; 0: nothing (debug_exits.c). It passes when the
// instruction has been executed.
enum { PASS_CODE = 1, PASS_WATCHES = 2, PASS_REGISTERS = 4 };

struct debug {
    struct machine *machine;
    enum target_kind kind;
    int *status;   // vmx's, shared by all machine processes
    bool finished; // status is written, a recording closed
    bool differs;  // the replay's end is not the recording's

    // Breakpoints and watchpoints.
    struct placed placed[PLACED_MAX];
    unsigned placed_count; // used ones are below
    struct debug_register {
        struct placed *of; // NULL: free
        uint64_t address;
        unsigned size;
    } registers[DEBUG_REGISTERS];
    struct breakpoint list[BREAKPOINTS_MAX]; // that was placed last
    unsigned list_count;
    bool registers_loaded, watching, page_watches, watching_interrupts;
    uint64_t retry_at; // count from which those that are nowhere are tried again

    // The run that goes on; NULL: none.
    const struct run_request *request;
    struct run_result *result;
    struct position start;     // without registers
    volatile bool interrupted; // by the front
    bool pausing;              // it is to end, and result->end says why
    struct step step;
    struct access access;
    unsigned passing; // PASS_*
    bool in_shadow;   // the guest stands in the shadow of STI or MOV SS

    // Events without a tick, which make several places of one count: where, and how many.
    struct {
        uint64_t count;
        unsigned n;
    } delivered;
};

// Places what the run asks for and takes away the rest.
void debug_place(struct debug *d, const struct run_request *q);
// Tries those again that are nowhere.
void debug_place_again(struct debug *d);
// One of our own, in every address space. NULL: no room.
struct placed *debug_place_own(struct debug *d, uint64_t linear);
void debug_take_away(struct debug *d, struct placed *p);
// Loads the debug registers of all vCPUs: ours, without those that the next instruction passes.
void debug_load_registers(struct debug *d);
// The guest has taken debug registers into use: ours become something else.
void debug_leave_registers(struct debug *d);
bool debug_guest_uses_registers(struct machine *m);
static inline bool is_watch(const struct breakpoint *b) {
    return b->kind >= WATCH_WRITE && b->kind <= WATCH_ACCESS;
}
// Whether a watchpoint's bytes differ from those last seen, which they replace.
bool debug_value_changed(struct debug *d, struct placed *p, const struct space *s);
// The same by what RAM has where it was when it was placed: for changes that no processor made.
bool debug_value_changed_in_ram(struct debug *d, struct placed *p);

// ---- ends of the run (debug_run.c) ---------------------------------------------------------------------
// The first reason counts.
void debug_end_run(struct debug *d, enum run_end end);
// A breakpoint or watchpoint is met: the run ends, or remembers it.
void debug_hit(struct debug *d, const struct placed *p, uint64_t address);

// ---- the step (debug_step.c) ---------------------------------------------------------------------------
void debug_step_begin(struct debug *d);
void debug_step_end(struct debug *d); // of the run
// The vCPU executes one instruction for the step.
bool debug_step_of(const struct debug *d, const struct cpu *c);
// Before a turn, accesses completed: takes the step on, or ends the run.
void debug_step_turn(struct debug *d);
// The vCPU stands at this address: true if it has come back from the interrupt's handler; the step goes on.
bool debug_step_back(struct debug *d, struct cpu *c, uint64_t linear);

// ---- exits (debug_exits.c) -----------------------------------------------------------------------------
// What was written or accessed since the last turn is looked at.
void debug_finish_accesses(struct debug *d);
void debug_forget_exits(struct debug *d); // the run ends
// What the guest prints is dropped where it was on the screen already.
void debug_drop_output(const struct debug *d);

// ---- the rest ----------------------------------------------------------------------------------------
unsigned debug_deliveries(struct machine *m); // debug.c: position.deliveries of now
unsigned debug_delivered(const struct debug *d, uint64_t count); // by us, at that count
void debug_where(void *target, struct position *p);              // debug.c
void debug_run(void *target, const struct run_request *q, struct run_result *r);  // debug_run.c
int debug_read_registers(void *target, unsigned cpu, struct target_registers *r); // debug_regs.c
int debug_write_registers(void *target, unsigned cpu, const struct target_registers *r);
void debug_text(void *target, enum target_text what, const char *argument, char *buf,
                size_t n); // debug_text.c
