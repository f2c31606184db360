// setsockopt and getsockopt: the options of SOL_SOCKET that all families share.
#include <asm/socket.h>
#include <linux/time_types.h>
#include "cpu/clock.h"
#include "ipc/socket.h"
#include "lib/string.h"
#include "mm/uaccess.h"
#include "syscall/syscall.h"

#define OPTION_MAX 256u // bytes of a value

// Boolean options that are kept in s->flags; what they mean is the family's affair.
#define FLAG_OPTIONS                                                             \
    (BIT(SO_DEBUG) | BIT(SO_REUSEADDR) | BIT(SO_DONTROUTE) | BIT(SO_BROADCAST) | \
     BIT(SO_KEEPALIVE) | BIT(SO_OOBINLINE) | BIT(SO_REUSEPORT) | BIT(SO_PASSCRED))

// Buffer sizes: what is asked for is doubled for the bookkeeping, as Linux does (socket(7)).
#define BUFFER_MAX  212992u
#define SEND_MIN    4608u
#define RECEIVE_MIN 2304u

static bool is_flag(int name) {
    return name > 0 && name < 32 && (FLAG_OPTIONS & BIT(name));
}

static uint32_t buffer_size(int asked, uint32_t least) {
    uint32_t n = MIN((uint32_t)asked, BUFFER_MAX);
    return MAX(n * 2, least);
}

static int set_timeout(uint64_t *timeout, const void *value, unsigned len) {
    struct __kernel_sock_timeval tv;
    if (len < sizeof(tv))
        return -EINVAL;
    memcpy(&tv, value, sizeof(tv));
    if (tv.tv_usec < 0 || tv.tv_usec >= 1000000)
        return -EDOM;
    uint64_t ns = UINT64_MAX; // zero: no limit
    if (tv.tv_sec < 0)
        ns = 0;
    else if ((tv.tv_sec || tv.tv_usec) && (uint64_t)tv.tv_sec < INT64_MAX / NSEC_PER_SEC)
        ns = (uint64_t)tv.tv_sec * NSEC_PER_SEC + (uint64_t)tv.tv_usec * 1000;
    WRITE_ONCE(*timeout, ns);
    return 0;
}

static int set_common(struct socket *s, int name, const void *value, unsigned len) {
    if (name == SO_RCVTIMEO_OLD || name == SO_RCVTIMEO_NEW)
        return set_timeout(&s->receive_timeout, value, len);
    if (name == SO_SNDTIMEO_OLD || name == SO_SNDTIMEO_NEW)
        return set_timeout(&s->send_timeout, value, len);
    int v;
    if (len < sizeof(v))
        return -EINVAL;
    memcpy(&v, value, sizeof(v));
    if (is_flag(name)) {
        if (v)
            __atomic_fetch_or(&s->flags, (uint32_t)BIT(name), __ATOMIC_RELAXED);
        else
            __atomic_fetch_and(&s->flags, ~(uint32_t)BIT(name), __ATOMIC_RELAXED);
        return 0;
    }
    switch (name) {
    case SO_SNDBUF:
    case SO_SNDBUFFORCE: WRITE_ONCE(s->send_buffer, buffer_size(v, SEND_MIN)); return 0;
    case SO_RCVBUF:
    case SO_RCVBUFFORCE: WRITE_ONCE(s->receive_buffer, buffer_size(v, RECEIVE_MIN)); return 0;
    case SO_PRIORITY: s->priority = v; return 0;
    case SO_LINGER:
        if (len < sizeof(s->linger))
            return -EINVAL;
        memcpy(s->linger, value, sizeof(s->linger));
        s->linger[0] = !!s->linger[0];
        return 0;
    case SO_TYPE:
    case SO_DOMAIN:
    case SO_PROTOCOL:
    case SO_ERROR:
    case SO_ACCEPTCONN: return -ENOPROTOOPT; // can only be asked
    }
    return 1; // not common
}

static int put_value(void *to, unsigned *len, const void *value, unsigned size) {
    *len = MIN(*len, size);
    memcpy(to, value, *len);
    return 0;
}

static int get_timeout(uint64_t timeout, void *value, unsigned *len) {
    if (timeout == UINT64_MAX)
        timeout = 0;
    struct __kernel_sock_timeval tv = {timeout / NSEC_PER_SEC, timeout % NSEC_PER_SEC / 1000};
    return put_value(value, len, &tv, sizeof(tv));
}

static int get_common(struct socket *s, int name, void *value, unsigned *len) {
    int v;
    if (is_flag(name)) {
        v = socket_flag(s, name);
        return put_value(value, len, &v, sizeof(v));
    }
    switch (name) {
    case SO_RCVTIMEO_OLD:
    case SO_RCVTIMEO_NEW: return get_timeout(s->receive_timeout, value, len);
    case SO_SNDTIMEO_OLD:
    case SO_SNDTIMEO_NEW: return get_timeout(s->send_timeout, value, len);
    case SO_LINGER: return put_value(value, len, s->linger, sizeof(s->linger));
    case SO_TYPE: v = s->type; break;
    case SO_DOMAIN: v = s->family; break;
    case SO_PROTOCOL: v = s->protocol; break;
    case SO_ERROR: v = s->ops->take_error ? s->ops->take_error(s) : 0; break;
    case SO_SNDBUF: v = s->send_buffer; break;
    case SO_RCVBUF: v = s->receive_buffer; break;
    case SO_PRIORITY: v = s->priority; break;
    case SO_RCVLOWAT:
    case SO_SNDLOWAT: v = 1; break;
    default: return 1;
    }
    return put_value(value, len, &v, sizeof(v));
}

static int set_option(struct socket *s, int level, int name, const void __user *user, int len) {
    char value[OPTION_MAX] aligned_to(8);
    if (len < 0)
        return -EINVAL;
    unsigned n = MIN((unsigned)len, OPTION_MAX);
    if (copy_from_user(value, user, n))
        return -EFAULT;
    int ret = level == SOL_SOCKET ? set_common(s, name, value, n) : 1;
    if (ret == 1)
        ret = s->ops->set_option ? s->ops->set_option(s, level, name, value, n) : -ENOPROTOOPT;
    return ret;
}

static int get_option(struct socket *s, int level, int name, void __user *user,
                      int __user *user_len) {
    char value[OPTION_MAX] aligned_to(8);
    int room;
    if (get_user(room, user_len))
        return -EFAULT;
    if (room < 0)
        return -EINVAL;
    unsigned len = MIN((unsigned)room, OPTION_MAX);
    int ret = level == SOL_SOCKET ? get_common(s, name, value, &len) : 1;
    if (ret == 1)
        ret = s->ops->get_option ? s->ops->get_option(s, level, name, value, &len) : -ENOPROTOOPT;
    if (ret)
        return ret;
    if (copy_to_user(user, value, len))
        return -EFAULT;
    return put_user((int)len, user_len);
}

long sys_setsockopt(int fd, int level, int name, const void __user *value, int len) {
    struct file *f;
    struct socket *s = socket_get(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    int ret = set_option(s, level, name, value, len);
    file_put(f);
    return ret;
}

long sys_getsockopt(int fd, int level, int name, void __user *value, int __user *len) {
    struct file *f;
    struct socket *s = socket_get(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    int ret = get_option(s, level, name, value, len);
    file_put(f);
    return ret;
}
