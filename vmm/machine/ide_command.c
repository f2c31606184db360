// The commands of ATA disks (ATA/ATAPI-6, chapter 8), and programmed transfers.
#include "vmm/machine/ide_internal.h"
#include "vmm/machine/machine.h"

enum { EXT = 1, WRITES = 2, DMA = 4, MULTIPLE = 8 }; // kinds of transfers

void ide_finish(struct ide_channel *c, uint8_t error, uint64_t ns) {
    c->phase = IDE_IDLE;
    c->length = c->position = 0;
    c->result = error;
    ide_later(c, IDE_FINISH, ns);
}

static void abort_command(struct ide_channel *c) {
    ide_finish(c, ER_ABORT, IDE_BLOCK_NS);
}

// ---- programmed transfers ----------------------------------------------------------------------
static uint32_t block_sectors(const struct ide_channel *c) {
    return c->left < c->block ? c->left : c->block;
}

// The drive has a block for the guest, or room for one.
static void offer_block(struct ide_channel *c) {
    c->position = 0;
    c->next = IDE_NOTHING;
    ide_selected(c)->status = ST_READY | ST_SEEK | ST_DRQ;
}

static void read_block(struct ide_channel *c, uint64_t ns) {
    uint32_t n = block_sectors(c);
    if (disk_read(ide_selected(c)->disk, c->sector, n, c->buffer)) {
        ide_finish(c, ER_DATA, ns);
        return;
    }
    c->sector += n;
    c->left -= n;
    c->length = n * SECTOR_SIZE;
    c->position = 0;
    ide_later(c, IDE_READY, ns);
}

static void write_block(struct ide_channel *c) {
    uint32_t n = c->length / SECTOR_SIZE;
    if (disk_write(ide_selected(c)->disk, c->sector, n, c->buffer)) {
        ide_finish(c, ER_ABORT, IDE_LATENCY_NS);
        return;
    }
    c->sector += n;
    c->left -= n;
    if (!c->left) {
        ide_finish(c, 0, IDE_LATENCY_NS);
        return;
    }
    c->length = block_sectors(c) * SECTOR_SIZE;
    ide_later(c, IDE_READY, IDE_BLOCK_NS);
}

void ide_block_moved(struct ide_channel *c) {
    if (c->phase == IDE_PIO_WRITE) {
        write_block(c);
    } else if (c->left) {
        read_block(c, IDE_BLOCK_NS);
    } else {
        c->phase = IDE_IDLE; // the last block had its interrupt already
        c->length = c->position = 0;
        ide_selected(c)->status = ST_READY | ST_SEEK;
    }
}

void ide_timer(void *opaque) {
    struct ide_channel *c = opaque;
    switch (c->next) {
    case IDE_FINISH: ide_done(c, c->result); break;
    case IDE_READY:
        offer_block(c);
        ide_interrupt(c, true);
        break;
    case IDE_DMA_BLOCK: ide_dma_continue(c); break;
    default: break;
    }
}

// ---- addresses ---------------------------------------------------------------------------------
static uint64_t address48(const struct ide_drive *d) {
    return (uint64_t)d->lba_high[1] << 40 | (uint64_t)d->lba_mid[1] << 32 |
           (uint64_t)d->lba_low[1] << 24 | (uint64_t)d->lba_high[0] << 16 | d->lba_mid[0] << 8 |
           d->lba_low[0];
}

static uint64_t address28(const struct ide_drive *d) {
    uint32_t head = d->device & 0xf, cylinder = d->lba_high[0] << 8 | d->lba_mid[0];
    if (d->device & DEV_LBA)
        return head << 24 | cylinder << 8 | d->lba_low[0];
    if (!d->lba_low[0] || d->lba_low[0] > d->sectors || head >= d->heads)
        return UINT64_MAX;
    return (uint64_t)(cylinder * d->heads + head) * d->sectors + d->lba_low[0] - 1;
}

// Takes address and count of a command from the registers. False, after ending it: not on the disk.
static bool take_range(struct ide_channel *c, struct ide_drive *d, unsigned kind) {
    uint32_t count = kind & EXT ? d->count[1] << 8 | d->count[0] : d->count[0];
    c->left = count ? count : kind & EXT ? 65536 : 256;
    c->sector = kind & EXT ? address48(d) : address28(d);
    uint64_t all = disk_sectors(d->disk);
    if (c->sector <= all && c->left <= all - c->sector)
        return true;
    ide_finish(c, ER_ID, IDE_LATENCY_NS);
    return false;
}

// ---- commands ----------------------------------------------------------------------------------
static void transfer(struct ide_channel *c, struct ide_drive *d, unsigned kind) {
    if (((kind & MULTIPLE) && !d->multiple) || ((kind & WRITES) && disk_read_only(d->disk)) ||
        ((kind & DMA) && !c->ide->has_pci)) {
        abort_command(c);
        return;
    }
    if (!take_range(c, d, kind))
        return;
    c->block = kind & MULTIPLE ? d->multiple : 1;
    if (kind & DMA) {
        c->phase = kind & WRITES ? IDE_DMA_WRITE : IDE_DMA_READ;
        ide_dma_begin(c);
    } else if (kind & WRITES) {
        c->phase = IDE_PIO_WRITE; // the first block is taken without an interrupt
        c->length = block_sectors(c) * SECTOR_SIZE;
        offer_block(c);
    } else {
        c->phase = IDE_PIO_READ;
        read_block(c, IDE_LATENCY_NS);
    }
}

static void verify(struct ide_channel *c, struct ide_drive *d, unsigned kind) {
    if (take_range(c, d, kind))
        ide_finish(c, 0, IDE_LATENCY_NS);
}

