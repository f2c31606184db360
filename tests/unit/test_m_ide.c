/* sources: vmm/machine/ide.c vmm/machine/ide_command.c vmm/machine/ide_identify.c vmm/machine/ide_dma.c vmm/machine/disk.c vmm/machine/pci.c vmm/machine/chipset.c vmm/machine/bus.c vmm/machine/vtime.c vmm/machine/device.c vmm/machine/state.c tests/unit/machine_host.c */
// The IDE controller as drivers use it, from a teaching kernel's polling to bus-master DMA, and what
// drivers should not do.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "machine_host.h"
#include "vmm/machine/chipset.h"
#include "vmm/machine/ide_internal.h"

enum { BASE = 0x1f0, CONTROL = 0x3f6, IRQ = 14, PRD = 0x1000, DATA = 0x10000, SECTORS = 4096 };
enum { R_DATA, R_ERROR, R_COUNT, R_LOW, R_MID, R_HIGH, R_DEVICE, R_STATUS };
enum {
    READ = 0x20,
    READ_EXT = 0x24,
    WRITE = 0x30,
    READ_MULTIPLE = 0xc4,
    READ_DMA = 0xc8,
    WRITE_DMA = 0xca
};

static char image[] = "/tmp/test_m_ide.XXXXXX";
static struct disk *disk;

// Sector n starts with n.
static int make_image(void **state) {
    (void)state;
    int fd = mkstemp(image);
    uint32_t sector[128] = {0};
    for (unsigned i = 0; i < SECTORS; i++) {
        sector[0] = i;
        if (write(fd, sector, sizeof(sector)) != sizeof(sector))
            return -1;
    }
    return close(fd);
}

static int remove_image(void **state) {
    (void)state;
    return unlink(image);
}

static void build(enum disk_mode mode) {
    char error[256];
    struct machine *m = host_create();
    disk = disk_open(m, &(struct disk_options){.path = image, .mode = mode}, error, sizeof(error));
    assert_non_null(disk);
    pci_create(m);
    chipset_create(m);
    ide_create(m, (struct disk *const[4]){disk});
    host_reset();
}

static int start(void **state) {
    (void)state;
    build(DISK_PRIVATE);
    return 0;
}

static int end(void **state) {
    (void)state;
    disk_close(disk);
    return 0;
}

// ---- a driver ----------------------------------------------------------------------------------
static uint8_t get(unsigned r) {
    return in8((uint16_t)(BASE + r));
}
static void put(unsigned r, uint8_t value) {
    out8((uint16_t)(BASE + r), value);
}

// Until the drive is not busy.
static uint8_t wait_ready(void) {
    for (unsigned i = 0; i < 100 && (in8(CONTROL) & ST_BUSY); i++)
        host_advance(1000);
    return in8(CONTROL);
}

static void command28(uint8_t command, uint32_t lba, uint8_t count) {
    put(R_DEVICE, (uint8_t)(0xe0 | lba >> 24));
    put(R_COUNT, count);
    put(R_LOW, (uint8_t)lba);
    put(R_MID, (uint8_t)(lba >> 8));
    put(R_HIGH, (uint8_t)(lba >> 16));
    put(R_STATUS, command);
}

static uint32_t take_sector(void) {
    uint32_t first = in32(BASE);
    for (unsigned i = 4; i < 512; i += 2)
        in16(BASE);
    return first;
}

static void give_sector(uint32_t first) {
    out32(BASE, first);
    for (unsigned i = 4; i < 512; i += 2)
        out16(BASE, 0);
}

static uint32_t on_disk(uint64_t sector) {
    uint32_t data[128];
    assert_int_equal(disk_read(disk, sector, 1, data), 0);
    return data[0];
}

// ---- registers ---------------------------------------------------------------------------------
static void detection(void **state) {
    (void)state;
    assert_int_equal(get(R_STATUS), ST_READY | ST_SEEK);
    put(R_DEVICE, 0xf0);
    assert_int_equal(get(R_STATUS), 0); // no second drive
    put(R_STATUS, 0xec);
    assert_int_equal(wait_ready(), 0);
    put(R_DEVICE, 0xe0);
    out8(CONTROL, CTL_SRST);
    assert_int_equal(in8(CONTROL), ST_BUSY);
    out8(CONTROL, 0);
    assert_int_equal(wait_ready(), ST_READY | ST_SEEK);
    assert_int_equal(get(R_COUNT), 1);
    assert_int_equal(get(R_LOW), 1);
    assert_int_equal(get(R_MID) | get(R_HIGH), 0);
    assert_int_equal(get(R_ERROR), 1);
    assert_int_equal(in8(0x177), 0xff); // the other channel floats
    assert_int_equal(pci_config_read(1, 1, 0, 4), 0x70108086);
    assert_int_equal(pci_config_read(1, 1, PCI_BASE_ADDRESS_4, 4) & 1, 1);
}

