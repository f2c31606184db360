#include <string.h>
#include "vmm_mock.h"
#include "mm/space.h"
#include "mm/uaccess.h"

bool mock_lacks[32];
unsigned mock_stage2_flushes;
void (*mock_on_flush)(struct vm *vm, paddr_t root);

static uint64_t rights_bits(unsigned rights) {
    return (rights & ACCESS_READ ? MOCK_READ : 0) | (rights & ACCESS_WRITE ? MOCK_WRITE : 0) |
           (rights & ACCESS_EXEC ? MOCK_EXEC : 0);
}
static uint64_t make(paddr_t pa, unsigned level, unsigned rights, bool leaf, bool uncached) {
    (void)uncached;
    return pa | rights_bits(rights) | (leaf && level > 1 ? MOCK_LARGE : 0);
}
static unsigned rights_of(uint64_t e) {
    return (e & MOCK_READ ? ACCESS_READ : 0) | (e & MOCK_WRITE ? ACCESS_WRITE : 0) |
           (e & MOCK_EXEC ? ACCESS_EXEC : 0);
}
static uint64_t with_rights(uint64_t e, unsigned rights) {
    return (e & ~(MOCK_READ | MOCK_WRITE | MOCK_EXEC)) | rights_bits(rights);
}

static const struct stage2_format format = {
    .make = make,
    .rights = rights_of,
    .with_rights = with_rights,
    .present = MOCK_READ | MOCK_WRITE | MOCK_EXEC,
    .large = MOCK_LARGE,
    .address = MOCK_ADDRESS,
    .write = MOCK_WRITE,
    .accessed = MOCK_ACCESSED,
    .dirty = MOCK_DIRTY,
};

static bool has(enum vmm_ability a) {
    return !mock_lacks[a];
}
static void flush_stage2(struct vm *vm, paddr_t root) {
    mock_stage2_flushes++;
    if (mock_on_flush)
        mock_on_flush(vm, root);
}
static void sync(struct vcpu *v, uint32_t parts) {
    v->stale &= ~parts;
}

const struct vmm_vendor mock_vendor = {
    .name = "mock",
    .stage2 = &format,
    .has = has,
    .flush_stage2 = flush_stage2,
    .sync = sync,
};
__attribute__((weak)) const struct vmm_vendor *vmm_vendor = &mock_vendor;

// User memory is the test's own.
__attribute__((weak)) int copy_from_user(void *dst, const void *src, size_t n) {
    memcpy(dst, src, n);
    return 0;
}
__attribute__((weak)) int copy_to_user(void *dst, const void *src, size_t n) {
    memcpy(dst, src, n);
    return 0;
}
