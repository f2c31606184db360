// syslog(2): reading the kernel log, as dmesg does.
#include "lib/errno.h"
#include "lib/log.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "proc/process.h"
#include "syscall/syscall.h"

// Types of klogctl(3).
enum {
    LOG_CLOSE = 0,
    LOG_OPEN = 1,
    LOG_READ = 2,
    LOG_READ_ALL = 3,
    LOG_READ_CLEAR = 4,
    LOG_CLEAR = 5,
    LOG_CONSOLE_OFF = 6,
    LOG_CONSOLE_ON = 7,
    LOG_CONSOLE_LEVEL = 8,
    LOG_UNREAD = 9,
    LOG_SIZE = 10,
};

#define LOG_BYTES (64 * KIB) // what readers are told to provide
#define CHUNK     1024

static uint64_t cleared; // position up to which LOG_CLEAR has hidden the log
static uint64_t unread;  // position of LOG_READ

static long copy_log(uint64_t *pos, char __user *buf, size_t size, char *chunk) {
    size_t done = 0, n;
    while (done < size && (n = log_read(pos, chunk, MIN(size - done, (size_t)CHUNK))) != 0) {
        if (copy_to_user(buf + done, chunk, n))
            return -EFAULT;
        done += n;
    }
    return (long)done;
}

static long read_log(int type, char __user *buf, size_t size) {
    char *chunk = kmalloc(CHUNK);
    if (!chunk)
        return -ENOMEM;
    long result;
    uint64_t end = log_end();
    if (type == LOG_READ) {
        result = copy_log(&unread, buf, size, chunk);
    } else if (type == LOG_UNREAD) {
        result = (long)(end - unread);
    } else if (type == LOG_CLEAR) {
        result = 0;
    } else { // the last `size` bytes
        uint64_t pos = end - cleared > size ? end - size : cleared;
        result = copy_log(&pos, buf, size, chunk);
    }
    if (result >= 0 && (type == LOG_CLEAR || type == LOG_READ_CLEAR))
        cleared = end;
    kfree(chunk);
    return result;
}

long sys_syslog(int type, char __user *buf, int size) {
    switch (type) {
    case LOG_CLOSE:
    case LOG_OPEN: return 0;
    case LOG_READ:
    case LOG_READ_ALL:
    case LOG_READ_CLEAR:
        if (!buf || size < 0)
            return -EINVAL;
        return read_log(type, buf, (size_t)size);
    case LOG_CLEAR:
    case LOG_UNREAD: return read_log(type, NULL, 0);
    case LOG_CONSOLE_OFF: log_set_level(LOG_ERROR); return 0;
    case LOG_CONSOLE_ON: log_set_level(LOG_INFO); return 0;
    case LOG_CONSOLE_LEVEL:
        if (size < 1 || size > 8)
            return -EINVAL;
        log_set_level((enum log_level)(size - 1)); // Linux shows what is below the number
        return 0;
    case LOG_SIZE: return (long)LOG_BYTES;
    default: return -EINVAL;
    }
}
