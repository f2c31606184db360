// The run loop: stops, interrupts, and the exits of the guest.
//
// A stop is where the guest may be looked at and things may happen to it: first the anchor of virtual time
// moves, then timers expire by (deadline, order), then inputs arrive. A pending port or memory access is
// completed before.
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include "replay/inputs.h"
#include "vmm/machine/cpu.h"
#include "vmm/machine/debug.h"
#include "vmm/machine/display.h"
#include "vmm/machine/exit_clock.h"
#include "vmm/machine/lapic.h"
#include "vmm/machine/output.h"

static void handle_exit(struct cpu *c);

// ---- stops -------------------------------------------------------------------------------------
// The instruction whose port or memory access we have answered is finished, and nothing after it.
static int finish_access(struct cpu *c) {
    c->run->immediate_exit = 1;
    int r = cpu_enter(c, UINT64_MAX);
    c->run->immediate_exit = 0;
    return r;
}

static void complete_access(struct cpu *c) {
    while (c->access_pending && c->machine->end == MACHINE_RUNNING)
        if (finish_access(c) == 0)
            handle_exit(c); // the instruction had more parts
}

void machine_complete_access(struct machine *m) {
    complete_access(m->current);
}

static struct landmark landmark(struct machine *m) {
    struct cpu *c = m->current;
    struct landmark at = {.count = m->count, .cpu = c->index};
    if (c->chrono) {
        at.rip = c->chrono->rip;
        at.rcx = c->chrono->rcx;
    }
    return at;
}

static void deliver_inputs(struct machine *m, const struct landmark *at) {
    inputs_deliver(m->inputs, at);
    if (inputs_left(m->inputs))
        machine_stop(m, MACHINE_QUIT, "left by the user");
}

// Counts never stop the guest in the shadow of STI or MOV SS, but the debugger may have: not there, then.
static bool stop_is_due(const struct machine *m) {
    if (m->count < m->next_stop && vtime_now(m) < vtime_next_deadline(m))
        return false;
    return !m->debug || !debug_in_shadow(m);
}

// Where nothing is recorded and no other vCPU waits for its turn, a slice is no more than the time until somebody
// looks after terminals: as long as nobody notices.
#define LOOKS_PER_SECOND 50
static void begin_slice(struct machine *m) {
    bool plain = !m->exact && !m->by_exits;
    m->next_stop = plain && m->cpu_count == 1 ? m->count + m->hz / LOOKS_PER_SECOND
                                              : inputs_next_stop(m->inputs, m->count);
}

static void stop(struct machine *m) {
    complete_access(m->current);
    struct landmark at = landmark(m);
    bool slice_end = m->count >= m->next_stop;
    m->alone = false;
    if (slice_end && m->exact)
        m->anchor = inputs_anchor(m->inputs, &at, m->anchor);
    vtime_fire(m);
    if (!slice_end)
        return;
    deliver_inputs(m, &at);
    display_refresh(m, false);
    output_flush_all();
    begin_slice(m);
    m->yield = true;
}

// The count at which the guest must stop at the latest.
static uint64_t stop_count(const struct machine *m) {
    uint64_t deadline = vtime_next_deadline(m), now = vtime_now(m);
    uint64_t ticks = deadline > now ? deadline - now : 0;
    uint64_t slice = m->next_stop > m->count ? m->next_stop - m->count : 0;
    uint64_t stop = m->count + (ticks < slice ? ticks : slice);
    return m->debug ? debug_stop_count(m, stop) : stop;
}

// ---- whose turn it is --------------------------------------------------------------------------
static uint64_t runnable_cpus(struct machine *m) {
    uint64_t mask = 0;
    for (unsigned i = 0; i < m->cpu_count; i++) {
        cpu_take_signals(&m->cpus[i]);
        if (cpu_runnable(&m->cpus[i]))
            mask |= 1ull << i;
    }
    return mask;
}

// What is due after an idle time, in a turn of its own: between the two nothing has happened yet at the new V.
static void wake(struct machine *m) {
    struct landmark at = landmark(m);
    m->woken = m->alone = false;
    vtime_fire(m);
    deliver_inputs(m, &at);
}

// Nobody can run: time passes until a timer or an input.
static void idle(struct machine *m) {
    struct landmark at = landmark(m);
    int error = 0;
    display_refresh(m, true);
    output_flush_all();
    uint64_t anchor = inputs_idle(m->inputs, &at, m->anchor, vtime_next_deadline(m), &error);
    if (m->exact || m->by_exits)
        m->anchor = anchor;
    else
        m->count = plain_count();
    m->woken = true;
    if (error) {
        wake(m);
        machine_stop(m, MACHINE_QUIT, "left by the user");
    }
}

