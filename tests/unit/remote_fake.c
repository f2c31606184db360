#include "remote_fake.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define MACHINES 256

struct fake fake;

static struct machine {
    struct mock *mock; // NULL: free
    bool dead;
    unsigned breakpoints; // placed
} machines[MACHINES];

void fake_reset(void) {
    for (unsigned i = 0; i < MACHINES; i++)
        free(machines[i].mock);
    memset(machines, 0, sizeof(machines));
    fake = (struct fake){.copies_max = MACHINES, .fail_after = -1};
}

static struct remote add(const struct mock *m) {
    for (int i = 0; i < MACHINES; i++)
        if (!machines[i].mock) {
            machines[i] = (struct machine){.mock = malloc(sizeof(*m))};
            *machines[i].mock = *m;
            fake.copies++;
            return (struct remote){.socket = i, .pid = i + 1};
        }
    fail_msg("machines are not closed");
    return (struct remote){0};
}

struct remote fake_machine(const struct mock *begin) {
    return add(begin);
}

struct mock *fake_mock(const struct remote *r) {
    return machines[r->pid - 1].mock;
}

void fake_kill(const struct remote *r) {
    machines[r->pid - 1].dead = true;
    fake.may_print_again = true;
}

static struct machine *machine(struct remote *r) {
    struct machine *m = &machines[r->pid - 1];
    assert_non_null(m->mock);
    if (m->dead)
        r->socket = -1;
    return r->socket < 0 ? NULL : m;
}

void remote_info(struct remote *r, struct target_info *info) {
    mock_ops.info(machine(r)->mock, info);
}

void remote_where(struct remote *r, struct position *p) {
    mock_where(machine(r)->mock, p);
}

// What is printed between two moments is printed once.
static void check_output(const struct mock *m, uint64_t from, uint64_t quiet_until) {
    struct position now;
    mock_where(m, &now);
    uint64_t first = from > quiet_until ? from : quiet_until;
    if (now.v <= first)
        return;
    if (!fake.may_print_again)
        assert_true(first >= fake.printed_to);
    fake.printed_to = now.v;
}

bool remote_run(struct remote *r, const struct run_request *request,
                const struct remote_attention *attention, struct run_result *result) {
    struct machine *m = machine(r);
    *result = (struct run_result){0};
    if (!m) {
        *result = (struct run_result){.end = RAN_INTO_DIFFERENCE, .text = "it died"};
        return false;
    }
    struct position from;
    mock_where(m->mock, &from);
    bool interrupted = attention && attention->fd >= 0 && attention->readable(attention->opaque);
    m->mock->interrupt_at = interrupted ? from.count + 20 : UINT64_MAX;
    m->breakpoints = request->breakpoint_count;
    mock_ops.run(m->mock, request, result);
    check_output(m->mock, from.v, request->quiet_until);
    return interrupted;
}

int remote_read_registers(struct remote *r, unsigned cpu, struct target_registers *registers) {
    struct machine *m = machine(r);
    return m ? mock_ops.read_registers(m->mock, cpu, registers) : -EPIPE;
}

long remote_read_memory(struct remote *r, unsigned cpu, enum target_space space, uint64_t address,
                        void *buf, size_t n) {
    struct machine *m = machine(r);
    return m ? mock_ops.read_memory(m->mock, cpu, space, address, buf, n) : -EPIPE;
}

uint64_t remote_event_v(struct remote *r, uint64_t event) {
    struct machine *m = machine(r);
    return m ? mock_ops.event_v(m->mock, event) : UINT64_MAX;
}

uint64_t remote_hash(struct remote *r, bool memory) {
    struct machine *m = machine(r);
    return m ? mock_state(m->mock) : 0;
}

int remote_go_live(struct remote *r, const char *record, char error[256]) {
    struct machine *m = machine(r);
    return m ? mock_ops.go_live(m->mock, record, error) : -EPIPE;
}

int remote_fork(struct remote *r, struct remote *copy) {
    struct machine *m = machine(r);
    if (!m)
        return -EPIPE;
    assert_int_equal(m->breakpoints, 0);
    if (fake.copies >= fake.copies_max || fake.fail_after == 0)
        return -ENOMEM;
    if (fake.fail_after > 0)
        fake.fail_after--;
    *copy = add(m->mock);
    return 0;
}

void remote_close(struct remote *r) {
    struct machine *m = &machines[r->pid - 1];
    assert_non_null(m->mock);
    free(m->mock);
    *m = (struct machine){0};
    r->socket = -1;
    fake.copies--;
}
