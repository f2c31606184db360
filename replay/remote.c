#include "replay/remote.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "replay/wire.h"

#define REPEAT_MS 50  // an interrupt is sent again until the run has ended
#define PATIENCE  600 // so many REPEAT_MS a process may take to end: it writes a log's last chunk

// ---- questions and answers ---------------------------------------------------------------------------
static void lost(struct remote *r) {
    close(r->socket);
    r->socket = -1;
}

static int ask(struct remote *r, const struct wire_request *q, const void *data) {
    if (r->socket >= 0 && wire_send(r->socket, q, sizeof(*q), data, q->size, -1))
        lost(r);
    return r->socket >= 0 ? 0 : -EPIPE;
}

// The answer's result; its data, at most `size` bytes of them, in `data`, the rest of which is zeroed.
static int64_t hear(struct remote *r, void *data, size_t size, int *fd) {
    struct wire_answer a;
    if (size)
        memset(data, 0, size);
    if (r->socket < 0)
        return -EPIPE;
    if (wire_receive(r->socket, &a, sizeof(a), fd) || a.size > size ||
        wire_receive(r->socket, data, a.size, NULL)) {
        lost(r);
        return -EPIPE;
    }
    return a.result;
}

static int64_t call(struct remote *r, const struct wire_request *q, const void *in, void *out,
                    size_t out_size) {
    ask(r, q, in); // if it fails we hear nothing
    return hear(r, out, out_size, NULL);
}

void remote_info(struct remote *r, struct target_info *info) {
    struct wire_request q = {.op = WIRE_INFO};
    call(r, &q, NULL, info, sizeof(*info));
}

void remote_where(struct remote *r, struct position *p) {
    struct wire_request q = {.op = WIRE_WHERE};
    call(r, &q, NULL, p, sizeof(*p));
}

int remote_read_registers(struct remote *r, unsigned cpu, struct target_registers *regs) {
    struct wire_request q = {.op = WIRE_READ_REGISTERS, .cpu = cpu};
    return call(r, &q, NULL, regs, sizeof(*regs));
}

int remote_write_registers(struct remote *r, unsigned cpu, const struct target_registers *regs) {
    struct wire_request q = {.op = WIRE_WRITE_REGISTERS, .cpu = cpu, .size = sizeof(*regs)};
    return call(r, &q, regs, NULL, 0);
}

static size_t piece(size_t n) {
    return n < WIRE_DATA_MAX ? n : WIRE_DATA_MAX;
}

long remote_read_memory(struct remote *r, unsigned cpu, enum target_space space, uint64_t address,
                        void *buf, size_t n) {
    size_t done = 0;
    while (done < n) {
        size_t want = piece(n - done);
        struct wire_request q = {.op = WIRE_READ_MEMORY,
                                 .cpu = cpu,
                                 .what = space,
                                 .address = address + done,
                                 .length = want};
        long got = call(r, &q, NULL, (char *)buf + done, want);
        if (got < 0 && !done)
            return got;
        done += got > 0 ? got : 0;
        if (got < (long)want)
            break;
    }
    return done;
}

long remote_write_memory(struct remote *r, unsigned cpu, enum target_space space, uint64_t address,
                         const void *buf, size_t n) {
    size_t done = 0;
    while (done < n) {
        size_t size = piece(n - done);
        struct wire_request q = {.op = WIRE_WRITE_MEMORY,
                                 .cpu = cpu,
                                 .what = space,
                                 .address = address + done,
                                 .size = size};
        long put = call(r, &q, (const char *)buf + done, NULL, 0);
        if (put < 0 && !done)
            return put;
        done += put > 0 ? put : 0;
        if (put < (long)size)
            break;
    }
    return done;
}

int remote_translate(struct remote *r, unsigned cpu, uint64_t linear, uint64_t *physical) {
    struct wire_request q = {.op = WIRE_TRANSLATE, .cpu = cpu, .address = linear};
    return call(r, &q, NULL, physical, sizeof(*physical));
}

uint64_t remote_event_v(struct remote *r, uint64_t event) {
    struct wire_request q = {.op = WIRE_EVENT_V, .address = event};
    uint64_t v;
    return call(r, &q, NULL, &v, sizeof(v)) < 0 ? UINT64_MAX : v;
}

