/* sources: vmm/machine/sums.c vmm/machine/page_sum.c vmm/machine/page_sum_avx2.c vmm/machine/page_sum_avx512.c replay/checks.c vmm/machine/device.c vmm/machine/bus.c vmm/machine/state.c vmm/machine/vtime.c tests/unit/machine_host.c */
// Sums of guest memory that are kept up to date, by a log of writes that a test makes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <cmocka.h>
#include "machine_host.h"
#include "vmm/machine/hash.h"
#include "vmm/machine/sums.h"

static struct machine *m;
static uint64_t written[HOST_RAM / MEMORY_PAGE / 64];
static bool log_fails;

int ioctl(int fd, unsigned long request, ...) {
    va_list ap;
    va_start(ap, request);
    struct kvm_dirty_log *log = va_arg(ap, struct kvm_dirty_log *);
    va_end(ap);
    errno = EIO;
    if (request != KVM_GET_DIRTY_LOG || log_fails)
        return -1;
    memcpy(log->dirty_bitmap, written, sizeof(written));
    memset(written, 0, sizeof(written));
    return 0;
}
uint64_t memory_address(const struct machine *machine, uint64_t offset) {
    return offset;
}

static int setup(void **state) {
    m = host_create();
    m->slot_count = 1;
    m->slots[0].offset = 0;
    m->slots[0].size = HOST_RAM;
    m->sums = sums_create(m, MEMORY_REGION);
    memset(written, 0, sizeof(written));
    log_fails = false;
    return 0;
}

static int teardown(void **state) {
    sums_free(m->sums);
    m->sums = NULL;
    return 0;
}

// The guest writes.
static void write_byte(uint64_t gpa, uint8_t value) {
    m->ram[gpa] = value;
    written[gpa / MEMORY_PAGE / 64] |= 1ull << gpa / MEMORY_PAGE % 64;
}

static void sums_follow_writes(void **state) {
    uint64_t empty = machine_hash_memory(m);
    write_byte(0x1234, 7);
    write_byte(HOST_RAM - 1, 9);
    m->ram[0x5000] = 5; // ours
    sums_note(m->sums, 0x5000, 1);
    uint64_t kept = machine_hash_memory(m);
    assert_int_not_equal(kept, empty);
    sums_verify(m->sums);
    assert_false(sums_failed(m->sums));
    struct sums *own = m->sums;
    m->sums = NULL; // all of it anew
    assert_int_equal(machine_hash_memory(m), kept);
    m->sums = own;
    memset(m->ram, 0, HOST_RAM);
    sums_note_cleared(m->sums);
    assert_int_equal(machine_hash_memory(m), empty);
}

static void wrong_sums_stop_the_machine(void **state) {
    size_t count;
    m->ram[0x3000] = 1; // nobody said so
    sums_now(m->sums, &count);
    assert_int_equal(count, HOST_RAM / MEMORY_REGION);
    sums_verify(m->sums);
    assert_int_equal(m->end, MACHINE_FAILED);
    assert_string_equal(m->end_reason,
                        "a sum of memory is not that of its contents: the page at 0x3000");
    assert_true(sums_failed(m->sums));
}

// The last sums are made when the machine has ended.
static void wrong_sums_at_the_end_are_told(void **state) {
    size_t count;
    m->end = MACHINE_POWERED_OFF;
    unsigned messages = host.log_count;
    log_fails = true;
    sums_now(m->sums, &count);
    assert_int_equal(host.log_count, messages + 1);
    assert_string_equal(host.log, "KVM does not say which memory was written: Input/output error");
    assert_true(sums_failed(m->sums));
    m->ram[0x3000] = 1;
    sums_verify(m->sums);
    assert_int_equal(host.log_count, messages + 1); // once
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sums_follow_writes, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_sums_stop_the_machine, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_sums_at_the_end_are_told, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
