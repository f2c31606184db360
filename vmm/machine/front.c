// The process that the user started becomes the front: it talks to gdb and holds the timeline, and never runs a
// guest. The machine is its child; checkpoints are children of that (replay/server.h).
#include "vmm/machine/front.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include "replay/gdb/front.h"
#include "replay/server.h"
#include "vmm/machine/config.h"
#include "vmm/machine/debug.h"
#include "vmm/machine/life.h"
#include "vmm/machine/output.h"

#define CHECKPOINTS 64
#define RESERVE     (32ull << 20)

static const char *name;
static int leave[2]; // a pipe: a signal handler writes, the front reads

static void say(const char *sentence) {
    fprintf(stderr, "%s: %s\n", name, sentence);
}

// ---- the machine's process ------------------------------------------------------------------------------
static int machine_process(const struct config *config, int socket, int *status) {
    char ready = 1;
    struct machine *m = machine_create(config);
    if (!m || debug_create(m, status))
        return EXIT_NOT_STARTED;
    catch_signals(m);
    if (machine_power_on(m) || write(socket, &ready, 1) != 1)
        return EXIT_NOT_STARTED;
    server_run(socket, &debug_ops, m);
    debug_finish(m); // in checkpoints, too, which have nothing to finish
    output_flush_all();
    if (m->trace)
        fflush(m->trace);
    return 0;
}

static struct remote start_machine(const struct config *config, int *status) {
    int ends[2];
    struct remote r = {.socket = -1, .pid = -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0 || (r.pid = fork()) < 0) {
        say(strerror(errno));
        return r;
    }
    if (r.pid == 0) {
        close(ends[0]);
        _exit(machine_process(config, ends[1], status));
    }
    close(ends[1]);
    r.socket = ends[0];
    return r;
}

// False: it has ended without becoming a machine, after a message.
static bool wait_until_ready(const struct remote *r) {
    char ready;
    ssize_t n;
    do
        n = read(r->socket, &ready, 1);
    while (n < 0 && errno == EINTR);
    return n == 1;
}

// ---- the front -------------------------------------------------------------------------------------------
static void on_signal(int signal) {
    char byte = 0;
    if (write(leave[1], &byte, 1) < 0)
        return; // the pipe is full of the same already
}

static void catch_signals_of_front(void) {
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static int serve(const struct config *config, struct remote machine, const int *status) {
    struct gdb_front front = {.path = config->gdb,
                              .wait = config->gdb_wait,
                              .limits = {.checkpoints = CHECKPOINTS, .reserve = RESERVE},
                              .leave_fd = leave[0],
                              .say = say};
    struct run_result last = {0};
    if (config->gdb_arch && !gdb_arch_parse(config->gdb_arch, &front.arch)) {
        say("gdb-arch: must be x86-64, i386 or i8086");
        return EXIT_NOT_STARTED;
    }
    if (gdb_front(&front, machine, &last) == GDB_FRONT_NOT_STARTED)
        return EXIT_NOT_STARTED;
    return *status;
}

int front_run(const struct config *config) {
    name = config->name;
    // The last machine process that comes to an end writes vmx's exit status here; left before that, it is this.
    int *status = mmap(NULL, sizeof(*status), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                       -1, 0);
    if (status == MAP_FAILED || pipe(leave) < 0) {
        say(strerror(errno));
        return EXIT_NOT_STARTED;
    }
    *status = EXIT_LEFT;
    struct termios before;
    bool terminal = tcgetattr(STDIN_FILENO, &before) == 0;
    int result = EXIT_NOT_STARTED;
    struct remote machine = start_machine(config, status);
    if (machine.socket >= 0 && wait_until_ready(&machine)) {
        catch_signals_of_front();
        result = serve(config, machine, status);
    } else if (machine.socket >= 0) {
        waitpid(machine.pid, NULL, 0);
    }
    if (terminal) // the machine has put it into raw mode
        tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
    return result;
}