uint64_t remote_hash(struct remote *r, bool memory) {
    struct wire_request q = {.op = WIRE_HASH, .what = memory};
    uint64_t hash;
    call(r, &q, NULL, &hash, sizeof(hash));
    return hash;
}

void remote_text(struct remote *r, enum target_text what, const char *argument, char *buf,
                 size_t n) {
    struct wire_request q = {
        .op = WIRE_TEXT, .what = what, .size = strlen(argument), .length = piece(n)};
    call(r, &q, argument, buf, n);
}

int remote_go_live(struct remote *r, const char *record, char error[256]) {
    struct wire_request q = {.op = WIRE_GO_LIVE, .size = strlen(record)};
    int result = call(r, &q, record, error, 256);
    if (result == -EPIPE)
        snprintf(error, 256, "the machine's process is gone");
    return result;
}

// ---- runs --------------------------------------------------------------------------------------------
// Waits for the answer to a run. Meanwhile somebody may want it to end: true.
static bool await(struct remote *r, const struct remote_attention *attention) {
    struct pollfd p[2] = {{.fd = r->socket, .events = POLLIN},
                          {.fd = attention ? attention->fd : -1, .events = POLLIN}};
    bool interrupted = false;
    for (;;) {
        int n = poll(p, 2, interrupted ? REPEAT_MS : -1);
        if (n > 0 && p[0].revents)
            return interrupted;
        if (n > 0 && p[1].revents && attention->readable(attention->opaque)) {
            interrupted = true;
            p[1].fd = -1;
        }
        if (interrupted)
            kill(r->pid, SIGUSR1);
    }
}

bool remote_run(struct remote *r, const struct run_request *request,
                const struct remote_attention *attention, struct run_result *result) {
    uint8_t data[sizeof(*request) + BREAKPOINTS_MAX * sizeof(struct breakpoint)];
    size_t list = request->breakpoint_count * sizeof(struct breakpoint);
    memcpy(data, request, sizeof(*request));
    if (list)
        memcpy(data + sizeof(*request), request->breakpoints, list);
    struct wire_request q = {.op = WIRE_RUN, .size = sizeof(*request) + list};
    bool interrupted = ask(r, &q, data) == 0 && await(r, attention);
    if (hear(r, result, sizeof(*result), NULL) == -EPIPE) {
        result->end = RAN_INTO_DIFFERENCE;
        snprintf(result->text, sizeof(result->text),
                 "the machine's process has ended unexpectedly");
    }
    return interrupted;
}

// ---- processes -----------------------------------------------------------------------------------------
int remote_fork(struct remote *r, struct remote *copy) {
    struct wire_request q = {.op = WIRE_FORK};
    int fd = -1, error = ask(r, &q, NULL);
    if (error)
        return error;
    int64_t pid = hear(r, NULL, 0, &fd);
    if (pid < 0)
        return pid;
    if (fd < 0)
        return -EMFILE; // no room for it here
    *copy = (struct remote){.socket = fd, .pid = pid};
    error = hear(copy, NULL, 0, NULL);
    if (error)
        remote_close(copy);
    return error == -EPIPE ? -ENOMEM : error; // it died while it became one
}

// Until the process has closed its socket, that is, has ended. False: it does not.
static bool await_end(const struct remote *r) {
    struct pollfd p = {.fd = r->socket, .events = POLLIN};
    char rest[4096];
    for (int i = 0; i < PATIENCE; i++)
        if (poll(&p, 1, REPEAT_MS) <= 0)
            kill(r->pid, SIGUSR1); // perhaps it runs
        else if (read(r->socket, rest, sizeof(rest)) <= 0)
            return true;
    return false;
}

void remote_close(struct remote *r) {
    if (r->socket >= 0) {
        shutdown(r->socket, SHUT_WR);
        if (!await_end(r))
            kill(r->pid, SIGKILL);
        lost(r);
    }
    while (waitpid(r->pid, NULL, 0) < 0 && errno == EINTR) // copies are not our children: ECHILD
        ;
}
