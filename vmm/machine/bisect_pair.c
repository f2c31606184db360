#include "vmm/machine/bisect_pair.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "replay/checks.h"
#include "replay/text.h"
#include "vmm/machine/debug.h"
#include "vmm/machine/hash.h"
#include "vmm/machine/inject.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/sums.h"

#define PAGES_TOLD 8
#define LL(x)      (unsigned long long)(x)

// After each step the reference sends this; the answer is one byte: go on, or send everything.
struct summary {
    struct run_result result;
    struct state_check check;
    uint64_t memory;
};
enum { GO_ON = 'g', TELL_ALL = 't', STOP = 's' };

static bool send_all(int socket, const void *data, size_t n) {
    for (const char *p = data; n;) {
        ssize_t done = write(socket, p, n);
        if (done <= 0)
            return false;
        p += done;
        n -= (size_t)done;
    }
    return true;
}

static bool receive(int socket, void *data, size_t n) {
    for (char *p = data; n;) {
        ssize_t done = read(socket, p, n);
        if (done <= 0)
            return false;
        p += done;
        n -= (size_t)done;
    }
    return true;
}

// ---- running -------------------------------------------------------------------------------------------
// Nothing is shown of what the guest prints: it was on the screen when the replay failed.
static void run_to(struct machine *m, uint64_t v, struct summary *s) {
    const struct run_request q = {.until_v = v, .quiet_until = UINT64_MAX};
    *s = (struct summary){.memory = 0};
    debug_ops.run(m, &q, &s->result);
    machine_check(m, &s->check);
    s->memory = machine_hash_memory(m);
}

static bool same(const struct summary *a, const struct summary *b) {
    const struct position *p = &a->result.position, *q = &b->result.position;
    return a->result.end == b->result.end && p->v == q->v && p->count == q->count &&
           p->rip == q->rip && p->cpu == q->cpu && state_check_equal(&a->check, &b->check) &&
           a->memory == b->memory;
}

// ---- the reference ---------------------------------------------------------------------------------------
static bool tell_all(struct machine *m, int socket) {
    uint64_t count, size, page;
    const struct page_sum *pages = sums_pages(m->sums, &count);
    size_t bytes;
    char *state = state_save(m, &bytes);
    size = bytes;
    bool good = state && send_all(socket, pages, count * sizeof(*pages)) &&
                send_all(socket, &size, sizeof(size)) && send_all(socket, state, bytes);
    free(state);
    for (unsigned i = 0; good && i < m->cpu_count; i++) {
        struct target_registers r;
        good = !debug_ops.read_registers(m, i, &r) && send_all(socket, &r, sizeof(r));
    }
    while (good && receive(socket, &page, sizeof(page)) && page < count)
        good = send_all(socket, m->ram + page * MEMORY_PAGE, MEMORY_PAGE);
    return good;
}

void bisect_reference(struct machine *m, const struct bisect_round *round, int socket) {
    char answer = GO_ON;
    inject_nothing(m);
    if (debug_ops.after_fork(m))
        return;
    for (uint64_t v = round->from; answer == GO_ON; v += round->step) {
        struct summary s;
        run_to(m, v, &s);
        if (!send_all(socket, &s, sizeof(s)) || !receive(socket, &answer, 1))
            return;
    }
    if (answer == TELL_ALL)
        tell_all(m, socket);
}

// ---- the suspect -----------------------------------------------------------------------------------------
static void add_byte(struct machine *m, int socket, uint64_t page, struct text *t) {
    static uint8_t other[MEMORY_PAGE];
    const uint8_t *mine = m->ram + page * MEMORY_PAGE;
    if (!send_all(socket, &page, sizeof(page)) || !receive(socket, other, sizeof(other)))
        return;
    for (unsigned i = 0; i < MEMORY_PAGE; i++) {
        if (mine[i] == other[i])
            continue;
        text_add(t, "  memory: byte 0x%llx is 0x%02x in one and 0x%02x in the other\n",
                 LL(memory_address(m, page * MEMORY_PAGE + i)), mine[i], other[i]);
        return;
    }
}

