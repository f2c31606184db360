#include "vmm/machine/ide.h"
#include <stdlib.h>
#include <string.h>
#include "vmm/machine/chipset.h"
#include "vmm/machine/ide_internal.h"
#include "vmm/machine/machine.h"

#define BM_STATUS_INTERRUPT 4
#define IDETIM              0x40 // timing registers of the PIIX3, 16 bits per channel
#define IDETIM_DECODE       0x8000
#define TASK_FILE           8 // ports of the command block

// Command block registers.
enum { R_DATA, R_ERROR, R_COUNT, R_LBA_LOW, R_LBA_MID, R_LBA_HIGH, R_DEVICE, R_STATUS };

struct ide_drive *ide_selected(struct ide_channel *c) {
    return &c->drive[c->selected];
}

// ---- interrupts and time -----------------------------------------------------------------------
static void update_line(struct ide_channel *c) {
    irq_set(c->ide->device.machine, c->irq, c->interrupt && !(c->device_control & CTL_NIEN));
}

void ide_interrupt(struct ide_channel *c, bool level) {
    if (level && !c->interrupt)
        c->bm_status |= BM_STATUS_INTERRUPT;
    c->interrupt = level;
    update_line(c);
}

void ide_later(struct ide_channel *c, enum ide_next next, uint64_t ns) {
    struct machine *m = c->ide->device.machine;
    ide_selected(c)->status = ST_BUSY | ST_SEEK;
    c->next = next;
    vtimer_arm(&c->timer, vtime_now(m) + vtime_from_ns(m, ns));
}

static void stop(struct ide_channel *c) {
    vtimer_cancel(&c->timer);
    c->phase = IDE_IDLE;
    c->next = IDE_NOTHING;
    c->position = c->length = 0;
}

void ide_done(struct ide_channel *c, uint8_t error) {
    struct ide_drive *d = ide_selected(c);
    stop(c);
    d->error = error;
    d->status = ST_READY | ST_SEEK | (error ? ST_ERR : 0);
    ide_interrupt(c, true);
}

void ide_signature(struct ide_channel *c) {
    for (unsigned i = 0; i < IDE_DRIVES; i++) {
        struct ide_drive *d = &c->drive[i];
        memset(d->features, 0, sizeof(d->features));
        memset(d->lba_mid, 0, sizeof(d->lba_mid));
        memset(d->lba_high, 0, sizeof(d->lba_high));
        d->count[0] = d->lba_low[0] = d->disk ? 1 : 0;
        d->count[1] = d->lba_low[1] = 0;
        d->device = 0;
        d->error = 1; // diagnostic passed
        d->status = d->disk ? ST_READY | ST_SEEK : 0;
    }
    c->selected = 0;
}

static void software_reset(struct ide_channel *c) {
    stop(c);
    ide_interrupt(c, false);
    for (unsigned i = 0; i < IDE_DRIVES; i++)
        if (c->drive[i].disk)
            c->drive[i].status = ST_BUSY;
}

// ---- data port ---------------------------------------------------------------------------------
static bool moves_data(const struct ide_channel *c, enum ide_phase phase) {
    return c->phase == phase && c->next == IDE_NOTHING && c->position < c->length;
}

static unsigned fits(const struct ide_channel *c, unsigned width) {
    uint32_t rest = c->length - c->position;
    return width < rest ? width : rest;
}

static uint32_t read_data(struct ide_channel *c, unsigned width) {
    uint32_t value = 0;
    if (!moves_data(c, IDE_PIO_READ))
        return 0;
    memcpy(&value, c->buffer + c->position, fits(c, width));
    c->position += fits(c, width);
    if (c->position == c->length)
        ide_block_moved(c);
    return value;
}

static void write_data(struct ide_channel *c, unsigned width, uint32_t value) {
    if (!moves_data(c, IDE_PIO_WRITE))
        return;
    memcpy(c->buffer + c->position, &value, fits(c, width));
    c->position += fits(c, width);
    if (c->position == c->length)
        ide_block_moved(c);
}

// ---- command block -----------------------------------------------------------------------------
static uint8_t read_register(struct ide_channel *c, unsigned r) {
    const struct ide_drive *d = ide_selected(c);
    unsigned old = c->device_control & CTL_HOB ? 1 : 0;
    if (!d->disk)
        return 0;
    switch (r) {
    case R_ERROR: return d->error;
    case R_COUNT: return d->count[old];
    case R_LBA_LOW: return d->lba_low[old];
    case R_LBA_MID: return d->lba_mid[old];
    case R_LBA_HIGH: return d->lba_high[old];
    case R_DEVICE: return d->device | 0xa0; // two bits that are always set
    default: ide_interrupt(c, false); return d->status;
    }
}

