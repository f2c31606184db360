// The first process.
#include <linux/fcntl.h>
#include "cpu/clock.h"
#include "cpu/gdt.h"
#include "cpu/percpu.h"
#include "cpu/trapframe.h"
#include "fs/file.h"
#include "fs/inode.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/space.h"
#include "proc/exec_internal.h"
#include "proc/info.h"
#include "proc/limits.h"
#include "proc/pool.h"
#include "proc/random.h"
#include "proc/table.h"

void proc_init(void);

void proc_init(void) {
    uint64_t now = clock_realtime();
    random_add(&now, sizeof(now));
    pool_init();
    uname_init();
}

// /dev/console as standard input, output and error.
static int open_console(void) {
    struct file *f = file_open("/dev/console", O_RDWR | O_NOCTTY, 0);
    if (IS_ERR(f))
        return (int)PTR_ERR(f);
    for (int fd = 0; fd < 3; fd++) {
        int got = fd_install(file_get(f), fd, false);
        if (got < 0) {
            file_put(f);
            return got;
        }
    }
    file_put(f);
    return 0;
}

static int add_strings(struct exec_args *a, char *const list[], unsigned *count) {
    for (*count = 0; list[*count]; (*count)++) {
        int err = exec_args_add(a, list[*count]);
        if (err)
            return err;
    }
    return 0;
}

static struct world *first_world(struct process *p, const struct exec_program *prog) {
    struct trap_frame frame;
    memset(&frame, 0, sizeof(frame));
    frame.rip = prog->entry;
    frame.rsp = prog->stack_pointer;
    frame.cs = USER_CS;
    frame.ss = USER_DS;
    frame.rflags = 0x202; // IF, and the bit that is always 1
    struct world *w = world_create_user(p, prog->name, &frame);
    if (w)
        w->signals.altstack.ss_flags = SS_DISABLE;
    return w;
}

// Number 1, a session and a group of its own, in no family.
static int enter(struct process *p, struct world *w) {
    struct process_group *spare = kzalloc(sizeof(*spare));
    if (!spare)
        return -ENOMEM;
    spin_lock(&process_lock);
    int err = process_enter_locked(p, w);
    if (!err) {
        ASSERT(p->pid == 1);
        process_get(p); // held by the thread until it has left
        init_process = p;
        p->leader = w;
        list_add_tail(&p->worlds, &w->process_node);
        p->thread_count = 1;
        group_join_locked(p, p->pid, p->pid, &spare);
    }
    spin_unlock(&process_lock);
    kfree(spare);
    return err;
}

static int load(struct process *p, const char *path, char *const argv[], char *const envp[],
                struct exec_program *prog) {
    strlcpy(prog->path, path, sizeof(prog->path));
    int err = add_strings(&prog->args, argv, &prog->args.argc);
    if (!err)
        err = add_strings(&prog->args, envp, &prog->args.envc);
    if (!err)
        err = exec_prepare(prog);
    if (err)
        return err;
    strlcpy(p->name, prog->name, sizeof(p->name));
    p->space = prog->space;
    p->exe = prog->file;
    prog->space = NULL;
    prog->file = NULL;
    err = open_console();
    if (err)
        log_warning("proc: /dev/console cannot be opened (error %d): init has no console", -err);
    struct world *w = first_world(p, prog);
    if (!w)
        return -ENOMEM;
    err = enter(p, w);
    if (err)
        return err;
    world_start(w);
    return 0;
}

int process_start_init(const char *path, char *const argv[], char *const envp[]) {
    struct world *me = current;
    struct process *p = process_alloc();
    struct exec_program *prog = kzalloc(sizeof(*prog));
    if (!p || !prog)
        return -ENOMEM;
    p->files = files_create();
    p->fs = fs_context_create();
    if (!p->files || !p->fs)
        return -ENOMEM;
    p->pool = &root_pool;
    (void)pool_enter(p->pool);
    p->exit_signal = SIGCHLD;
    p->start_time = clock_monotonic();
    limits_init(p);
    // The boot flow acts for the new process while it opens files and fills memory.
    me->process = p;
    int err = load(p, path, argv, envp, prog);
    me->process = NULL;
    exec_program_free(prog);
    return err; // on failure the machine stops: nothing is given back
}
