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
    IN_PAGES      // accesses to its pages exit
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

struct debug {
    struct machine *machine;
    enum target_kind kind;
    int *status;   // vmx's, shared by all machine processes
    bool finished; // status is written, a recording closed
    bool differs;  // the replay's end is not the recording's
    struct placed placed[PLACED_MAX];
    unsigned placed_count; // used ones are below
    struct debug_register {
        struct placed *of; // NULL: free
        uint64_t address;
        unsigned size;
    } registers[DEBUG_REGISTERS];
    struct breakpoint list[BREAKPOINTS_MAX]; // that was placed last
    unsigned list_count;
    bool registers_loaded, watching, page_watches;
    // The run that goes on; NULL: none
    const struct run_request *request;
    struct run_result *result;
    struct position start;  // without registers
    bool pausing, stepping; // it is to end; it is to end after one instruction
    volatile bool interrupted;
    bool stepped;   // the vCPU of the step has executed an instruction
    bool step_over; // the next instruction is executed whatever breakpoint is there
    bool skip_watches, skip_registers, skip_code_registers; // for that instruction
    bool in_shadow;
    struct { // an access that was stopped before it happened
        struct placed *watch;
        uint64_t address;
        uint64_t count; // where it was stopped
        unsigned delivered;
        bool done;
    } access;
    struct { // an interrupt that is run through
        bool active;
        unsigned cpu;
        uint64_t linear, rsp;
        struct placed *place;
    } over;
    uint64_t delivered_at; // count at which events were delivered, and how many
    unsigned delivered;
    uint64_t retry_at; // count from which breakpoints that are nowhere are tried again
};

// Places what the run asks for and takes away the rest.
void debug_place(struct debug *d, const struct run_request *q);
// Tries those again that are nowhere.
void debug_place_again(struct debug *d);
// One of our own, in every address space. NULL: no room.
struct placed *debug_place_own(struct debug *d, uint64_t linear);
void debug_take_away(struct debug *d, struct placed *p);
// Loads the debug registers of all vCPUs: ours, without those for instructions if `d->skip_code_registers`.
void debug_load_registers(struct debug *d);
// The guest has taken debug registers into use: ours become something else.
void debug_leave_registers(struct debug *d);
bool debug_guest_uses_registers(struct machine *m);
static inline bool is_watch(const struct breakpoint *b) {
    return b->kind >= WATCH_WRITE;
}
// Whether a watchpoint's bytes differ from those last seen, which they replace.
bool debug_value_changed(struct debug *d, struct placed *p, const struct space *s);
// The same by what RAM has where it was when it was placed: for changes that no processor made.
bool debug_value_changed_in_ram(struct debug *d, struct placed *p);

// ---- the rest ----------------------------------------------------------------------------------------
unsigned debug_deliveries(struct machine *m);       // debug.c: position.deliveries of now
void debug_where(void *target, struct position *p); // debug.c
void debug_run(void *target, const struct run_request *q, struct run_result *r);  // debug_run.c
int debug_read_registers(void *target, unsigned cpu, struct target_registers *r); // debug_regs.c
int debug_write_registers(void *target, unsigned cpu, const struct target_registers *r);
void debug_text(void *target, enum target_text what, const char *argument, char *buf,
                size_t n); // debug_text.c