static void identify(struct ide_channel *c, struct ide_drive *d, unsigned kind) {
    (void)kind;
    ide_identify(d, c->index * IDE_DRIVES + c->selected, c->buffer);
    c->phase = IDE_PIO_READ;
    c->length = SECTOR_SIZE;
    c->left = 0;
    ide_later(c, IDE_READY, IDE_LATENCY_NS);
}

static void no_operation(struct ide_channel *c, struct ide_drive *d, unsigned kind) {
    (void)d;
    (void)kind;
    ide_finish(c, 0, IDE_BLOCK_NS);
}

static void flush(struct ide_channel *c, struct ide_drive *d, unsigned kind) {
    (void)kind;
    ide_finish(c, disk_flush(d->disk) ? ER_ABORT : 0, IDE_LATENCY_NS);
}

static void diagnose(struct ide_channel *c, struct ide_drive *d, unsigned kind) {
    (void)d;
    (void)kind;
    ide_signature(c); // drive 0 answers for both
    ide_interrupt(c, true);
}

static void initialize_parameters(struct ide_channel *c, struct ide_drive *d, unsigned kind) {
    (void)kind;
    if (!d->count[0]) {
        abort_command(c);
        return;
    }
    d->heads = (d->device & 0xf) + 1;
    d->sectors = d->count[0];
    ide_finish(c, 0, IDE_BLOCK_NS);
}

static void set_multiple(struct ide_channel *c, struct ide_drive *d, unsigned kind) {
    (void)kind;
    uint8_t n = d->count[0];
    if (n > IDE_MULTIPLE || (n & (n - 1))) {
        abort_command(c);
        return;
    }
    d->multiple = n;
    ide_finish(c, 0, IDE_BLOCK_NS);
}

static void check_power(struct ide_channel *c, struct ide_drive *d, unsigned kind) {
    (void)kind;
    d->count[0] = 0xff; // active
    ide_finish(c, 0, IDE_BLOCK_NS);
}

// SET FEATURES, transfer mode in the count register.
static bool set_mode(struct ide_drive *d) {
    uint8_t mode = d->count[0];
    bool dma = (mode >= 0x20 && mode <= 0x22) || (mode >= 0x40 && mode <= 0x45);
    if (dma)
        d->dma_mode = mode;
    return dma || mode <= 1 || (mode >= 8 && mode <= 12); // the rest is programmed I/O
}

static void set_features(struct ide_channel *c, struct ide_drive *d, unsigned kind) {
    (void)kind;
    bool ok = true;
    switch (d->features[0]) {
    case 0x02: d->write_cache = true; break;
    case 0x82: d->write_cache = false; break;
    case 0x03: ok = set_mode(d); break;
    case 0x55: // read look-ahead off and on
    case 0xaa:
    case 0x66: // defaults after reset off and on
    case 0xcc: break;
    default: ok = false;
    }
    ide_finish(c, ok ? 0 : ER_ABORT, IDE_BLOCK_NS);
}

static const struct {
    void (*run)(struct ide_channel *c, struct ide_drive *d, unsigned kind);
    unsigned kind;
} commands[256] = {
    [0x10 ... 0x1f] = {no_operation, 0}, // RECALIBRATE
    [0x20] = {transfer, 0},              // READ SECTOR(S)
    [0x21] = {transfer, 0},
    [0x24] = {transfer, EXT},            // READ SECTOR(S) EXT
    [0x25] = {transfer, EXT | DMA},      // READ DMA EXT
    [0x29] = {transfer, EXT | MULTIPLE}, // READ MULTIPLE EXT
    [0x30] = {transfer, WRITES},         // WRITE SECTOR(S)
    [0x31] = {transfer, WRITES},
    [0x34] = {transfer, EXT | WRITES},            // WRITE SECTOR(S) EXT
    [0x35] = {transfer, EXT | WRITES | DMA},      // WRITE DMA EXT
    [0x39] = {transfer, EXT | WRITES | MULTIPLE}, // WRITE MULTIPLE EXT
    [0x40] = {verify, 0},                         // READ VERIFY SECTOR(S)
    [0x41] = {verify, 0},
    [0x42] = {verify, EXT},
    [0x70 ... 0x7f] = {no_operation, 0}, // SEEK
    [0x90] = {diagnose, 0},              // EXECUTE DEVICE DIAGNOSTIC
    [0x91] = {initialize_parameters, 0},
    [0x94 ... 0x97] = {no_operation, 0}, // STANDBY IMMEDIATE, IDLE IMMEDIATE, STANDBY, IDLE
    [0x98] = {check_power, 0},
    [0x99] = {no_operation, 0},             // SLEEP
    [0xc4] = {transfer, MULTIPLE},          // READ MULTIPLE
    [0xc5] = {transfer, WRITES | MULTIPLE}, // WRITE MULTIPLE
    [0xc6] = {set_multiple, 0},
    [0xc8] = {transfer, DMA}, // READ DMA
    [0xc9] = {transfer, DMA},
    [0xca] = {transfer, WRITES | DMA}, // WRITE DMA
    [0xcb] = {transfer, WRITES | DMA},
    [0xe0 ... 0xe3] = {no_operation, 0}, // as 94h..97h
    [0xe5] = {check_power, 0},
    [0xe6] = {no_operation, 0},
    [0xe7] = {flush, 0},    // FLUSH CACHE
    [0xea] = {flush, 0},    // FLUSH CACHE EXT
    [0xec] = {identify, 0}, // IDENTIFY DEVICE
    [0xef] = {set_features, 0},
};

void ide_execute(struct ide_channel *c, uint8_t command) {
    struct ide_drive *d = ide_selected(c);
    ide_interrupt(c, false); // a new command ends the last one's
    d->error = 0;
    if (commands[command].run)
        commands[command].run(c, d, commands[command].kind);
    else
        abort_command(c);
}