static uint64_t command_read(void *opaque, uint64_t offset, unsigned width) {
    struct ide_channel *c = opaque;
    if (offset == R_DATA)
        return read_data(c, width);
    uint64_t value = 0;
    for (unsigned i = 0; i < width && offset + i < TASK_FILE; i++)
        value |= (uint64_t)read_register(c, (unsigned)offset + i) << 8 * i;
    return value;
}

static void shift_in(uint8_t r[2], uint8_t value) {
    r[1] = r[0];
    r[0] = value;
}

// Both drives take what is written, whichever is selected.
static void write_register(struct ide_channel *c, unsigned r, uint8_t value) {
    if (ide_selected(c)->status & (ST_BUSY | ST_DRQ))
        return;
    c->device_control &= (uint8_t)~CTL_HOB;
    if (r == R_STATUS) { // the command register
        if (ide_selected(c)->disk)
            ide_execute(c, value);
        return;
    }
    for (unsigned i = 0; i < IDE_DRIVES; i++) {
        struct ide_drive *d = &c->drive[i];
        switch (r) {
        case R_ERROR: shift_in(d->features, value); break;
        case R_COUNT: shift_in(d->count, value); break;
        case R_LBA_LOW: shift_in(d->lba_low, value); break;
        case R_LBA_MID: shift_in(d->lba_mid, value); break;
        case R_LBA_HIGH: shift_in(d->lba_high, value); break;
        default: d->device = value; break;
        }
    }
    if (r == R_DEVICE)
        c->selected = value & DEV_SECOND ? 1 : 0;
}

static void command_write(void *opaque, uint64_t offset, unsigned width, uint64_t value) {
    struct ide_channel *c = opaque;
    if (offset == R_DATA) {
        write_data(c, width, (uint32_t)value);
        return;
    }
    for (unsigned i = 0; i < width && offset + i < TASK_FILE; i++)
        write_register(c, (unsigned)offset + i, (uint8_t)(value >> 8 * i));
}

// ---- control block: one port -------------------------------------------------------------------
static uint64_t control_read(void *opaque, uint64_t offset, unsigned width) {
    (void)offset;
    (void)width;
    return ide_selected(opaque)->status; // the interrupt stays
}

static void control_write(void *opaque, uint64_t offset, unsigned width, uint64_t v) {
    (void)offset;
    (void)width;
    struct ide_channel *c = opaque;
    uint8_t value = (uint8_t)v, changed = value ^ c->device_control;
    c->device_control = value;
    if (changed & value & CTL_SRST)
        software_reset(c);
    else if (changed & CTL_SRST)
        ide_signature(c);
    update_line(c);
}

// ---- device ------------------------------------------------------------------------------------
static void reset_channel(struct ide_channel *c) {
    stop(c);
    for (unsigned i = 0; i < IDE_DRIVES; i++) {
        struct ide_drive *d = &c->drive[i];
        *d = (struct ide_drive){.disk = d->disk,
                                .multiple = IDE_MULTIPLE, // small kernels do not set it
                                .heads = IDE_HEADS,
                                .sectors = IDE_SECTORS,
                                .write_cache = true};
    }
    c->device_control = 0;
    c->block = 1;
    c->prd_last = false;
    c->sector = c->left = 0;
    c->result = 0;
    c->bm_table = c->prd = c->prd_base = c->prd_left = 0;
    ide_signature(c);
    ide_interrupt(c, false);
    c->bm_command = c->bm_status = 0;
}

static void reset(struct device *d) {
    struct ide *ide = (struct ide *)d;
    for (unsigned i = 0; i < IDE_CHANNELS; i++)
        reset_channel(&ide->channel[i]);
    if (ide->has_pci)
        pci_reset(&ide->pci);
}

static void drive_state(struct ide_drive *d, struct state_visitor *v) {
    STATE(v, d, features);
    STATE(v, d, count);
    STATE(v, d, lba_low);
    STATE(v, d, lba_mid);
    STATE(v, d, lba_high);
    STATE(v, d, device);
    STATE(v, d, status);
    STATE(v, d, error);
    STATE(v, d, multiple);
    STATE(v, d, heads);
    STATE(v, d, sectors);
    STATE(v, d, dma_mode);
    STATE(v, d, write_cache);
}

