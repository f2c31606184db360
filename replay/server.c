#include "replay/server.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include "replay/wire.h"

#define LOOK_SECONDS 1 // while running: so often we look whether the front is still there

static struct server {
    int socket;
    const struct target_ops *ops;
    void *target;
    struct wire_request request;
    // The request's data, with a 0 behind them; then the answer's.
    _Alignas(16) uint8_t data[WIRE_DATA_MAX + 1];
} server;

// ---- signals -------------------------------------------------------------------------------------
static void on_interrupt(int signal) {
    server.ops->interrupt(server.target);
}

static void on_alarm(int signal) {
    int error = errno;
    struct pollfd p = {.fd = server.socket};
    if (poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)))
        server.ops->interrupt(server.target);
    errno = error;
}

static void catch_signals(void) {
    struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(SIGUSR1, &action, NULL);
    action.sa_handler = on_alarm;
    sigaction(SIGALRM, &action, NULL);
    action.sa_handler = SIG_IGN; // children are waited for by nobody
    sigaction(SIGCHLD, &action, NULL);
}

static void look_for_front(time_t seconds) {
    struct itimerval every = {{seconds, 0}, {seconds, 0}};
    setitimer(ITIMER_REAL, &every, NULL);
}

// ---- requests: each returns the answer's result, and its data in server.data --------------------------
// `*size` is that of the data.
static int64_t serve_info(uint32_t *size) {
    struct target_info info = {0};
    server.ops->info(server.target, &info);
    memcpy(server.data, &info, *size = sizeof(info));
    return 0;
}

static int64_t serve_where(uint32_t *size) {
    struct position p = {0};
    server.ops->where(server.target, &p);
    memcpy(server.data, &p, *size = sizeof(p));
    return 0;
}

static int64_t serve_run(uint32_t *size) {
    struct run_request request;
    struct run_result result = {0};
    if (server.request.size < sizeof(request))
        return -EINVAL;
    memcpy(&request, server.data, sizeof(request));
    if (request.breakpoint_count > BREAKPOINTS_MAX ||
        server.request.size !=
            sizeof(request) + request.breakpoint_count * sizeof(struct breakpoint))
        return -EINVAL;
    struct breakpoint breakpoints[BREAKPOINTS_MAX];
    memcpy(breakpoints, server.data + sizeof(request), server.request.size - sizeof(request));
    request.breakpoints = breakpoints;
    look_for_front(LOOK_SECONDS);
    server.ops->run(server.target, &request, &result);
    look_for_front(0);
    memcpy(server.data, &result, *size = sizeof(result));
    return 0;
}

static int64_t serve_read_registers(uint32_t *size) {
    struct target_registers r = {0};
    int error = server.ops->read_registers(server.target, server.request.cpu, &r);
    memcpy(server.data, &r, *size = sizeof(r));
    return error;
}

static int64_t serve_write_registers(uint32_t *size) {
    struct target_registers r;
    if (server.request.size != sizeof(r))
        return -EINVAL;
    memcpy(&r, server.data, sizeof(r));
    return server.ops->write_registers(server.target, server.request.cpu, &r);
}

static int64_t serve_read_memory(uint32_t *size) {
    const struct wire_request *q = &server.request;
    if (q->length > WIRE_DATA_MAX)
        return -EINVAL;
    long got = server.ops->read_memory(server.target, q->cpu, q->what, q->address, server.data,
                                       q->length);
    *size = got > 0 ? got : 0;
    return got;
}

static int64_t serve_write_memory(uint32_t *size) {
    const struct wire_request *q = &server.request;
    return server.ops->write_memory(server.target, q->cpu, q->what, q->address, server.data,
                                    q->size);
}

static int64_t serve_translate(uint32_t *size) {
    uint64_t physical = 0;
    int error = server.ops->translate(server.target, server.request.cpu, server.request.address,
                                      &physical);
    memcpy(server.data, &physical, *size = sizeof(physical));
    return error;
}

static int64_t serve_event_v(uint32_t *size) {
    uint64_t v = server.ops->event_v(server.target, server.request.address);
    memcpy(server.data, &v, *size = sizeof(v));
    return 0;
}

static int64_t serve_hash(uint32_t *size) {
    uint64_t hash = server.ops->hash(server.target, server.request.what);
    memcpy(server.data, &hash, *size = sizeof(hash));
    return 0;
}

static int64_t serve_text(uint32_t *size) {
    const struct wire_request *q = &server.request;
    char argument[256];
    if (q->size >= sizeof(argument) || q->length == 0 || q->length > WIRE_DATA_MAX)
        return -EINVAL;
    memcpy(argument, server.data, q->size + 1);
    server.data[0] = 0;
    server.ops->text(server.target, q->what, argument, (char *)server.data, q->length);
    *size = strlen((char *)server.data) + 1;
    return 0;
}

static int64_t serve_go_live(uint32_t *size) {
    char error[256] = "";
    int result = server.ops->go_live(server.target, (char *)server.data, error);
    memcpy(server.data, error, *size = sizeof(error));
    return result;
}

static int64_t (*const serve[WIRE_OPS])(uint32_t *size) = {
    [WIRE_INFO] = serve_info,
    [WIRE_WHERE] = serve_where,
    [WIRE_RUN] = serve_run,
    [WIRE_READ_REGISTERS] = serve_read_registers,
    [WIRE_WRITE_REGISTERS] = serve_write_registers,
    [WIRE_READ_MEMORY] = serve_read_memory,
    [WIRE_WRITE_MEMORY] = serve_write_memory,
    [WIRE_TRANSLATE] = serve_translate,
    [WIRE_EVENT_V] = serve_event_v,
    [WIRE_HASH] = serve_hash,
    [WIRE_TEXT] = serve_text,
    [WIRE_GO_LIVE] = serve_go_live,
};

static int answer(int64_t result, uint32_t size, int fd) {
    struct wire_answer a = {.result = result, .size = size};
    return wire_send(server.socket, &a, sizeof(a), server.data, size, fd);
}

// ---- checkpoints -----------------------------------------------------------------------------------
// In the child: from now on it serves the front's end of the new socket.
static int become_copy(int socket) {
    close(server.socket);
    server.socket = socket;
    int error = server.ops->after_fork(server.target);
    if (answer(error, 0, -1) || error)
        _exit(1); // not a machine: nothing of it may be finished
    return 0;
}

static int serve_fork(void) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
        return answer(-errno, 0, -1);
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        return become_copy(ends[1]);
    }
    int result = answer(pid < 0 ? -errno : pid, 0, pid < 0 ? -1 : ends[0]);
    close(ends[0]);
    close(ends[1]);
    return result;
}

// ---- the loop --------------------------------------------------------------------------------------
static int receive_request(void) {
    struct wire_request *q = &server.request;
    if (wire_receive(server.socket, q, sizeof(*q), NULL) || q->op >= WIRE_OPS ||
        q->size > WIRE_DATA_MAX || wire_receive(server.socket, server.data, q->size, NULL))
        return -EPIPE;
    server.data[q->size] = 0;
    return 0;
}

void server_run(int socket, const struct target_ops *ops, void *target) {
    server.socket = socket;
    server.ops = ops;
    server.target = target;
    catch_signals();
    int error = 0;
    while (!error && receive_request() == 0) {
        if (server.request.op == WIRE_FORK) {
            error = serve_fork();
        } else {
            uint32_t size = 0;
            int64_t result = serve[server.request.op](&size);
            error = answer(result, size, -1);
        }
    }
}
