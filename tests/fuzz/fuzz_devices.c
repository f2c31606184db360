/* sources: vmm/machine/uart.c vmm/machine/pci.c vmm/machine/chipset.c vmm/machine/msix.c vmm/machine/virtio.c vmm/machine/virtqueue.c vmm/machine/virtio_blk.c vmm/machine/virtio_console.c vmm/machine/virtio_rng.c vmm/machine/disk.c vmm/machine/ide.c vmm/machine/ide_command.c vmm/machine/ide_identify.c vmm/machine/ide_dma.c vmm/machine/ps2.c vmm/machine/ps2_keyboard.c vmm/machine/ps2_mouse.c vmm/machine/typing.c vmm/machine/vga.c vmm/machine/vga_text.c vmm/machine/ports.c vmm/machine/bus.c vmm/machine/vtime.c vmm/machine/device.c vmm/machine/state.c tests/unit/machine_host.c */
// A hostile guest against the devices: any access to any register, rings and DMA tables with anything
// in them, input at any time. The sanitizers watch; and a saved and loaded machine must be the same.
// (Interrupt controllers and timers: fuzz_machine_core.c.)
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include "tests/unit/machine_host.h"
#include "vmm/machine/chipset.h"
#include "vmm/machine/disk.h"
#include "vmm/machine/ide.h"
#include "vmm/machine/pci.h"
#include "vmm/machine/ports.h"
#include "vmm/machine/ps2.h"
#include "vmm/machine/uart.h"
#include "vmm/machine/vga.h"
#include "vmm/machine/virtio_blk.h"
#include "vmm/machine/virtio_console.h"
#include "vmm/machine/virtio_rng.h"

enum { VIRTIO_FIRST = 2, VIRTIO_COUNT = 4, DISKS = 5 };
enum { RINGS = 0x10000, RING_SIZE = 0x4000, TABLE = 0x8000, DATA = 0x30000, DISK_SIZE = 1 << 20 };
#define STEPS 400 // of one input

struct input {
    const uint8_t *data;
    size_t left;
};

static uint64_t take(struct input *in, unsigned bytes) {
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes && in->left; i++, in->left--)
        value |= (uint64_t)*in->data++ << i * 8;
    return value;
}

// ---- the machine -------------------------------------------------------------------------------
static struct disk *disks[DISKS];

