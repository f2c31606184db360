// execve and execveat: finding the program (through scripts), and the point of no return.
#include "proc/exec.h"
#include <asm/stat.h>
#include <linux/fcntl.h>
#include <linux/stat.h>
#include "cpu/fpu.h"
#include "cpu/gdt.h"
#include "cpu/msr.h"
#include "cpu/percpu.h"
#include "cpu/trapframe.h"
#include "cpu/x86.h"
#include "fs/file.h"
#include "fs/inode.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/space.h"
#include "mm/uaccess.h"
#include "proc/exec_internal.h"
#include "proc/exit.h"
#include "proc/futex.h"
#include "proc/posix_timer.h"
#include "proc/signal_internal.h"
#include "proc/table.h"
#include "syscall/syscall.h"

#define SCRIPT_DEPTH 4
#define HEAD_SIZE    256 // of the file: an ELF header or a script's first line

// ---- finding the program ----------------------------------------------------------------------

static int check_file(struct exec_program *p) {
    const struct inode *i = p->file->inode;
    if (!i || !S_ISREG(i->mode) || !(i->mode & 0111))
        return -EACCES;
    p->mode = i->mode;
    p->owner = i->uid;
    p->group = i->gid;
    return 0;
}

static int open_program(struct exec_program *p, const char *path) {
    struct file *f = file_open(path, O_RDONLY, 0);
    if (IS_ERR(f))
        return (int)PTR_ERR(f);
    if (p->file)
        file_put(p->file);
    p->file = f;
    return check_file(p);
}

// Splits "#!interpreter option" in `line` (zero-terminated). NULL: there is no interpreter.
static char *parse_script(char *line, char **option) {
    char *end = strchr(line, '\n');
    if (end)
        *end = '\0';
    char *s = line + 2;
    while (*s == ' ' || *s == '\t')
        s++;
    char *interpreter = *s ? s : NULL;
    while (*s && *s != ' ' && *s != '\t')
        s++;
    if (*s)
        *s++ = '\0';
    while (*s == ' ' || *s == '\t')
        s++;
    size_t n = strlen(s);
    while (n && (s[n - 1] == ' ' || s[n - 1] == '\t' || s[n - 1] == '\r'))
        s[--n] = '\0';
    *option = n ? s : NULL;
    return interpreter;
}

// p->file is open; follows scripts to a program and builds its memory.
static int load(struct exec_program *p) {
    char *script = kmalloc(sizeof(p->path));
    if (!script)
        return -ENOMEM;
    strlcpy(script, p->path, sizeof(p->path));
    int err = -ELOOP;
    for (int depth = 0; depth <= SCRIPT_DEPTH; depth++) {
        char head[HEAD_SIZE + 1], *option;
        ssize_t n = file_read_kernel(p->file, head, HEAD_SIZE, 0);
        if (n < 0) {
            err = (int)n;
            break;
        }
        head[n] = '\0';
        if (n < 2 || head[0] != '#' || head[1] != '!') {
            err = exec_load(p, head, (size_t)n);
            break;
        }
        char *interpreter = parse_script(head, &option);
        err = interpreter ? exec_args_interpreter(&p->args, interpreter, option, script) : -ENOEXEC;
        if (!err)
            err = open_program(p, interpreter);
        if (err)
            break;
        strlcpy(script, interpreter, sizeof(p->path));
        err = -ELOOP;
    }
    kfree(script);
    return err;
}

static void set_name(struct exec_program *p) {
    const char *slash = strrchr(p->path, '/');
    strlcpy(p->name, slash ? slash + 1 : p->path, sizeof(p->name));
}

void exec_program_free(struct exec_program *p) {
    if (p->file)
        file_put(p->file);
    if (p->space)
        space_put(p->space);
    exec_args_free(&p->args);
    kfree(p);
}

int exec_prepare(struct exec_program *p) {
    set_name(p);
    int err = p->file ? check_file(p) : open_program(p, p->path);
    return err ? err : load(p);
}

// ---- the point of no return -------------------------------------------------------------------

// Ends all other threads of the process. 0, or -ERESTARTNOINTR when the process is ending itself.
static int become_only_thread(struct process *p, struct world *me) {
    struct world *w;
    spin_lock(&p->signal_lock);
    if (world_must_end(me)) {
        spin_unlock(&p->signal_lock);
        return -ERESTARTNOINTR;
    }
    bool others = p->thread_count > 1;
    if (others) {
        p->exec_world = me;
        list_for_each (w, &p->worlds, process_node) {
            if (w != me)
                world_interrupt(w);
        }
        waitq_wake(&p->stop_wait, 0);
    }
    spin_unlock(&p->signal_lock);
    if (others)
        wait_event(&p->stop_wait, READ_ONCE(p->thread_count) == 1);
    if (me->tid != p->pid) {
        spin_lock(&process_lock);
        world_take_pid_locked(me, p);
        spin_unlock(&process_lock);
    }
    spin_lock(&p->signal_lock);
    p->leader = me;
    p->exec_world = NULL;
    spin_unlock(&p->signal_lock);
    return 0;
}

// Handlers are addresses in the old program: back to the default; what is ignored stays ignored.
static void reset_signals(struct process *p, struct world *w) {
    spin_lock(&p->signal_lock);
    for (int i = 0; i < SIGNAL_COUNT; i++) {
        struct sigaction_entry *a = &p->actions[i];
        if (a->handler != (uint64_t)SIG_IGN)
            a->handler = (uint64_t)SIG_DFL;
        a->flags = a->restorer = a->mask = 0;
    }
    memset(&w->signals.altstack, 0, sizeof(w->signals.altstack));
    w->signals.altstack.ss_flags = SS_DISABLE;
    w->signals.restart.fn = NULL;
    spin_unlock(&p->signal_lock);
}