static void register_pairs(void **state) {
    (void)state;
    put(R_COUNT, 0x11);
    put(R_COUNT, 0x22);
    assert_int_equal(get(R_COUNT), 0x22);
    out8(CONTROL, CTL_HOB);
    assert_int_equal(get(R_COUNT), 0x11);
    put(R_LOW, 0); // writing returns to the recent ones
    assert_int_equal(get(R_COUNT), 0x22);
}

static void identify(void **state) {
    (void)state;
    uint16_t w[256];
    put(R_STATUS, 0xec);
    assert_int_equal(in8(CONTROL) & ST_BUSY, ST_BUSY);
    assert_int_equal(wait_ready(), ST_READY | ST_SEEK | ST_DRQ);
    assert_true(host.level[IRQ]);
    get(R_STATUS);
    assert_false(host.level[IRQ]);
    uint8_t sum = 0;
    for (unsigned i = 0; i < 256; i++) {
        w[i] = in16(BASE);
        sum += (uint8_t)(w[i] + (w[i] >> 8));
    }
    assert_int_equal(sum, 0);
    assert_int_equal(get(R_STATUS), ST_READY | ST_SEEK);
    assert_int_equal(w[60] | w[61] << 16, SECTORS);
    assert_int_equal(w[100], SECTORS);
    assert_int_equal(w[27], 'C' << 8 | 'h');
    assert_int_equal(w[1] * w[3] * w[6], SECTORS / 1008 * 1008);
    assert_true(w[83] & 1 << 10);
}

static void other_commands(void **state) {
    (void)state;
    put(R_STATUS, 0xa1); // IDENTIFY PACKET DEVICE: it is none
    assert_int_equal(wait_ready(), ST_READY | ST_SEEK | ST_ERR);
    assert_int_equal(get(R_ERROR), ER_ABORT);
    put(R_STATUS, 0xe7);
    assert_int_equal(wait_ready(), ST_READY | ST_SEEK);
    put(R_STATUS, 0xe5);
    wait_ready();
    assert_int_equal(get(R_COUNT), 0xff);
    put(R_ERROR, 3);
    put(R_COUNT, 0x22);
    put(R_STATUS, 0xef);
    assert_int_equal(wait_ready(), ST_READY | ST_SEEK);
    put(R_ERROR, 3);
    put(R_COUNT, 0x77);
    put(R_STATUS, 0xef);
    assert_true(wait_ready() & ST_ERR);
    put(R_STATUS, 0x90);
    assert_int_equal(wait_ready(), ST_READY | ST_SEEK);
    assert_int_equal(get(R_ERROR), 1);
    out8(CONTROL, CTL_NIEN);
    put(R_STATUS, 0xe7);
    wait_ready();
    assert_false(host.level[IRQ]);
    out8(CONTROL, 0);
    assert_true(host.level[IRQ]);
}

// ---- programmed I/O ----------------------------------------------------------------------------
static void reads(void **state) {
    (void)state;
    command28(READ, 100, 3);
    host_advance(IDE_LATENCY_NS - 1);
    assert_int_equal(in8(CONTROL), ST_BUSY | ST_SEEK);
    host_advance(1);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(wait_ready(), ST_READY | ST_SEEK | ST_DRQ);
        assert_int_equal(host.edges[IRQ], i + 1);
        get(R_STATUS);
        assert_int_equal(take_sector(), 100 + i);
    }
    assert_int_equal(wait_ready(), ST_READY | ST_SEEK);
    assert_false(host.level[IRQ]);
    assert_int_equal(in32(BASE), 0); // nothing more
}

static void writes(void **state) {
    (void)state;
    command28(WRITE, 200, 2);
    assert_int_equal(in8(CONTROL), ST_READY | ST_SEEK | ST_DRQ); // at once, without an interrupt
    assert_false(host.level[IRQ]);
    give_sector(0xaaaa);
    assert_int_equal(wait_ready(), ST_READY | ST_SEEK | ST_DRQ);
    assert_true(host.level[IRQ]);
    get(R_STATUS);
    give_sector(0xbbbb);
    assert_int_equal(wait_ready(), ST_READY | ST_SEEK);
    assert_true(host.level[IRQ]);
    assert_int_equal(on_disk(199), 199);
    assert_int_equal(on_disk(200), 0xaaaa);
    assert_int_equal(on_disk(201), 0xbbbb);
    assert_int_equal(on_disk(202), 202);
}