static void channel_state(struct ide_channel *c, unsigned number, struct state_visitor *v) {
    for (unsigned i = 0; i < IDE_DRIVES; i++) {
        STATE_PART(v, "drive", number * IDE_DRIVES + i);
        drive_state(&c->drive[i], v);
    }
    STATE_PART(v, "channel", number);
    STATE(v, c, timer.deadline);
    STATE(v, c, selected);
    STATE(v, c, device_control);
    STATE(v, c, interrupt);
    STATE(v, c, phase);
    STATE(v, c, next);
    STATE(v, c, block);
    STATE(v, c, result);
    STATE(v, c, sector);
    STATE(v, c, left);
    STATE(v, c, position);
    STATE(v, c, length);
    STATE(v, c, bm_command);
    STATE(v, c, bm_status);
    STATE(v, c, bm_table);
    STATE(v, c, prd);
    STATE(v, c, prd_base);
    STATE(v, c, prd_left);
    STATE(v, c, prd_last);
    if (c->length > IDE_BUFFER || c->position > c->length) {
        v->failed = true;
        c->position = c->length = 0;
    }
    if (c->length)
        STATE_BYTES(v, "buffer", c->buffer, c->length);
}

static void state(struct device *d, struct state_visitor *v) {
    struct ide *ide = (struct ide *)d;
    if (ide->has_pci)
        pci_state(&ide->pci, v);
    for (unsigned i = 0; i < IDE_CHANNELS; i++)
        channel_state(&ide->channel[i], i, v);
}

static void loaded(struct device *d) {
    struct ide *ide = (struct ide *)d;
    if (ide->has_pci)
        pci_loaded(&ide->pci);
    for (unsigned i = 0; i < IDE_CHANNELS; i++) {
        struct ide_channel *c = &ide->channel[i];
        c->selected &= 1;
        if (!c->block || c->block > IDE_MULTIPLE)
            c->block = 1;
        if (!ide_selected(c)->disk)
            stop(c);
        vtimer_restore(&c->timer);
    }
}

static const struct device_ops ops = {
    .name = "ide",
    .reset = reset,
    .state = state,
    .loaded = loaded,
    .nondeterminism =
        "none: the images and what was written before give what is read; completion at a "
        "fixed distance in virtual time",
};

static void add_ports(struct machine *m, struct ide_channel *c, uint16_t command,
                      uint16_t control) {
    c->command = (struct bus_range){
        .space = BUS_PORT,
        .base = command,
        .size = TASK_FILE,
        .name = "ide command",
        .max_width = 4,
        .read = command_read,
        .write = command_write,
        .opaque = c,
    };
    c->control = (struct bus_range){
        .space = BUS_PORT,
        .base = control,
        .size = 1,
        .name = "ide control",
        .read = control_read,
        .write = control_write,
        .opaque = c,
    };
    bus_add(m, &c->command);
    bus_add(m, &c->control);
}

static void add_pci(struct machine *m, struct ide *ide) {
    const struct pci_identity id = {.vendor = 0x8086, .device = 0x7010, .class_code = 0x010180};
    pci_add(m, &ide->pci, CHIPSET_ISA_SLOT, 1, &id);
    for (unsigned i = 0; i < IDE_CHANNELS; i++) { // firmware lets both channels decode their ports
        pci_put(ide->pci.initial + IDETIM + 2 * i, 2, IDETIM_DECODE);
        pci_put(ide->pci.writable + IDETIM + 2 * i, 2, 0xffff);
    }
    ide_dma_add(ide);
    ide->has_pci = true;
}

void ide_create(struct machine *m, struct disk *const disks[IDE_CHANNELS * IDE_DRIVES]) {
    static const struct {
        uint16_t command, control;
        uint8_t irq;
    } places[IDE_CHANNELS] = {{0x1f0, 0x3f6, 14}, {0x170, 0x376, 15}};
    struct ide *ide = calloc(1, sizeof(*ide));
    device_register(m, &ide->device, &ops);
    for (unsigned i = 0; i < IDE_CHANNELS; i++) {
        struct ide_channel *c = &ide->channel[i];
        c->ide = ide;
        c->index = i;
        c->irq = places[i].irq;
        vtimer_init(m, &c->timer, ide_timer, c);
        for (unsigned j = 0; j < IDE_DRIVES; j++)
            c->drive[j].disk = disks[i * IDE_DRIVES + j];
        if (c->drive[0].disk || c->drive[1].disk)
            add_ports(m, c, places[i].command, places[i].control);
    }
    if (m->pci)
        add_pci(m, ide);
}
