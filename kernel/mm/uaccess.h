// The only ways to touch user memory from the kernel: the pointer may be bad, the page may have to
// come from disk. They may sleep, so no spin lock may be held. All act on the current space.
#pragma once
#include "lib/compiler.h"

// Copy n bytes. 0, or -EFAULT (some bytes may have been copied).
int copy_from_user(void *dst, const void __user *src, size_t n) must_check;
int copy_to_user(void __user *dst, const void *src, size_t n) must_check;
int clear_user(void __user *dst, size_t n) must_check;
// Copies a string with its zero; returns its length without it, -EFAULT, or -ENAMETOOLONG when it
// does not fit into size bytes.
long strncpy_from_user(char *dst, const char __user *src, size_t size) must_check;
// Atomically for futexes: *old = *addr, and if *old == expected, *addr = desired. 0 or -EFAULT.
int cmpxchg_user(uint32_t __user *addr, uint32_t expected, uint32_t desired,
                 uint32_t *old) must_check;
// A 32-bit load that must not sleep or fault pages in: 0, or -EFAULT when the page is not there.
int get_user_u32_atomic(uint32_t *value, const uint32_t __user *addr) must_check;
// One value of a simple type: get_user(int_variable, int_pointer). 0 or -EFAULT.
#define get_user(var, ptr) copy_from_user(&(var), (ptr), sizeof(var))
#define put_user(val, ptr)                        \
    ({                                            \
        __typeof__(*(ptr)) val_ = (val);          \
        copy_to_user((ptr), &val_, sizeof(val_)); \
    })
// Exception table: entries {faulting address, where to go on}. page_fault() and #GP look here.
struct trap_frame;
bool uaccess_fixup(struct trap_frame *frame);