static void switch_cpu(struct machine *m) {
    complete_access(m->current);
    m->yield = false;
    uint64_t runnable = runnable_cpus(m);
    if (!runnable) {
        idle(m);
        return;
    }
    m->alone = runnable == 1ull << m->current->index;
    if (m->alone)
        return;
    struct landmark at = landmark(m);
    struct cpu *next = &m->cpus[inputs_choose_cpu(m->inputs, &at, m->current->index, runnable)];
    if (m->debug && next != m->current)
        debug_switches(m);
    m->current = next;
}

// ---- interrupts --------------------------------------------------------------------------------
static void deliver_interrupts(struct cpu *c) {
    struct machine *m = c->machine;
    if (c->nmi_pending) {
        complete_access(c);
        c->nmi_pending = c->halted = false;
        if (m->debug)
            debug_delivers(c);
        cpu_inject_nmi(c);
    }
    if (!irq_pending(c)) {
        c->run->request_interrupt_window = 0;
        return;
    }
    complete_access(c);
    if (c->run->if_flag && c->run->ready_for_interrupt_injection) {
        int vector = irq_acknowledge(c);
        if (vector >= 0) {
            if (m->debug)
                debug_delivers(c);
            cpu_inject(c, vector);
            c->halted = false;
            c->run->ready_for_interrupt_injection = 0; // one at a time
        }
    }
    c->run->request_interrupt_window = irq_pending(c);
}

// ---- exits -------------------------------------------------------------------------------------
static void exit_io(struct cpu *c) {
    struct machine *m = c->machine;
    struct kvm_run *run = c->run;
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    unsigned size = run->io.size;
    for (uint32_t i = 0; i < run->io.count;
         i++, data += size) { // more than one: a string instruction
        uint64_t value = 0;
        if (run->io.direction == KVM_EXIT_IO_IN) {
            value = bus_read(m, BUS_PORT, run->io.port, size);
            memcpy(data, &value, size);
        } else {
            memcpy(&value, data, size);
            bus_write(m, BUS_PORT, run->io.port, size, value);
        }
    }
    c->access_pending = true;
}

static void exit_mmio(struct cpu *c) {
    struct machine *m = c->machine;
    uint64_t gpa = c->run->mmio.phys_addr, value = 0;
    unsigned width = c->run->mmio.len, offset = gpa & 0xfff;
    bool local = lapic_claims(c->lapic, gpa);
    if (c->run->mmio.is_write) {
        memcpy(&value, c->run->mmio.data, width);
        if (local)
            lapic_write(c->lapic, offset, width, value);
        else
            bus_write(m, BUS_MEMORY, gpa, width, value);
    } else {
        value = local ? lapic_read(c->lapic, offset, width) : bus_read(m, BUS_MEMORY, gpa, width);
        memcpy(c->run->mmio.data, &value, width);
    }
    c->access_pending = true;
}

static void exit_halt(struct cpu *c) {
    c->halted = true;
}

static void exit_shutdown(struct cpu *c) {
    machine_stop(c->machine, MACHINE_TRIPLE_FAULT, "triple fault on vCPU %u", c->index);
}

static void exit_read_msr(struct cpu *c) {
    msr_exit_read(c);
    c->access_pending = true;
}

static void exit_write_msr(struct cpu *c) {
    msr_exit_write(c);
    c->access_pending = true;
}

static void exit_nothing(struct cpu *c) {}

static void exit_instruction(struct cpu *c) {
    c->access_pending = true;
    uint32_t insn = c->chrono->insn;
    if (insn == CHRONO_INSN_PAUSE)
        c->machine->yield = true;
    else if (insn == CHRONO_INSN_RDTSC || insn == CHRONO_INSN_RDTSCP)
        c->chrono->value = vtime_now(c->machine);
    else
        machine_stop(c->machine, MACHINE_CRASHED, "vCPU %u: instruction %u was not to be trapped",
                     c->index, insn);
}

static void exit_failed_entry(struct cpu *c) {
    machine_stop(c->machine, MACHINE_CRASHED,
                 "vCPU %u: the processor refuses the entry, reason 0x%llx", c->index,
                 c->run->fail_entry.hardware_entry_failure_reason);
}

