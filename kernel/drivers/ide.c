// Finding IDE controllers and drives; see ide.h.
#include "cpu/clock.h"
#include "cpu/irq.h"
#include "cpu/x86.h"
#include "drivers/ide.h"
#include "drivers/pci.h"
#include "lib/log.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/heap.h"

#define CHANNELS_MAX 4u
static const uint16_t legacy_io[2] = {0x1f0, 0x170}, legacy_control[2] = {0x3f6, 0x376};
static const unsigned legacy_irq[2] = {14, 15};
static const unsigned majors[CHANNELS_MAX] = {3, 22, 33, 34}; // Linux's IDE0_MAJOR …

static unsigned channel_count;

static const struct block_ops ide_block_ops = {ide_transfer, ide_flush};

// Words of the IDENTIFY data, ATA/ATAPI-6, 8.15.8.
enum {
    ID_MODEL = 27,
    ID_CAPABILITIES = 49,
    ID_LBA28_SECTORS = 60,
    ID_MULTIWORD_DMA = 63,
    ID_COMMANDS_2 = 83,
    ID_ULTRA_DMA = 88,
    ID_LBA48_SECTORS = 100,
    ID_SECTOR_SIZE = 106,
};
#define ID_HAS_DMA   BIT(8)
#define ID_HAS_LBA   BIT(9)
#define ID_HAS_LBA48 BIT(10)
#define ID_HAS_FLUSH BIT(12)

// Text of IDENTIFY: two characters a word, the first in the high byte, padded with blanks.
static void copy_model(char *to, const uint16_t *id) {
    unsigned n = 0;
    for (unsigned i = 0; i < 40; i++) {
        char c = id[ID_MODEL + i / 2] >> (i % 2 ? 0 : 8);
        to[i] = c >= ' ' && c <= '~' ? c : '?';
        if (to[i] != ' ')
            n = i + 1;
    }
    to[n] = 0;
}

// Asks what drive is there. 0 with *id filled for a disk; -ENODEV for nothing or no disk.
static int identify(struct ide_channel *c, unsigned unit, uint16_t *id) {
    if (inb(c->control) == 0xff || ide_select(c, unit, 0) != 0)
        return -ENODEV; // a bus without drives floats high
    // Registers of a drive that is there keep what is written.
    outb(c->io + IDE_COUNT, 0x55);
    outb(c->io + IDE_LBA0, 0xaa);
    if (inb(c->io + IDE_COUNT) != 0x55 || inb(c->io + IDE_LBA0) != 0xaa)
        return -ENODEV;
    outb(c->io + IDE_COUNT, 0);
    outb(c->io + IDE_LBA0, 0);
    outb(c->io + IDE_LBA1, 0);
    outb(c->io + IDE_LBA2, 0);
    outb(c->io + IDE_STATUS, ATA_IDENTIFY);
    clock_delay(1000);
    if (inb(c->control) == 0)
        return -ENODEV;
    int status = ide_wait_ready(c, 2 * NSEC_PER_SEC);
    if (status < 0)
        return -ENODEV;
    unsigned signature = inb(c->io + IDE_LBA1) | inb(c->io + IDE_LBA2) << 8;
    if (signature == 0xeb14) {
        log_info("ide: %s of channel %x is an ATAPI device, left alone", unit ? "slave" : "master",
                 c->io);
        return -ENODEV;
    }
    if (signature != 0 || status & (IDE_STATUS_ERR | IDE_STATUS_DF) || !(status & IDE_STATUS_DRQ))
        return -ENODEV;
    insw(c->io + IDE_DATA, id, 256);
    inb(c->io + IDE_STATUS);
    return 0;
}

// The mode that the firmware chose stays; when it chose none, multiword DMA 2 if the drive has it.
static void choose_dma(struct ide_drive *d, const uint16_t *id) {
    if (!d->channel->bus_master || !(id[ID_CAPABILITIES] & ID_HAS_DMA))
        return;
    d->dma = true;
    bool chosen = id[ID_ULTRA_DMA] >> 8 & 0x7f || id[ID_MULTIWORD_DMA] >> 8 & 7;
    if (!chosen && id[ID_MULTIWORD_DMA] & 4) {
        uint8_t error;
        d->dma_mode = 0x22;
        int err = ide_execute(d,
                              &(struct ide_request){.command = ATA_SET_FEATURES,
                                                    .feature = 3,
                                                    .count = d->dma_mode,
                                                    .limit = NSEC_PER_SEC},
                              &error);
        if (err) {
            d->dma_mode = 0;
            d->dma = false;
        }
    }
}

