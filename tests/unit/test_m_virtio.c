/* sources: vmm/machine/virtio.c vmm/machine/virtqueue.c vmm/machine/virtio_blk.c vmm/machine/virtio_console.c vmm/machine/virtio_rng.c vmm/machine/disk.c vmm/machine/pci.c vmm/machine/msix.c vmm/machine/chipset.c vmm/machine/bus.c vmm/machine/vtime.c vmm/machine/device.c vmm/machine/state.c tests/unit/machine_host.c */
// PCI and virtio with a small driver: enumeration, feature negotiation, requests, interrupts, and rings
// that break the rules.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include "machine_host.h"
#include "vmm/machine/chipset.h"
#include "vmm/machine/disk.h"
#include "vmm/machine/pci.h"
#include "vmm/machine/virtio_blk.h"
#include "vmm/machine/virtio_console.h"
#include "vmm/machine/virtio_rng.h"

enum { BLK = 2, CONSOLE = 3, RNG = 4 }; // slots
enum { COMMON = 0, ISR = 0x1000, DEVICE = 0x2000, NOTIFY = 0x3000 };
enum {
    DESC = 0x10000,
    AVAIL = 0x11000,
    USED = 0x12000,
    TABLE = 0x13000,
    HEADER = 0x14000,
    STATUS = 0x14100
};
enum { DATA = 0x20000, DISK_SECTORS = 64 };
#define VERSION_1 (1ull << VIRTIO_F_VERSION_1)
#define INDIRECT  (1ull << VIRTIO_RING_F_INDIRECT_DESC)
#define EVENT_IDX (1ull << VIRTIO_RING_F_EVENT_IDX)

static char image[] = "/tmp/test_m_virtio.XXXXXX";
static struct disk *disk;
static unsigned slot; // of the device under test
static unsigned queue_size;
static uint16_t available; // index of the driver

static int make_image(void **state) {
    (void)state;
    int fd = mkstemp(image);
    uint8_t sector[512];
    for (unsigned i = 0; i < DISK_SECTORS; i++) {
        memset(sector, (int)i, sizeof(sector));
        if (write(fd, sector, sizeof(sector)) != sizeof(sector))
            return -1;
    }
    return close(fd);
}

static int remove_image(void **state) {
    (void)state;
    return unlink(image);
}

static int start(void **state) {
    (void)state;
    char error[256];
    struct machine *m = host_create();
    disk = disk_open(m, &(struct disk_options){.path = image, .mode = DISK_PRIVATE}, error,
                     sizeof(error));
    assert_non_null(disk);
    pci_create(m);
    chipset_create(m);
    virtio_blk_create(m, disk);
    virtio_console_create(m, host_output);
    virtio_rng_create(m);
    host_reset();
    return 0;
}

static int end(void **state) {
    (void)state;
    host_reset(); // requests in flight hold buffers
    disk_close(disk);
    return 0;
}

// ---- a driver ----------------------------------------------------------------------------------
static uint64_t bar(void) {
    return pci_config_read(slot, 0, PCI_BASE_ADDRESS_0, 4) & ~15u;
}
static uint32_t get(unsigned offset, unsigned width) {
    return (uint32_t)bus_read(&host.machine, BUS_MEMORY, bar() + offset, width);
}
static void put(unsigned offset, unsigned width, uint64_t value) {
    bus_write(&host.machine, BUS_MEMORY, bar() + offset, width, value);
}
static uint8_t *ram(uint64_t gpa) {
    return host.machine.ram + gpa;
}
static struct vring_desc *desc(unsigned i) {
    return (struct vring_desc *)ram(DESC) + i;
}
static uint16_t *avail(void) {
    return (uint16_t *)ram(AVAIL);
}
static uint16_t used_index(void) {
    return ((uint16_t *)ram(USED))[1];
}
static struct vring_used_elem *used(unsigned i) {
    return (struct vring_used_elem *)ram(USED + 4) + i;
}
static uint8_t status(void) {
    return (uint8_t)get(VIRTIO_PCI_COMMON_STATUS, 1);
}