// The pages that differ, each with its first byte that does.
static bool add_pages(struct machine *m, int socket, const struct page_sum *other, struct text *t) {
    uint64_t count, differ = 0;
    const struct page_sum *mine = sums_pages(m->sums, &count);
    for (uint64_t i = 0; i < count; i++) {
        if (mine[i].full == other[i].full && mine[i].masked == other[i].masked)
            continue;
        if (differ++ < PAGES_TOLD)
            add_byte(m, socket, i, t);
    }
    if (differ > PAGES_TOLD)
        text_add(t, "  memory: and %llu more pages\n", LL(differ - PAGES_TOLD));
    return send_all(socket, &count, sizeof(count)); // no page: the end
}

static void add_registers(struct machine *m, unsigned cpu, const struct target_registers *other,
                          struct text *t) {
    static const char *const names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                        "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    struct target_registers mine;
    if (debug_ops.read_registers(m, cpu, &mine))
        return;
    for (unsigned i = 0; i < 16; i++)
        if (mine.general[i] != other->general[i])
            text_add(t, "  vCPU %u: %s is 0x%llx in one and 0x%llx in the other\n", cpu, names[i],
                     LL(mine.general[i]), LL(other->general[i]));
    if (mine.rip != other->rip || mine.rflags != other->rflags)
        text_add(t, "  vCPU %u: rip 0x%llx and 0x%llx, rflags 0x%llx and 0x%llx\n", cpu,
                 LL(mine.rip), LL(other->rip), LL(mine.rflags), LL(other->rflags));
}

// All differences, as text. False: the reference is gone.
static bool compare_all(struct machine *m, int socket, struct text *t) {
    uint64_t count, size;
    char where[256];
    sums_pages(m->sums, &count);
    struct page_sum *pages = malloc(count * sizeof(*pages));
    char *state = NULL;
    bool good = pages && receive(socket, pages, count * sizeof(*pages)) &&
                receive(socket, &size, sizeof(size)) && (state = malloc(size)) &&
                receive(socket, state, size);
    if (good && !state_compare(m, state, size, where, sizeof(where)))
        text_add(t, "  device %s in the other\n", where);
    for (unsigned i = 0; good && i < m->cpu_count; i++) {
        struct target_registers other;
        good = receive(socket, &other, sizeof(other));
        if (good)
            add_registers(m, i, &other, t);
    }
    good = good && add_pages(m, socket, pages, t);
    free(pages);
    free(state);
    return good;
}

// They differ after this step.
static void parted(struct machine *m, int socket, const struct summary *mine,
                   const struct summary *other, struct bisect_found *f) {
    struct text t = {f->text, sizeof(f->text), 0};
    char answer = TELL_ALL;
    f->outcome = BISECT_PARTED;
    f->after = mine->result.position;
    if (mine->result.end != other->result.end)
        text_add(&t, "  one run ends here (%s), the other does not (%s)\n", mine->result.text,
                 other->result.text);
    char name[256];
    machine_name_difference(m, &other->check, name, sizeof(name));
    if (*name)
        text_add(&t, "  %s\n", name);
    if (!send_all(socket, &answer, 1) || !compare_all(m, socket, &t))
        text_add(&t, "  (the other replay is gone)\n");
}

static bool over(const struct summary *s, struct bisect_found *f) {
    if (s->result.end == RAN_TO_PLACE)
        return false;
    f->outcome = s->result.end == RAN_TO_END ? BISECT_SAME : BISECT_SAME_DIFFERENCE;
    snprintf(f->text, sizeof(f->text), "%s", s->result.text);
    return true;
}

struct bisect_found bisect_suspect(struct machine *m, const struct bisect_round *round,
                                   int socket) {
    struct bisect_found f = {.outcome = BISECT_FAILED};
    int error = debug_ops.after_fork(m);
    if (error)
        snprintf(f.text, sizeof(f.text), "the VM cannot be copied: %s", strerror(-error));
    debug_ops.where(m, &f.before);
    for (uint64_t v = round->from; !error; v += round->step) {
        struct summary mine, other;
        run_to(m, v, &mine);
        if (!receive(socket, &other, sizeof(other))) {
            snprintf(f.text, sizeof(f.text), "the second replay is gone");
            return f;
        }
        if (!same(&mine, &other)) {
            parted(m, socket, &mine, &other, &f);
            return f;
        }
        char answer = over(&mine, &f) ? STOP : GO_ON;
        if (!send_all(socket, &answer, 1) || answer == STOP)
            return f;
        f.before = mine.result.position;
    }
    return f;
}