static void add_drive(struct ide_channel *c, unsigned number, unsigned unit, const uint16_t *id) {
    char name[8], model[41];
    snprintf(name, sizeof(name), "hd%c", 'a' + number * 2 + unit);
    copy_model(model, id);
    // Word 106: bit 14 says it is valid, bit 12 that a sector is longer than 512 bytes.
    if (!(id[ID_CAPABILITIES] & ID_HAS_LBA) || (id[ID_SECTOR_SIZE] & 0xd000) == 0x5000) {
        log_warning("ide: %s: %s: %s, not used", name, model,
                    id[ID_CAPABILITIES] & ID_HAS_LBA ? "sectors are not 512 bytes" : "no LBA");
        return;
    }
    struct ide_drive *d = kzalloc(sizeof(*d));
    if (!d) {
        log_error("ide: %s: out of memory", name);
        return;
    }
    strlcpy(d->block.name, name, sizeof(d->block.name));
    memcpy(d->model, model, sizeof(model));
    d->channel = c;
    d->unit = unit;
    d->lba48 = (id[ID_COMMANDS_2] & (0xc000 | ID_HAS_LBA48)) == (0x4000 | ID_HAS_LBA48);
    d->can_flush = (id[ID_COMMANDS_2] & (0xc000 | ID_HAS_FLUSH)) == (0x4000 | ID_HAS_FLUSH);
    d->block.sectors = id[ID_LBA28_SECTORS] | (uint32_t)id[ID_LBA28_SECTORS + 1] << 16;
    if (d->lba48)
        memcpy(&d->block.sectors, &id[ID_LBA48_SECTORS], 8);
    d->block.sectors = MIN(d->block.sectors, d->lba48 ? BIT(48) : BIT(28));
    d->block.rdev = DEV(majors[number], unit * 64);
    d->block.ops = &ide_block_ops;
    d->block.data = d;
    c->drives[unit] = d;
    choose_dma(d, id);
    log_info("ide: %s: %s, %lu MiB, %s%s", name, model, (unsigned long)(d->block.sectors / 2048),
             d->dma ? "DMA" : "PIO: the controller or the drive has no DMA",
             d->can_flush ? "" : ", no write cache flush");
    int err = block_register(&d->block);
    if (err)
        log_error("ide: %s: cannot be registered (error %d)", name, -err);
}

static bool alloc_dma_memory(struct ide_channel *c) {
    struct frame *prds = frame_alloc(0, FRAME_BELOW4G | FRAME_ZERO, FRAME_KERNEL);
    struct frame *bounce = frame_alloc(5, FRAME_BELOW4G, FRAME_KERNEL); // 256 sectors
    if (prds && bounce) {
        c->prds = frame_virt(prds);
        c->bounce = frame_virt(bounce);
        return true;
    }
    if (prds)
        frame_put(prds);
    if (bounce)
        frame_put(bounce);
    return false;
}

// One channel: its drives and its interrupt (an ISA line, or a PCI pin's).
static void add_channel(uint16_t io, uint16_t control, uint16_t bus_master, unsigned irq,
                        bool pci) {
    if (channel_count == CHANNELS_MAX) {
        log_warning("ide: channel at %x is one too many", io);
        return;
    }
    struct ide_channel *c = kzalloc(sizeof(*c));
    uint16_t *id = kmalloc(512);
    if (!c || !id) {
        log_error("ide: out of memory");
        kfree(c);
        kfree(id);
        return;
    }
    c->io = io;
    c->control = control;
    mutex_init(&c->lock);
    waitq_init(&c->done);
    if (bus_master && alloc_dma_memory(c))
        c->bus_master = bus_master;
    unsigned number = channel_count++;
    // Drives are asked with interrupts off at the drive, then used with interrupts.
    outb(control, IDE_CONTROL_NIEN);
    uint16_t *ids[2] = {NULL, NULL};
    for (unsigned unit = 0; unit < 2; unit++)
        if (identify(c, unit, id) == 0 && (ids[unit] = kmalloc(512)))
            memcpy(ids[unit], id, 512);
    kfree(id);
    int err = 0;
    if (ids[0] || ids[1]) {
        err = pci ? irq_register_gsi(irq, true, true, "ide", ide_interrupt, c)
                  : irq_register(irq, "ide", ide_interrupt, c);
        if (err)
            log_error("ide: no interrupt for channel %x (error %d)", io, -err);
        inb(io + IDE_STATUS);
        outb(control, 0);
    }
    for (unsigned unit = 0; unit < 2; unit++) {
        if (ids[unit] && !err)
            add_drive(c, number, unit, ids[unit]);
        kfree(ids[unit]);
    }
}

static int probe_controller(struct pci_device *p) {
    bool can_dma = p->interface & 0x80 && p->bars[4].io && p->bars[4].size >= 16;
    pci_enable(p, can_dma);
    for (unsigned n = 0; n < 2; n++) {
        uint16_t bus_master = can_dma ? p->bars[4].base + n * 8 : 0;
        const struct pci_bar *command = &p->bars[n * 2], *control = &p->bars[n * 2 + 1];
        if (!(p->interface & BIT(n * 2))) { // compatibility mode
            add_channel(legacy_io[n], legacy_control[n], bus_master, legacy_irq[n], false);
        } else if (command->io && command->size >= 8 && control->io && p->irq_pin &&
                   p->irq_line != 0 && p->irq_line != 255) {
            // The line that the firmware noted; PCI interrupts are level triggered, active low.
            add_channel(command->base, control->base + 2, bus_master, p->irq_line, true);
        }
    }
    return 0;
}

static const struct pci_driver ide_pci_driver = {
    .name = "ide",
    .vendor = PCI_ANY,
    .device = PCI_ANY,
    .class = 1,
    .subclass = 1,
    .probe = probe_controller,
};

void ide_init(void) {
    if (pci_register_driver(&ide_pci_driver) > 0)
        return;
    // A machine without a PCI controller may have drives at the old ports.
    for (unsigned n = 0; n < 2; n++)
        add_channel(legacy_io[n], legacy_control[n], 0, legacy_irq[n], false);
}
