// Who a process is: numbers, users, groups, capabilities.
#include <linux/capability.h>
#include "cpu/percpu.h"
#include "lib/string.h"
#include "mm/uaccess.h"
#include "proc/table.h"
#include "syscall/syscall.h"

long sys_getpid(void) {
    return current->process->pid;
}

long sys_gettid(void) {
    return current->tid;
}

long sys_getppid(void) {
    return READ_ONCE(current->process->ppid);
}

// ---- users and groups -------------------------------------------------------------------------

#define UNCHANGED UINT32_MAX

long sys_getuid(void) {
    return current_process()->credentials.uid;
}
long sys_geteuid(void) {
    return current_process()->credentials.euid;
}
long sys_getgid(void) {
    return current_process()->credentials.gid;
}
long sys_getegid(void) {
    return current_process()->credentials.egid;
}

static bool privileged(void) {
    return current_process()->credentials.euid == 0;
}

static void begin(void) {
    spin_lock(&current_process()->signal_lock);
}

// Makes the copies that permission checks look at agree.
static void end(void) {
    struct process *p = current_process();
    p->uid = p->credentials.uid;
    p->gid = p->credentials.gid;
    p->euid = p->credentials.fsuid;
    p->egid = p->credentials.fsgid;
    spin_unlock(&p->signal_lock);
}

// The three numbers of one kind: real, effective, saved, and the file system's.
struct id_set {
    uint32_t *real, *effective, *saved, *fs;
};
static struct id_set users(struct credentials *c) {
    return (struct id_set){&c->uid, &c->euid, &c->suid, &c->fsuid};
}
static struct id_set groups(struct credentials *c) {
    return (struct id_set){&c->gid, &c->egid, &c->sgid, &c->fsgid};
}

static bool may_become(const struct id_set *s, uint32_t id) {
    return id == UNCHANGED || privileged() || id == *s->real || id == *s->effective ||
           id == *s->saved;
}

static long set_res(struct id_set s, uint32_t real, uint32_t effective, uint32_t saved) {
    if (!may_become(&s, real) || !may_become(&s, effective) || !may_become(&s, saved))
        return -EPERM;
    begin();
    if (real != UNCHANGED)
        *s.real = real;
    if (effective != UNCHANGED)
        *s.effective = *s.fs = effective;
    if (saved != UNCHANGED)
        *s.saved = saved;
    end();
    return 0;
}

static long set_re(struct id_set s, uint32_t real, uint32_t effective) {
    if (real != UNCHANGED && !privileged() && real != *s.real && real != *s.effective)
        return -EPERM;
    if (!may_become(&s, effective))
        return -EPERM;
    uint32_t old_real = *s.real;
    begin();
    if (real != UNCHANGED)
        *s.real = real;
    if (effective != UNCHANGED)
        *s.effective = *s.fs = effective;
    if (real != UNCHANGED || (effective != UNCHANGED && effective != old_real))
        *s.saved = *s.effective;
    end();
    return 0;
}

static long set_one(struct id_set s, uint32_t id) {
    if (id == UNCHANGED)
        return -EINVAL;
    if (privileged())
        return set_res(s, id, id, id);
    if (id != *s.real && id != *s.saved)
        return -EPERM;
    return set_res(s, UNCHANGED, id, UNCHANGED);
}

static long set_fs(struct id_set s, uint32_t id) {
    uint32_t old = *s.fs;
    if (id != UNCHANGED && (may_become(&s, id) || id == old)) {
        begin();
        *s.fs = id;
        end();
    }
    return old; // as Linux: also when nothing was changed
}