static void reads_multiple(void **state) {
    (void)state;
    command28(READ_MULTIPLE, 20, 6); // as after power-on: in one block
    wait_ready();
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(take_sector(), 20 + i);
    assert_int_equal(in8(CONTROL), ST_READY | ST_SEEK);
    put(R_COUNT, 0);
    put(R_STATUS, 0xc6);
    assert_int_equal(wait_ready(), ST_READY | ST_SEEK);
    command28(READ_MULTIPLE, 0, 6);
    assert_true(wait_ready() & ST_ERR); // disabled
    put(R_COUNT, 3);
    put(R_STATUS, 0xc6);
    assert_true(wait_ready() & ST_ERR); // not a power of two
    put(R_COUNT, 4);
    put(R_STATUS, 0xc6);
    assert_int_equal(wait_ready(), ST_READY | ST_SEEK);
    unsigned edges = host.edges[IRQ];
    get(R_STATUS);
    command28(READ_MULTIPLE, 10, 6);
    wait_ready();
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(take_sector(), 10 + i);
    assert_int_equal(wait_ready(), ST_READY | ST_SEEK | ST_DRQ);
    assert_int_equal(take_sector(), 14);
    assert_int_equal(take_sector(), 15);
    assert_int_equal(in8(CONTROL), ST_READY | ST_SEEK);
    assert_int_equal(host.edges[IRQ], edges + 1); // not acknowledged between: one edge
}

static void addresses(void **state) {
    (void)state;
    put(R_DEVICE, 0xa0 | 3); // CHS 2/3/5: 16 heads, 63 sectors
    put(R_COUNT, 1);
    put(R_LOW, 5);
    put(R_MID, 2);
    put(R_HIGH, 0);
    put(R_STATUS, READ);
    wait_ready();
    assert_int_equal(take_sector(), (2 * 16 + 3) * 63 + 4);
    put(R_DEVICE, 0xa0 | 3);
    put(R_COUNT, 10); // 4 heads, 10 sectors
    put(R_STATUS, 0x91);
    wait_ready();
    put(R_COUNT, 1);
    put(R_STATUS, READ);
    wait_ready();
    assert_int_equal(take_sector(), (2 * 4 + 3) * 10 + 4);
    put(R_LOW, 0); // sectors count from 1
    put(R_STATUS, READ);
    assert_true(wait_ready() & ST_ERR);
    assert_int_equal(get(R_ERROR), ER_ID);
    put(R_DEVICE, 0xe0);
    for (unsigned i = 0; i < 2; i++) { // LBA48, high bytes first
        put(R_COUNT, i ? 1 : 0);
        put(R_LOW, i ? 0x34 : 0);
        put(R_MID, i ? 0x02 : 0);
        put(R_HIGH, 0);
    }
    put(R_STATUS, READ_EXT);
    wait_ready();
    assert_int_equal(take_sector(), 0x234);
    command28(READ, SECTORS - 1, 2);
    assert_true(wait_ready() & ST_ERR);
    command28(READ, SECTORS - 1, 1);
    wait_ready();
    assert_int_equal(take_sector(), SECTORS - 1);
}

static void read_only_disk(void **state) {
    (void)state;
    disk_close(disk);
    build(DISK_READ_ONLY);
    command28(WRITE, 0, 1);
    assert_true(wait_ready() & ST_ERR);
    assert_int_equal(get(R_ERROR), ER_ABORT);
}

// ---- DMA ---------------------------------------------------------------------------------------
static uint16_t master(void) {
    return (uint16_t)(pci_config_read(1, 1, PCI_BASE_ADDRESS_4, 4) & ~3u);
}

static void describe(unsigned i, uint32_t address, uint32_t length, bool last) {
    const uint32_t entry[2] = {address, (length & 0xffff) | (last ? 0x80000000u : 0)};
    memcpy(host.machine.ram + PRD + 8 * i, entry, sizeof(entry));
}

