// What the machine and the system are called: uname(2), sethostname(2), /proc/sys/kernel.
#include <linux/utsname.h>
#include "build_id.h"
#include "fs/inode.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/uaccess.h"
#include "proc/info.h"
#include "proc/pid.h"
#include "proc/process.h"
#include "syscall/syscall.h"

static struct new_utsname names = {
    .sysname = "Linux", // programs compare it; the version says what this is
    .nodename = "chronovisor",
    .release = "6.1.0-chronovisor",
    .version = "VMkernel build " BUILD_ID,
    .machine = "x86_64",
    .domainname = "(none)",
};
static struct spinlock names_lock = SPINLOCK_INIT;

long sys_uname(void __user *out) {
    spin_lock(&names_lock);
    struct new_utsname copy = names;
    spin_unlock(&names_lock);
    return copy_to_user(out, &copy, sizeof(copy));
}

static int set_name(char *name, const char *text) {
    if (current_process()->euid != 0)
        return -EPERM;
    spin_lock(&names_lock);
    strlcpy(name, text, __NEW_UTS_LEN + 1);
    spin_unlock(&names_lock);
    return 0;
}

static long set_user_name(char *name, const char __user *from, int n) {
    char text[__NEW_UTS_LEN + 1];
    if (n < 0 || n > __NEW_UTS_LEN)
        return -EINVAL;
    if (copy_from_user(text, from, (size_t)n))
        return -EFAULT;
    text[n] = '\0';
    return set_name(name, text);
}

long sys_sethostname(const char __user *name, int n) {
    return set_user_name(names.nodename, name, n);
}

long sys_setdomainname(const char __user *name, int n) {
    return set_user_name(names.domainname, name, n);
}

// ---- /proc/sys/kernel -------------------------------------------------------------------------

static void show(struct textbuf *b, void *arg) {
    char text[__NEW_UTS_LEN + 1];
    spin_lock(&names_lock);
    memcpy(text, arg, sizeof(text));
    spin_unlock(&names_lock);
    text_printf(b, "%s\n", text);
}

static int store(const char *text, size_t n, void *arg) {
    char name[__NEW_UTS_LEN + 1];
    while (n && text[n - 1] == '\n')
        n--;
    if (n > __NEW_UTS_LEN)
        return -EINVAL;
    memcpy(name, text, n);
    name[n] = '\0';
    return set_name(arg, name);
}

static void pid_max_show(struct textbuf *b, void *arg) {
    (void)arg;
    text_printf(b, "%d\n", PID_MAX);
}

void uname_init(void) {
    proc_register("sys/kernel/hostname", show, store, names.nodename);
    proc_register("sys/kernel/domainname", show, store, names.domainname);
    proc_register("sys/kernel/ostype", show, NULL, names.sysname);
    proc_register("sys/kernel/osrelease", show, NULL, names.release);
    proc_register("sys/kernel/version", show, NULL, names.version);
    proc_register("sys/kernel/pid_max", pid_max_show, NULL, NULL);
}