static struct disk *open_disk(struct machine *m, enum disk_mode mode) {
    static int fd = -1;
    char path[64], error[256];
    if (fd < 0) {
        fd = memfd_create("disk", 0);
        if (ftruncate(fd, DISK_SIZE))
            abort();
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    struct disk *d = disk_open(m, &(struct disk_options){.path = path, .mode = mode}, error,
                               sizeof(error));
    if (!d)
        abort();
    return d;
}

static struct machine *create(void) {
    struct machine *m = host_create();
    for (unsigned i = 0; i < DISKS; i++)
        disks[i] = open_disk(m, i == 2 || i == 4 ? DISK_READ_ONLY : DISK_PRIVATE);
    uart_create(m, 0, host_output);
    uart_create(m, 1, NULL);
    ps2_create(m, NULL);
    vga_create(m);
    ports_create(m, host_output);
    pci_create(m);
    chipset_create(m);
    ide_create(m, (struct disk *const[4]){disks[0], disks[1], disks[2], NULL});
    virtio_blk_create(m, disks[3]);
    virtio_blk_create(m, disks[4]);
    virtio_console_create(m, host_output);
    virtio_rng_create(m);
    host_reset();
    return m;
}

static void destroy(void) {
    host_reset(); // requests in flight hold memory
    for (unsigned i = 0; i < DISKS; i++)
        disk_close(disks[i]);
}

// ---- steps -------------------------------------------------------------------------------------
static const struct bus_range *range(struct machine *m, enum bus_space s, unsigned n) {
    unsigned count = 0;
    for (const struct bus_range *r = m->ranges[s]; r; r = r->next)
        count++;
    const struct bus_range *r = m->ranges[s];
    for (n %= count ? count : 1; r && n; n--)
        r = r->next;
    return r;
}

// Any register of any device.
static void access_register(struct machine *m, struct input *in, enum bus_space s) {
    const struct bus_range *r = range(m, s, (unsigned)take(in, 1));
    if (!r)
        return;
    unsigned how = (unsigned)take(in, 1), width = 1u << (how & 3);
    if (s == BUS_PORT && width == 8)
        width = 4;
    uint64_t address = r->base + take(in, r->size > 256 ? 2 : 1) % r->size;
    if (how & 4)
        bus_write(m, s, address, width, take(in, width));
    else
        bus_read(m, s, address, width);
}

static void access_config(struct input *in) {
    unsigned slot = (unsigned)take(in, 1) % 7, how = (unsigned)take(in, 1),
             offset = (unsigned)take(in, 1);
    unsigned width = 1u << (how & 3) % 3;
    if (how & 4)
        pci_config_write(slot, how >> 3 & 1, offset, width, (uint32_t)take(in, width));
    else
        pci_config_read(slot, how >> 3 & 1, offset, width);
}

static void fill_memory(struct machine *m, struct input *in) {
    uint64_t at = (take(in, 1) & 1 ? RINGS : TABLE) + take(in, 2) % RING_SIZE;
    for (unsigned n = (unsigned)take(in, 1) % 64; n; n--)
        m->ram[at++] = (uint8_t)take(in, 1);
}

static uint64_t bar(unsigned slot) {
    return pci_config_read(slot, 0, PCI_BASE_ADDRESS_0, 4) & ~15u;
}

static void put(struct machine *m, unsigned slot, unsigned offset, unsigned width, uint64_t value) {
    bus_write(m, BUS_MEMORY, bar(slot) + offset, width, value);
}

static uint64_t ring(unsigned slot, unsigned queue) {
    return RINGS + ((slot - VIRTIO_FIRST) * 2 + queue) * RING_SIZE;
}

// What a driver does before it uses a queue.
static void set_up_virtio(struct machine *m, unsigned slot, unsigned queue, bool indirect) {
    uint64_t base = ring(slot, queue);
    memset(m->ram + base, 0, RING_SIZE);
    pci_config_write(slot, 0, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    put(m, slot, VIRTIO_PCI_COMMON_STATUS, 1, 0);
    put(m, slot, VIRTIO_PCI_COMMON_STATUS, 1, 3);
    put(m, slot, VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
    put(m, slot, VIRTIO_PCI_COMMON_GF, 4, indirect ? 3u << VIRTIO_RING_F_INDIRECT_DESC : 0);
    put(m, slot, VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
    put(m, slot, VIRTIO_PCI_COMMON_GF, 4, 1);
    put(m, slot, VIRTIO_PCI_COMMON_STATUS, 1, 11);
    put(m, slot, VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
    put(m, slot, VIRTIO_PCI_COMMON_Q_SIZE, 2, 8);
    put(m, slot, VIRTIO_PCI_COMMON_Q_DESCLO, 4, base);
    put(m, slot, VIRTIO_PCI_COMMON_Q_AVAILLO, 4, base + 0x1000);
    put(m, slot, VIRTIO_PCI_COMMON_Q_USEDLO, 4, base + 0x2000);
    put(m, slot, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    put(m, slot, VIRTIO_PCI_COMMON_STATUS, 1, 15);
}

// A chain that is right or nearly so, offered and kicked. Segment 0 is a block request's header.
static void kick_virtio(struct machine *m, struct input *in) {
    unsigned what = (unsigned)take(in, 1), slot = VIRTIO_FIRST + what % VIRTIO_COUNT;
    unsigned queue = slot == VIRTIO_FIRST + 2 ? what >> 4 & 1 : 0, flags = (unsigned)take(in, 1);
    if (bus_read(m, BUS_MEMORY, bar(slot) + VIRTIO_PCI_COMMON_STATUS, 1) != 15 && !(what & 4))
        set_up_virtio(m, slot, queue, what & 8);
    uint64_t base = ring(slot, queue);
    struct vring_desc *table = (struct vring_desc *)(m->ram + base);
    uint16_t *available = (uint16_t *)(m->ram + base + 0x1000);
    const struct virtio_blk_outhdr header = {.type = (uint32_t)take(in, 1) & 15,
                                             .sector = take(in, 2)};
    memcpy(m->ram + base + 0x3000, &header, sizeof(header));
    unsigned n = 1 + (what >> 5) % 4;
    for (unsigned i = 0; i < n; i++) {
        uint32_t length = i + 1 == n ? 1 : 512u * (1 + (flags >> 4 & 3));
        if (flags & 0x80) // anything
            length = (uint32_t)take(in, 4);
        table[i] = (struct vring_desc){
            .addr = i ? DATA + 0x1000 * i : base + 0x3000,
            .len = i || flags & 0x80 ? length : sizeof(header),
            .flags = (uint16_t)((i + 1 < n ? VRING_DESC_F_NEXT : 0) |
                                (flags >> i & 1 ? VRING_DESC_F_WRITE : 0)),
            .next = (uint16_t)(i + 1),
        };
    }
    available[2 + available[1] % 8] = 0;
    available[1]++;
    put(m, slot, 0x3000 + 4 * queue, 2, queue);
}

static void ask_mouse(struct input *in) {
    out8(0x64, 0xd4);
    out8(0x60, (uint8_t)take(in, 1));
    in8(0x60);
}

static void ide_command(struct input *in) {
    static const uint8_t common[] = {0x20, 0x24, 0x30, 0x34, 0xc4, 0xc5, 0xc6,
                                     0xc8, 0xca, 0x25, 0x35, 0xec, 0xef, 0xe7};
    unsigned what = (unsigned)take(in, 1);
    uint16_t base = what & 1 ? 0x170 : 0x1f0;
    out8(base + 6, (uint8_t)(0xe0 | (what & 2) << 3));
    for (uint16_t r = 1; r < 5; r++)
        out8(base + r, (uint8_t)take(in, 1));
    out8(base + 5, 0);
    out8(base + 7, what & 0x80 ? (uint8_t)take(in, 1) : common[(what >> 2) % sizeof(common)]);
    if (what & 0x20) { // a table that is right
        const uint32_t entries[4] = {DATA, 0x400, DATA + 0x1000,
                                     0x80000000u | (uint32_t)take(in, 2)};
        memcpy(host.machine.ram + TABLE, entries, sizeof(entries));
    }
    if (what & 0x40) {
        uint16_t master = (uint16_t)((pci_config_read(1, 1, PCI_BASE_ADDRESS_4, 4) & ~3u) +
                                     (what & 1) * 8);
        pci_config_write(1, 1, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
        out32(master + 4, TABLE);
        out8(master, 9);
    }
}

// Moves data by the port, as many times as the input says.
static void ide_data(struct input *in) {
    unsigned what = (unsigned)take(in, 1);
    uint16_t base = what & 1 ? 0x170 : 0x1f0;
    for (unsigned n = 1 + (what >> 2) * 8; n; n--) {
        if (what & 2)
            out32(base, n);
        else
            in32(base);
    }
}

static void give_input(struct input *in) {
    static const char *const names[] = {"serial0", "serial1", "keyboard", "console"};
    uint8_t bytes[64];
    unsigned what = (unsigned)take(in, 1), n = what >> 2;
    for (unsigned i = 0; i < n; i++)
        bytes[i] = (uint8_t)take(in, 1);
    host_input(names[what & 3], bytes, n);
}

static void step(struct machine *m, struct input *in) {
    struct vga_screen screen;
    char text[4];
    switch (take(in, 1) % 14) {
    case 0:
    case 1: access_register(m, in, BUS_PORT); break;
    case 2: access_register(m, in, BUS_MEMORY); break;
    case 3: access_config(in); break;
    case 4:
    case 5: fill_memory(m, in); break;
    case 6: ask_mouse(in); break;
    case 7:
    case 13: kick_virtio(m, in); break;
    case 8: ide_command(in); break;
    case 9: ide_data(in); break;
    case 10: give_input(in); break;
    case 11: host_advance(take(in, 2) * 4); break;
    default:
        vga_render(m->vga, &screen);
        vga_utf8((uint8_t)screen.cell[0][0], text);
        if (!host_round_trip())
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size};
    struct machine *m = create();
    for (unsigned i = 0; i < STEPS && in.left; i++)
        step(m, &in);
    if (!host_round_trip())
        abort();
    destroy();
    return 0;
}