static void start_dma(uint8_t command, uint32_t lba, uint8_t count) {
    pci_config_write(1, 1, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
    out32(master() + 4, PRD);
    out8(master() + 2, 6);
    command28(command, lba, count);
    out8(master(), command == READ_DMA ? 9 : 1);
}

static uint32_t memory(uint32_t address) {
    uint32_t value;
    memcpy(&value, host.machine.ram + address, 4);
    return value;
}

static void dma_reads(void **state) {
    (void)state;
    describe(0, DATA, 512 * 3 + 16, false);
    describe(1, DATA + 0x8000, 512 - 16, true);
    start_dma(READ_DMA, 1000, 4);
    assert_int_equal(in8(master() + 2) & 7, 1);
    assert_int_equal(memory(DATA), 0);
    host_advance(IDE_LATENCY_NS);
    assert_true(host.level[IRQ]);
    assert_int_equal(in8(master() + 2) & 7, 4);
    assert_int_equal(get(R_STATUS), ST_READY | ST_SEEK);
    assert_int_equal(memory(DATA), 1000);
    assert_int_equal(memory(DATA + 3 * 512), 1003);
    out8(master(), 0);
    out8(master() + 2, 4);
    assert_int_equal(in8(master() + 2) & 7, 0);
}

static void dma_writes(void **state) {
    (void)state;
    uint32_t value = 0x12345678;
    memcpy(host.machine.ram + DATA + 512, &value, 4);
    describe(0, DATA, 1024, true);
    start_dma(WRITE_DMA, 50, 2);
    wait_ready();
    assert_int_equal(on_disk(50), 0);
    assert_int_equal(on_disk(51), 0x12345678);
    assert_int_equal(in8(master() + 2) & 7, 4);
}

static void long_dma(void **state) {
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        describe(i, DATA + 0x10000 * i, 0, i == 3); // 64 KB each
    put(R_COUNT, 2);                                // 512 sectors by LBA48
    put(R_COUNT, 0);
    for (unsigned i = 0; i < 2; i++) {
        put(R_LOW, 0);
        put(R_MID, 0);
        put(R_HIGH, 0);
    }
    out32(master() + 4, PRD);
    pci_config_write(1, 1, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
    put(R_DEVICE, 0xe0);
    put(R_STATUS, 0x25);
    out8(master(), 9);
    host_advance(IDE_LATENCY_NS); // in two steps
    assert_int_equal(memory(DATA + 255 * 512), 255);
    assert_int_equal(memory(DATA + 256 * 512), 0);
    assert_true(host_round_trip());
    host_advance(IDE_LATENCY_NS);
    assert_int_equal(memory(DATA + 511 * 512), 511);
    assert_true(host.level[IRQ]);
    assert_int_equal(in8(master() + 2) & 7, 4);
}

static void dma_mistakes(void **state) {
    (void)state;
    describe(0, DATA, 512, true); // too short
    start_dma(READ_DMA, 0, 2);
    host_advance(10 * IDE_LATENCY_NS);
    assert_int_equal(in8(master() + 2) & 7, 0); // not active, no interrupt
    assert_false(host.level[IRQ]);
    out8(master(), 0);
    out8(CONTROL, CTL_SRST);
    out8(CONTROL, 0);
    describe(0, DATA, 0, true); // too long: stays active
    start_dma(READ_DMA, 7, 1);
    host_advance(IDE_LATENCY_NS);
    assert_int_equal(in8(master() + 2) & 7, 5);
    assert_int_equal(memory(DATA), 7);
    out8(master(), 0);
    describe(0, 0xfffffff0, 512, true); // not memory
    start_dma(READ_DMA, 0, 1);
    assert_true(wait_ready() & ST_ERR);
    assert_int_equal(in8(master() + 2) & 7, 6);
    out8(master(), 0);
    pci_config_write(1, 1, PCI_COMMAND, 2, PCI_COMMAND_IO); // not a master
    command28(READ_DMA, 0, 1);
    out8(master(), 9);
    assert_true(wait_ready() & ST_ERR);
}

static void dma_stopped_and_restarted(void **state) {
    (void)state;
    describe(0, DATA, 512, true);
    start_dma(READ_DMA, 9, 1);
    out8(master(), 0);
    host_advance(10 * IDE_LATENCY_NS);
    assert_int_equal(memory(DATA), 0);
    assert_int_equal(in8(CONTROL), ST_READY | ST_SEEK | ST_DRQ);
    out8(master(), 9);
    host_advance(IDE_LATENCY_NS);
    assert_int_equal(memory(DATA), 9);
}

static void state_in_a_transfer(void **state) {
    (void)state;
    command28(READ, 70, 2);
    wait_ready();
    assert_int_equal(in32(BASE), 70);
    assert_true(host_round_trip());
    for (unsigned i = 4; i < 512; i += 2)
        in16(BASE);
    assert_true(host_round_trip());
    wait_ready();
    assert_int_equal(take_sector(), 71);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, end)
    const struct CMUnitTest tests[] = {
        TEST(detection),
        TEST(register_pairs),
        TEST(identify),
        TEST(other_commands),
        TEST(reads),
        TEST(writes),
        TEST(reads_multiple),
        TEST(addresses),
        TEST(read_only_disk),
        TEST(dma_reads),
        TEST(dma_writes),
        TEST(long_dma),
        TEST(dma_mistakes),
        TEST(dma_stopped_and_restarted),
        TEST(state_in_a_transfer),
    };
    return cmocka_run_group_tests(tests, make_image, remove_image);
}