static void switch_space(struct process *p, struct exec_program *prog) {
    struct world *w = current;
    thread_leave_memory();
    w->robust_list = NULL;
    mutex_lock(&p->exec_lock);
    struct space *old_space = p->space;
    struct file *old_exe = p->exe;
    irq_push();
    p->space = prog->space;
    space_activate(prog->space);
    irq_pop();
    p->exe = prog->file;
    memcpy(p->name, prog->name, sizeof(p->name));
    memcpy(w->name, prog->name, sizeof(w->name));
    mutex_unlock(&p->exec_lock);
    prog->space = NULL;
    prog->file = NULL;
    if (old_space)
        space_put(old_space);
    if (old_exe)
        file_put(old_exe);
}

static void reset_registers(const struct exec_program *prog) {
    struct world *w = current;
    struct trap_frame *f = w->frame;
    memset(f, 0, sizeof(*f));
    f->rip = prog->entry;
    f->rsp = prog->stack_pointer;
    f->cs = USER_CS;
    f->ss = USER_DS;
    f->rflags = 0x202; // IF, and the bit that is always 1
    irq_push();
    w->fs_base = w->gs_base = 0;
    wrmsr(MSR_FS_BASE, 0);
    wrmsr(MSR_KERNEL_GS_BASE, 0);
    fpu_load_initial();
    irq_pop();
}

static void set_credentials(struct process *p, const struct exec_program *prog) {
    struct credentials *c = &p->credentials;
    spin_lock(&p->signal_lock);
    if (!p->no_new_privs && (prog->mode & S_ISUID))
        c->euid = c->fsuid = prog->owner;
    if (!p->no_new_privs && (prog->mode & S_ISGID) && (prog->mode & 010))
        c->egid = c->fsgid = prog->group;
    c->suid = c->euid;
    c->sgid = c->egid;
    p->euid = c->euid;
    p->egid = c->egid;
    spin_unlock(&p->signal_lock);
}

static void close_files(struct process *p) {
    if (p->files_shared) {
        struct file_table *copy = files_copy(p->files);
        if (copy) {
            mutex_lock(&p->exec_lock);
            struct file_table *old = p->files;
            p->files = copy;
            mutex_unlock(&p->exec_lock);
            files_put(old);
            p->files_shared = false;
        }
    }
    files_close_on_exec(p->files);
}

int exec_commit(struct exec_program *prog) {
    struct world *w = current;
    struct process *p = w->process;
    int err = become_only_thread(p, w);
    if (err)
        return err;
    set_credentials(p, prog);
    switch_space(p, prog);
    posix_timers_delete_all(p);
    close_files(p);
    reset_signals(p, w);
    reset_registers(prog);
    p->exit_signal = SIGCHLD;
    WRITE_ONCE(p->execed, true);
    vfork_complete(p);
    return 0;
}

// ---- system calls -----------------------------------------------------------------------------

static long do_exec(struct exec_program *p, const void __user *argv, const void __user *envp) {
    int err = exec_args_add_array(&p->args, argv, &p->args.argc);
    if (!err && !p->args.argc) { // a program without a name would read past its arguments
        p->args.argc = 1;
        err = exec_args_add(&p->args, "");
    }
    if (!err)
        err = exec_args_add_array(&p->args, envp, &p->args.envc);
    if (!err)
        err = exec_prepare(p);
    if (!err)
        err = exec_commit(p);
    exec_program_free(p);
    return err;
}

long sys_execve(const char __user *path, const void __user *argv, const void __user *envp) {
    struct exec_program *p = kzalloc(sizeof(*p));
    if (!p)
        return -ENOMEM;
    long n = strncpy_from_user(p->path, path, sizeof(p->path));
    if (n <= 0) {
        exec_program_free(p);
        return n ? n : -ENOENT;
    }
    return do_exec(p, argv, envp);
}

// The path of `path` relative to the directory (or, when empty, to the file itself) behind fd.
static int resolve_at(struct exec_program *p, int fd, const char *path, int flags) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    int err = 0;
    if (!*path) {
        if (!(flags & AT_EMPTY_PATH))
            err = -ENOENT;
        else
            p->file = file_get(f);
    } else if (!f->dentry) {
        err = -ENOTDIR;
    } else {
        struct dentry *d = path_walk(f->dentry, path,
                                     flags & AT_SYMLINK_NOFOLLOW ? WALK_NOFOLLOW : 0);
        if (IS_ERR(d)) {
            err = (int)PTR_ERR(d);
        } else {
            int n = dentry_path(d, p->path, sizeof(p->path));
            err = n < 0 ? n : S_ISLNK(d->inode->mode) ? -ELOOP : 0;
            dentry_put(d);
        }
    }
    file_put(f);
    return err;
}

long sys_execveat(int fd, const char __user *path, const void __user *argv, const void __user *envp,
                  int flags) {
    if (flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
        return -EINVAL;
    struct exec_program *p = kzalloc(sizeof(*p));
    if (!p)
        return -ENOMEM;
    long n = strncpy_from_user(p->path, path, sizeof(p->path));
    int err = n < 0 ? (int)n : 0;
    if (!err && p->path[0] != '/' && !(fd == AT_FDCWD && p->path[0])) {
        char *relative = kstrdup(p->path);
        err = relative ? resolve_at(p, fd, relative, flags) : -ENOMEM;
        if (!err && !*relative)
            strlcpy(p->path, "/dev/fd", sizeof(p->path));
        kfree(relative);
    }
    if (err) {
        exec_program_free(p);
        return err;
    }
    return do_exec(p, argv, envp);
}