static void exit_internal_error(struct cpu *c) {
    machine_stop(c->machine, MACHINE_CRASHED, "vCPU %u: error %u in KVM (data 0x%llx 0x%llx)",
                 c->index, c->run->internal.suberror,
                 c->run->internal.ndata > 0 ? c->run->internal.data[0] : 0,
                 c->run->internal.ndata > 1 ? c->run->internal.data[1] : 0);
}

// The debugger's own exits are no exits of the guest.
static bool exit_of_debugger(struct cpu *c) {
    uint32_t reason = c->run->exit_reason;
    return reason == KVM_EXIT_DEBUG || reason == KVM_EXIT_CHRONO_WATCH ||
           reason == KVM_EXIT_CHRONO_DR ||
           (reason == KVM_EXIT_CHRONO_STOP && !stop_is_due(c->machine));
}

#define CHRONO_EXITS KVM_EXIT_CHRONO_STOP
static void (*const kvm_exits[])(struct cpu *) = {
    [KVM_EXIT_IO] = exit_io,
    [KVM_EXIT_MMIO] = exit_mmio,
    [KVM_EXIT_HLT] = exit_halt,
    [KVM_EXIT_IRQ_WINDOW_OPEN] = exit_nothing,
    [KVM_EXIT_SHUTDOWN] = exit_shutdown,
    [KVM_EXIT_FAIL_ENTRY] = exit_failed_entry,
    [KVM_EXIT_INTR] = exit_nothing,
    [KVM_EXIT_SET_TPR] = exit_nothing, // the priority came with run->cr8
    [KVM_EXIT_INTERNAL_ERROR] = exit_internal_error,
    [KVM_EXIT_X86_RDMSR] = exit_read_msr,
    [KVM_EXIT_X86_WRMSR] = exit_write_msr,
};
static void (*const chrono_exits[])(struct cpu *) = {
    [KVM_EXIT_CHRONO_STOP - CHRONO_EXITS] = exit_nothing,
    [KVM_EXIT_CHRONO_INSN - CHRONO_EXITS] = exit_instruction,
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static void handle_exit(struct cpu *c) {
    uint32_t reason = c->run->exit_reason;
    void (*handler)(struct cpu *) = NULL;
    bool debugged = c->machine->debug;
    if (!debugged || !exit_of_debugger(c))
        exits_note(c);
    if (debugged && debug_takes_exit(c))
        return;
    if (reason < COUNT(kvm_exits))
        handler = kvm_exits[reason];
    else if (reason - CHRONO_EXITS < COUNT(chrono_exits))
        handler = chrono_exits[reason - CHRONO_EXITS];
    if (handler)
        handler(c);
    else
        machine_stop(c->machine, MACHINE_CRASHED, "vCPU %u: exit reason %u is unknown here",
                     c->index, reason);
}

// ---- the loop ----------------------------------------------------------------------------------
static void run_cpu(struct cpu *c) {
    struct machine *m = c->machine;
    deliver_interrupts(c);
    if (stop_is_due(m) || m->end != MACHINE_RUNNING)
        return; // completing an access took us there
    int error = cpu_enter(c, stop_count(m));
    m->alone = false;
    if (error == 0) {
        if (m->by_exits) {
            struct landmark at = landmark(m);
            exit_clock_follow(m, &at);
        }
        handle_exit(c);
    }
    if (!m->exact)
        c->run->immediate_exit = 0; // set by the signal that ended the run
}

static void turn(struct machine *m) {
    struct cpu *c = m->current;
    if (c->init_pending || c->sipi_pending) {
        complete_access(c);
        cpu_take_signals(c);
    }
    if (m->woken)
        wake(m);
    else if (stop_is_due(m))
        stop(m);
    else if (!cpu_runnable(c) || (m->yield && m->cpu_count > 1))
        switch_cpu(m);
    else
        run_cpu(c);
}

enum machine_end machine_run(struct machine *m) {
    if (!m->paused)
        begin_slice(m);
    m->paused = false;
    while (m->end == MACHINE_RUNNING) {
        m->paused = m->debug && debug_pauses(m);
        if (m->end == MACHINE_RUNNING && m->paused)
            return m->end;
        if (m->end == MACHINE_RUNNING)
            turn(m);
    }
    m->paused = false;
    // The access that ended the machine is finished too: the end has a state that can be compared, and a
    // reset finds nothing pending.
    if (m->current->access_pending && m->end != MACHINE_FAILED && m->end != MACHINE_CRASHED)
        finish_access(m->current);
    output_flush_all();
    return m->end;
}