static void set_up_queue(unsigned q) {
    put(VIRTIO_PCI_COMMON_Q_SELECT, 2, q);
    queue_size = get(VIRTIO_PCI_COMMON_Q_SIZE, 2);
    put(VIRTIO_PCI_COMMON_Q_DESCLO, 4, DESC);
    put(VIRTIO_PCI_COMMON_Q_AVAILLO, 4, AVAIL);
    put(VIRTIO_PCI_COMMON_Q_USEDLO, 4, USED);
    put(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

static void negotiate(uint64_t features) {
    put(VIRTIO_PCI_COMMON_STATUS, 1, 0);
    put(VIRTIO_PCI_COMMON_STATUS, 1, 3);
    put(VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
    put(VIRTIO_PCI_COMMON_GF, 4, (uint32_t)features);
    put(VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
    put(VIRTIO_PCI_COMMON_GF, 4, features >> 32);
    put(VIRTIO_PCI_COMMON_STATUS, 1, 3 | VIRTIO_CONFIG_S_FEATURES_OK);
}

static void attach(unsigned s, unsigned q, uint64_t features) {
    slot = s;
    available = 0;
    memset(ram(DESC), 0, 0x5000);
    pci_config_write(slot, 0, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    negotiate(features);
    assert_true(status() & VIRTIO_CONFIG_S_FEATURES_OK);
    set_up_queue(q);
    put(VIRTIO_PCI_COMMON_STATUS, 1, 7 | VIRTIO_CONFIG_S_FEATURES_OK);
    assert_int_equal(status(), 15);
}

static void describe(unsigned i, uint64_t address, uint32_t length, uint16_t flags) {
    *desc(i) = (struct vring_desc){
        .addr = address, .len = length, .flags = flags, .next = (uint16_t)(i + 1)};
}

static void offer(unsigned q, uint16_t head) {
    avail()[2 + available % queue_size] = head;
    avail()[1] = ++available;
    put(NOTIFY + 4 * q, 2, q);
}

static void block_request(uint32_t type, uint64_t sector, uint32_t length) {
    const struct virtio_blk_outhdr h = {.type = type, .sector = sector};
    memcpy(ram(HEADER), &h, sizeof(h));
    *ram(STATUS) = 0xee;
    unsigned n = 0;
    describe(n++, HEADER, sizeof(h), VRING_DESC_F_NEXT);
    if (length)
        describe(n++, DATA, length, VRING_DESC_F_NEXT | (type & 1 ? 0 : VRING_DESC_F_WRITE));
    describe(n++, STATUS, 1, VRING_DESC_F_WRITE);
    offer(0, 0);
}

// ---- PCI ---------------------------------------------------------------------------------------
static void enumeration(void **state) {
    (void)state;
    assert_int_equal(pci_config_read(0, 0, 0, 4), 0x12378086);
    assert_int_equal(pci_config_read(1, 0, 0, 4), 0x70008086);
    assert_int_equal(pci_config_read(1, 0, PCI_HEADER_TYPE, 1), 0x80);
    assert_int_equal(pci_config_read(BLK, 0, 0, 4), 0x10421af4);
    assert_int_equal(pci_config_read(CONSOLE, 0, 0, 4), 0x10431af4);
    assert_int_equal(pci_config_read(RNG, 0, 0, 4), 0x10441af4);
    assert_int_equal(pci_config_read(5, 0, 0, 4), 0xffffffff);
    assert_int_equal(pci_config_read(BLK, 1, 0, 4), 0xffffffff);
    assert_int_equal(pci_config_read(BLK, 0, PCI_CLASS_DEVICE, 2), 0x0100);
    assert_int_equal(pci_config_read(BLK, 0, PCI_INTERRUPT_LINE, 1), 10);
    assert_int_equal(pci_config_read(CONSOLE, 0, PCI_INTERRUPT_LINE, 1), 11);
    out32(0xcf8, 0x80010000); // bus 1
    assert_int_equal(in32(0xcfc), 0xffffffff);
    assert_int_equal(in32(0xcf8), 0x80010000);
    out8(0xcf9, 6);
    assert_int_equal(host.machine.end, MACHINE_RESET);
    assert_int_equal(in32(0xcf8), 0x80010000);
}

static void base_addresses(void **state) {
    (void)state;
    slot = BLK;
    uint32_t old = pci_config_read(slot, 0, PCI_BASE_ADDRESS_0, 4);
    assert_true(old >= PCI_MEMORY_WINDOW);
    assert_int_equal(get(VIRTIO_PCI_COMMON_NUMQ, 2), 1);
    pci_config_write(slot, 0, PCI_BASE_ADDRESS_0, 4, 0xffffffff);
    assert_int_equal(pci_config_read(slot, 0, PCI_BASE_ADDRESS_0, 4), 0xffffc000);
    pci_config_write(slot, 0, PCI_BASE_ADDRESS_0, 4, 0xd0000123);
    assert_int_equal(pci_config_read(slot, 0, PCI_BASE_ADDRESS_0, 4), 0xd0000000);
    assert_int_equal(get(VIRTIO_PCI_COMMON_NUMQ, 2), 1);
    assert_int_equal(bus_read(&host.machine, BUS_MEMORY, old + VIRTIO_PCI_COMMON_NUMQ, 2), 0xffff);
    pci_config_write(slot, 0, PCI_COMMAND, 2, 0);
    assert_int_equal(get(VIRTIO_PCI_COMMON_NUMQ, 2), 0xffff);
    pci_config_write(slot, 0, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    assert_true(host_round_trip());
    assert_int_equal(bar(), 0xd0000000);
    assert_int_equal(get(VIRTIO_PCI_COMMON_NUMQ, 2), 1);
}

static unsigned find_capability(uint8_t type) {
    for (unsigned at = pci_config_read(slot, 0, PCI_CAPABILITY_LIST, 1); at;
         at = pci_config_read(slot, 0, at + 1, 1))
        if (pci_config_read(slot, 0, at, 1) == PCI_CAP_ID_VNDR &&
            pci_config_read(slot, 0, at + 3, 1) == type)
            return at;
    return 0;
}

static void configuration_window(void **state) {
    (void)state;
    slot = BLK;
    unsigned cap = find_capability(VIRTIO_PCI_CAP_PCI_CFG);
    assert_true(cap);
    pci_config_write(slot, 0, cap + 8, 4, DEVICE); // capacity
    pci_config_write(slot, 0, cap + 12, 4, 4);
    assert_int_equal(pci_config_read(slot, 0, cap + 16, 4), DISK_SECTORS);
    pci_config_write(slot, 0, cap + 8, 4, VIRTIO_PCI_COMMON_STATUS);
    pci_config_write(slot, 0, cap + 12, 4, 1);
    pci_config_write(slot, 0, cap + 16, 1, 3);
    assert_int_equal(status(), 3);
    pci_config_write(slot, 0, cap + 8, 4, 0xfffffffc); // outside
    pci_config_write(slot, 0, cap + 16, 1, 0);
    assert_int_equal(status(), 3);
}

// ---- transport ---------------------------------------------------------------------------------
static void negotiation(void **state) {
    (void)state;
    slot = BLK;
    put(VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
    assert_int_equal(get(VIRTIO_PCI_COMMON_DF, 4), 1);
    put(VIRTIO_PCI_COMMON_DFSELECT, 4, 2);
    assert_int_equal(get(VIRTIO_PCI_COMMON_DF, 4), 0);
    negotiate(0); // a legacy driver
    assert_false(status() & VIRTIO_CONFIG_S_FEATURES_OK);
    negotiate(VERSION_1 | 1ull << 40); // not offered
    assert_false(status() & VIRTIO_CONFIG_S_FEATURES_OK);
    put(VIRTIO_PCI_COMMON_STATUS, 1, 15); // cannot go on without
    assert_false(status() & VIRTIO_CONFIG_S_DRIVER_OK);
    negotiate(VERSION_1);
    assert_true(status() & VIRTIO_CONFIG_S_FEATURES_OK);
    put(VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
    put(VIRTIO_PCI_COMMON_Q_SIZE, 2, 100); // not a power of two
    assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 128);
    put(VIRTIO_PCI_COMMON_Q_SIZE, 2, 64);
    assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 64);
    put(VIRTIO_PCI_COMMON_Q_SELECT, 2, 7);
    assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
}

static void reads_a_sector(void **state) {
    (void)state;
    attach(BLK, 0, VERSION_1);
    block_request(VIRTIO_BLK_T_IN, 5, 1024);
    assert_int_equal(used_index(), 0);
    assert_int_equal(*ram(DATA), 0); // nothing is visible before its time
    host_advance(VIRTIO_BLK_LATENCY_NS - 1);
    assert_int_equal(used_index(), 0);
    host_advance(1);
    assert_int_equal(used_index(), 1);
    assert_int_equal(used(0)->len, 1025);
    assert_int_equal(*ram(STATUS), VIRTIO_BLK_S_OK);
    assert_int_equal(ram(DATA)[511], 5);
    assert_int_equal(ram(DATA)[512], 6);
    assert_true(host.level[10]);
    assert_int_equal(pci_config_read(BLK, 0, PCI_STATUS, 1) & PCI_STATUS_INTERRUPT,
                     PCI_STATUS_INTERRUPT);
    assert_int_equal(get(ISR, 1), 1);
    assert_false(host.level[10]);
    assert_int_equal(get(ISR, 1), 0);
}

static void writes_and_flushes(void **state) {
    (void)state;
    uint8_t sector[512];
    attach(BLK, 0, VERSION_1);
    memset(ram(DATA), 0xab, 512);
    block_request(VIRTIO_BLK_T_OUT, 9, 512);
    host_advance(VIRTIO_BLK_LATENCY_NS);
    assert_int_equal(*ram(STATUS), VIRTIO_BLK_S_OK);
    assert_int_equal(disk_read(disk, 9, 1, sector), 0);
    assert_int_equal(sector[77], 0xab);
    assert_int_equal(disk_read(disk, 8, 1, sector), 0);
    assert_int_equal(sector[77], 8);
    block_request(VIRTIO_BLK_T_FLUSH, 0, 0);
    host_advance(VIRTIO_BLK_LATENCY_NS);
    assert_int_equal(*ram(STATUS), VIRTIO_BLK_S_OK);
    block_request(VIRTIO_BLK_T_IN, DISK_SECTORS - 1, 1024); // past the end
    host_advance(VIRTIO_BLK_LATENCY_NS);
    assert_int_equal(*ram(STATUS), VIRTIO_BLK_S_IOERR);
    block_request(VIRTIO_BLK_T_GET_ID, 0, 20);
    host_advance(VIRTIO_BLK_LATENCY_NS);
    assert_string_equal((char *)ram(DATA), "chronovisor-0");
    block_request(1000, 0, 20);
    host_advance(VIRTIO_BLK_LATENCY_NS);
    assert_int_equal(*ram(STATUS), VIRTIO_BLK_S_UNSUPP);
    const struct virtio_blk_discard_write_zeroes range = {.sector = 8, .num_sectors = 3};
    memcpy(ram(DATA), &range, sizeof(range));
    block_request(VIRTIO_BLK_T_WRITE_ZEROES, 0, sizeof(range));
    host_advance(VIRTIO_BLK_LATENCY_NS);
    assert_int_equal(*ram(STATUS), VIRTIO_BLK_S_OK);
    assert_int_equal(disk_read(disk, 10, 1, sector), 0);
    assert_int_equal(sector[511], 0);
}

static void indirect_descriptors(void **state) {
    (void)state;
    attach(BLK, 0, VERSION_1 | INDIRECT);
    const struct virtio_blk_outhdr h = {.type = VIRTIO_BLK_T_IN, .sector = 3};
    memcpy(ram(HEADER), &h, sizeof(h));
    struct vring_desc *t = (struct vring_desc *)ram(TABLE);
    t[0] = (struct vring_desc){.addr = HEADER, .len = 10, .flags = VRING_DESC_F_NEXT, .next = 2};
    t[2] = (struct vring_desc){
        .addr = HEADER + 10, .len = 6, .flags = VRING_DESC_F_NEXT, .next = 1};
    t[1] = (struct vring_desc){.addr = DATA, .len = 513, .flags = VRING_DESC_F_WRITE};
    describe(0, TABLE, 3 * 16, VRING_DESC_F_INDIRECT);
    offer(0, 0);
    host_advance(VIRTIO_BLK_LATENCY_NS);
    assert_int_equal(used_index(), 1);
    assert_int_equal(ram(DATA)[511], 3);
    assert_int_equal(ram(DATA)[512], VIRTIO_BLK_S_OK);
}

static void event_index(void **state) {
    (void)state;
    attach(BLK, 0, VERSION_1 | EVENT_IDX);
    uint16_t *used_event = &avail()[2 + queue_size];
    *used_event = 1; // interrupt when the second is done
    block_request(VIRTIO_BLK_T_FLUSH, 0, 0);
    host_advance(VIRTIO_BLK_LATENCY_NS);
    assert_int_equal(used_index(), 1);
    assert_false(host.level[10]);
    assert_int_equal(*(uint16_t *)used((unsigned)queue_size),
                     1); // avail_event: tell me of the next
    block_request(VIRTIO_BLK_T_FLUSH, 0, 0);
    host_advance(VIRTIO_BLK_LATENCY_NS);
    assert_true(host.level[10]);
}

static void no_interrupt_flag(void **state) {
    (void)state;
    attach(BLK, 0, VERSION_1);
    avail()[0] = VRING_AVAIL_F_NO_INTERRUPT;
    block_request(VIRTIO_BLK_T_FLUSH, 0, 0);
    host_advance(VIRTIO_BLK_LATENCY_NS);
    assert_int_equal(used_index(), 1);
    assert_false(host.level[10]);
}

static void msix_vectors(void **state) {
    (void)state;
    attach(BLK, 0, VERSION_1);
    unsigned cap = pci_config_read(slot, 0, PCI_CAPABILITY_LIST, 1);
    while (pci_config_read(slot, 0, cap, 1) != PCI_CAP_ID_MSIX)
        cap = pci_config_read(slot, 0, cap + 1, 1);
    assert_int_equal(pci_config_read(slot, 0, cap + PCI_MSIX_FLAGS, 2), 1); // two vectors
    uint64_t table = pci_config_read(slot, 0, PCI_BASE_ADDRESS_1, 4);
    struct machine *m = &host.machine;
    bus_write(m, BUS_MEMORY, table + 16, 8, 0xfee00000);
    bus_write(m, BUS_MEMORY, table + 24, 4, 0x41);
    pci_config_write(slot, 0, cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
    put(VIRTIO_PCI_COMMON_Q_MSIX, 2, 9);
    assert_int_equal(get(VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
    put(VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
    block_request(VIRTIO_BLK_T_FLUSH, 0, 0);
    host_advance(VIRTIO_BLK_LATENCY_NS);
    assert_int_equal(host.messages, 0); // masked
    assert_int_equal(bus_read(m, BUS_MEMORY, table + 0x800, 8), 2);
    assert_true(host_round_trip());
    bus_write(m, BUS_MEMORY, table + 28, 4, 0);
    assert_int_equal(host.messages, 1);
    assert_int_equal(host.message[0].address, 0xfee00000);
    assert_int_equal(host.message[0].data, 0x41);
    assert_int_equal(bus_read(m, BUS_MEMORY, table + 0x800, 8), 0);
    assert_false(host.level[10]);
}

static void console(void **state) {
    (void)state;
    attach(CONSOLE, 1, VERSION_1);
    memcpy(ram(DATA), "hello world", 11);
    describe(0, DATA, 5, VRING_DESC_F_NEXT);
    describe(1, DATA + 5, 6, 0);
    offer(1, 0);
    assert_string_equal(host.sent, "hello world");
    assert_int_equal(used_index(), 1);

    attach(CONSOLE, 0, VERSION_1);
    assert_int_equal(host_input("console", "abc", 3), 0); // no buffer yet
    describe(0, DATA, 2, VRING_DESC_F_WRITE);
    offer(0, 0);
    assert_int_equal(host_input("console", "abc", 3), 2);
    assert_int_equal(used(0)->len, 2);
    assert_memory_equal(ram(DATA), "ab", 2);
}

static void entropy(void **state) {
    (void)state;
    attach(RNG, 0, VERSION_1);
    describe(0, DATA, 8, VRING_DESC_F_WRITE);
    offer(0, 0);
    assert_int_equal(used(0)->len, 8);
    assert_int_equal(ram(DATA)[7], 7);
}

static void pending_requests_are_state(void **state) {
    (void)state;
    attach(BLK, 0, VERSION_1);
    block_request(VIRTIO_BLK_T_IN, 5, 512);
    host_advance(100);
    assert_true(host_round_trip());
    assert_int_equal(used_index(), 0);
    host_advance(VIRTIO_BLK_LATENCY_NS);
    assert_int_equal(used_index(), 1);
    assert_int_equal(ram(DATA)[100], 5);
}

// ---- rings that break the rules ----------------------------------------------------------------
static void broken(void (*make)(void)) {
    attach(BLK, 0, VERSION_1 | INDIRECT);
    make();
    host_advance(VIRTIO_BLK_LATENCY_NS);
    assert_true(status() & VIRTIO_CONFIG_S_NEEDS_RESET);
    assert_true(host.level[10]);
    assert_int_equal(get(ISR, 1) & 2, 2); // configuration change
    attach(BLK, 0, VERSION_1);            // a reset heals it
    block_request(VIRTIO_BLK_T_FLUSH, 0, 0);
    host_advance(VIRTIO_BLK_LATENCY_NS);
    assert_int_equal(used_index(), 1);
}

static void loop_of_descriptors(void) {
    describe(0, DATA, 16, VRING_DESC_F_NEXT);
    describe(1, DATA, 16, VRING_DESC_F_NEXT);
    desc(1)->next = 0;
    offer(0, 0);
}
static void head_outside(void) {
    offer(0, 200);
}
static void next_outside(void) {
    describe(0, DATA, 16, VRING_DESC_F_NEXT);
    desc(0)->next = 4000;
    offer(0, 0);
}
static void outside_memory(void) {
    describe(0, HOST_RAM - 8, 16, VRING_DESC_F_NEXT);
    describe(1, STATUS, 1, VRING_DESC_F_WRITE);
    offer(0, 0);
}
static void wrapping_address(void) {
    describe(0, UINT64_MAX - 3, 16, VRING_DESC_F_NEXT);
    describe(1, STATUS, 1, VRING_DESC_F_WRITE);
    offer(0, 0);
}
static void no_status(void) {
    describe(0, HEADER, 16, 0);
    offer(0, 0);
}
static void short_header(void) {
    describe(0, HEADER, 15, VRING_DESC_F_NEXT);
    describe(1, STATUS, 1, VRING_DESC_F_WRITE);
    offer(0, 0);
}
static void readable_after_writable(void) {
    describe(0, HEADER, 16, VRING_DESC_F_NEXT);
    describe(1, STATUS, 1, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT);
    describe(2, DATA, 1, 0);
    offer(0, 0);
}
static void empty_segment(void) {
    describe(0, HEADER, 0, 0);
    offer(0, 0);
}
static void index_too_far(void) {
    available = 1000;
    offer(0, 0);
}
static void nested_tables(void) {
    describe(0, TABLE, 16, VRING_DESC_F_INDIRECT);
    *(struct vring_desc *)ram(TABLE) = *desc(0);
    offer(0, 0);
}
static void odd_table(void) {
    describe(0, TABLE, 17, VRING_DESC_F_INDIRECT);
    offer(0, 0);
}
static void huge_table(void) {
    describe(0, TABLE, 0xfffffff0, VRING_DESC_F_INDIRECT);
    offer(0, 0);
}
static void changed_meanwhile(void) {
    block_request(VIRTIO_BLK_T_IN, 5, 512);
    desc(1)->len = 16;
}
static void bus_mastering_off(void) {
    pci_config_write(BLK, 0, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    offer(0, 0);
}

static void malformed_rings(void **state) {
    (void)state;
    void (*const makers[])(void) = {
        loop_of_descriptors, head_outside,      next_outside,      outside_memory,
        wrapping_address,    no_status,         short_header,      readable_after_writable,
        empty_segment,       index_too_far,     nested_tables,     odd_table,
        huge_table,          changed_meanwhile, bus_mastering_off,
    };
    for (unsigned i = 0; i < sizeof(makers) / sizeof(makers[0]); i++)
        broken(makers[i]);
}

static void misaligned_ring(void **state) {
    (void)state;
    slot = BLK;
    negotiate(VERSION_1);
    put(VIRTIO_PCI_COMMON_Q_DESCLO, 4, DESC + 8);
    put(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    assert_int_equal(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
    assert_true(status() & VIRTIO_CONFIG_S_NEEDS_RESET);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, end)
    const struct CMUnitTest tests[] = {
        TEST(enumeration),
        TEST(base_addresses),
        TEST(configuration_window),
        TEST(negotiation),
        TEST(reads_a_sector),
        TEST(writes_and_flushes),
        TEST(indirect_descriptors),
        TEST(event_index),
        TEST(no_interrupt_flag),
        TEST(msix_vectors),
        TEST(console),
        TEST(entropy),
        TEST(pending_requests_are_state),
        TEST(malformed_rings),
        TEST(misaligned_ring),
    };
    return cmocka_run_group_tests(tests, make_image, remove_image);
}