long sys_setuid(uint32_t id) {
    return set_one(users(&current_process()->credentials), id);
}
long sys_setgid(uint32_t id) {
    return set_one(groups(&current_process()->credentials), id);
}
long sys_setreuid(uint32_t real, uint32_t effective) {
    return set_re(users(&current_process()->credentials), real, effective);
}
long sys_setregid(uint32_t real, uint32_t effective) {
    return set_re(groups(&current_process()->credentials), real, effective);
}
long sys_setresuid(uint32_t real, uint32_t effective, uint32_t saved) {
    return set_res(users(&current_process()->credentials), real, effective, saved);
}
long sys_setresgid(uint32_t real, uint32_t effective, uint32_t saved) {
    return set_res(groups(&current_process()->credentials), real, effective, saved);
}
long sys_setfsuid(uint32_t id) {
    return set_fs(users(&current_process()->credentials), id);
}
long sys_setfsgid(uint32_t id) {
    return set_fs(groups(&current_process()->credentials), id);
}

static long put_three(struct id_set s, uint32_t __user *real, uint32_t __user *effective,
                      uint32_t __user *saved) {
    return put_user(*s.real, real) || put_user(*s.effective, effective) || put_user(*s.saved, saved)
               ? -EFAULT
               : 0;
}
long sys_getresuid(uint32_t __user *real, uint32_t __user *effective, uint32_t __user *saved) {
    return put_three(users(&current_process()->credentials), real, effective, saved);
}
long sys_getresgid(uint32_t __user *real, uint32_t __user *effective, uint32_t __user *saved) {
    return put_three(groups(&current_process()->credentials), real, effective, saved);
}

long sys_getgroups(int size, uint32_t __user *list) {
    const struct credentials *c = &current_process()->credentials;
    uint32_t n = c->group_count;
    if (size < 0 || (size > 0 && (uint32_t)size < n))
        return -EINVAL;
    if (size > 0 && copy_to_user(list, c->groups, n * sizeof(uint32_t)))
        return -EFAULT;
    return n;
}

long sys_setgroups(int size, const uint32_t __user *list) {
    uint32_t new_groups[GROUPS_MAX];
    if (!privileged())
        return -EPERM;
    if (size < 0 || size > GROUPS_MAX)
        return -EINVAL;
    if (copy_from_user(new_groups, list, (size_t)size * sizeof(uint32_t)))
        return -EFAULT;
    struct credentials *c = &current_process()->credentials;
    begin();
    memcpy(c->groups, new_groups, (size_t)size * sizeof(uint32_t));
    c->group_count = (uint32_t)size;
    end();
    return 0;
}

// ---- capabilities: root has all of them, others none ------------------------------------------

static int check_header(void __user *header, int *words) {
    struct __user_cap_header_struct h;
    if (copy_from_user(&h, header, sizeof(h)))
        return -EFAULT;
    *words = h.version == _LINUX_CAPABILITY_VERSION_1 ? 1 : 2;
    if (h.version == _LINUX_CAPABILITY_VERSION_1 || h.version == _LINUX_CAPABILITY_VERSION_2 ||
        h.version == _LINUX_CAPABILITY_VERSION_3)
        return 0;
    h.version = _LINUX_CAPABILITY_VERSION_3; // tells the program what is understood
    return copy_to_user(header, &h, sizeof(h)) ? -EFAULT : -EINVAL;
}

long sys_capget(void __user *header, void __user *data) {
    struct __user_cap_data_struct caps[2];
    int words;
    int err = check_header(header, &words);
    if (err)
        return data ? err : err == -EINVAL ? 0 : err;
    uint64_t all = privileged() ? BIT(CAP_LAST_CAP + 1) - 1 : 0;
    memset(caps, 0, sizeof(caps));
    for (int i = 0; i < 2; i++)
        caps[i].effective = caps[i].permitted = (uint32_t)(all >> (32 * i));
    return data ? copy_to_user(data, caps, (size_t)words * sizeof(caps[0])) : 0;
}

long sys_capset(void __user *header, const void __user *data) {
    struct __user_cap_data_struct caps[2];
    int words;
    int err = check_header(header, &words);
    if (err)
        return err;
    if (copy_from_user(caps, data, (size_t)words * sizeof(caps[0])))
        return -EFAULT;
    return privileged() ? 0 : -EPERM;
}
