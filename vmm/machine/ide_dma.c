// Bus master of the IDE controller ("Programming Interface for Bus Master IDE Controller" 1.0): moves
// blocks between a channel's buffer and the memory that its descriptor table (PRD table) lists.
#include <string.h>
#include "vmm/machine/ide_internal.h"
#include "vmm/machine/machine.h"

#define PORTS 8 // of a channel
enum { R_COMMAND = 0, R_STATUS = 2, R_TABLE = 4 };
enum { CMD_START = 1, CMD_TO_MEMORY = 8 };
enum { STATUS_ACTIVE = 1, STATUS_ERROR = 2, STATUS_INTERRUPT = 4, STATUS_CAPABLE = 0x60 };
#define PRD_LAST 0x80000000u

static struct pci_function *function(struct ide_channel *c) {
    return &c->ide->pci;
}

// ---- descriptor table --------------------------------------------------------------------------
// Loads the next descriptor. 1; 0: the last one is used up; -1: the table is not in memory.
static int next_descriptor(struct ide_channel *c) {
    uint32_t entry[2];
    if (c->prd_last)
        return 0;
    const void *p = pci_memory(function(c), c->prd, sizeof(entry));
    if (!p)
        return -1;
    memcpy(entry, p, sizeof(entry));
    c->prd += sizeof(entry);
    c->prd_base = entry[0] & ~1u;
    c->prd_left = entry[1] & 0xfffe ? entry[1] & 0xfffe : 0x10000;
    c->prd_last = entry[1] & PRD_LAST;
    return 1;
}

// Moves c->length bytes between buffer and memory. 1: done; 0: the table is too short; -1: not memory.
static int move(struct ide_channel *c, bool to_memory) {
    while (c->position < c->length) {
        int got = c->prd_left ? 1 : next_descriptor(c);
        if (got <= 0)
            return got;
        uint32_t n = c->length - c->position;
        if (n > c->prd_left)
            n = c->prd_left;
        uint8_t *memory = pci_memory(function(c), c->prd_base, n);
        if (!memory)
            return -1;
        if (to_memory)
            memcpy(memory, c->buffer + c->position, n);
        else
            memcpy(c->buffer + c->position, memory, n);
        c->position += n;
        c->prd_base += n;
        c->prd_left -= n;
    }
    return 1;
}

// After move(). True: go on.
static bool moved(struct ide_channel *c, int result) {
    if (result > 0)
        return true;
    c->bm_status &= (uint8_t)~STATUS_ACTIVE;
    if (result < 0) {
        c->bm_status |= STATUS_ERROR;
        ide_finish(c, ER_ABORT, IDE_BLOCK_NS);
    } else { // the drive waits for more, in vain: its driver will reset it
        c->next = IDE_NOTHING;
        ide_selected(c)->status = ST_READY | ST_SEEK | ST_DRQ;
    }
    return false;
}

// ---- transfer ----------------------------------------------------------------------------------
// Starts a block: the image is read or written now, the memory changes when its time has come.
static void start_block(struct ide_channel *c) {
    struct disk *disk = ide_selected(c)->disk;
    uint32_t n = c->left < IDE_BUFFER / SECTOR_SIZE ? c->left : IDE_BUFFER / SECTOR_SIZE;
    c->length = n * SECTOR_SIZE;
    c->position = 0;
    bool failed;
    if (c->phase == IDE_DMA_READ) {
        failed = disk_read(disk, c->sector, n, c->buffer);
    } else {
        if (!moved(c, move(c, false)))
            return;
        failed = disk_write(disk, c->sector, n, c->buffer);
    }
    if (failed)
        ide_finish(c, c->phase == IDE_DMA_READ ? ER_DATA : ER_ABORT, IDE_LATENCY_NS);
    else
        ide_later(c, IDE_DMA_BLOCK, IDE_LATENCY_NS);
}

void ide_dma_begin(struct ide_channel *c) {
    c->next = IDE_NOTHING;
    c->length = c->position = 0;
    ide_selected(c)->status = ST_READY | ST_SEEK | ST_DRQ;
    if (c->bm_status & STATUS_ACTIVE)
        start_block(c);
}

void ide_dma_continue(struct ide_channel *c) {
    uint32_t n = c->length / SECTOR_SIZE;
    if (c->phase == IDE_DMA_READ && !moved(c, move(c, true)))
        return;
    c->sector += n;
    c->left -= n;
    if (c->left) {
        start_block(c);
        return;
    }
    if (!c->prd_left && c->prd_last) // a longer table leaves the bus master active
        c->bm_status &= (uint8_t)~STATUS_ACTIVE;
    ide_done(c, 0);
}

// ---- registers ---------------------------------------------------------------------------------
static void write_command(struct ide_channel *c, uint8_t value) {
    bool was = c->bm_command & CMD_START, on = value & CMD_START;
    bool transfers = c->phase == IDE_DMA_READ || c->phase == IDE_DMA_WRITE;
    c->bm_command = value & (CMD_START | CMD_TO_MEMORY);
    if (on && !was) {
        c->bm_status |= STATUS_ACTIVE;
        c->prd = c->bm_table;
        c->prd_left = 0;
        c->prd_last = false;
        if (transfers && c->next == IDE_NOTHING)
            start_block(c);
    } else if (!on && was) {
        c->bm_status &= (uint8_t)~STATUS_ACTIVE;
        if (transfers) { // the drive keeps its place and waits
            vtimer_cancel(&c->timer);
            ide_dma_begin(c);
        }
    }
}

static uint64_t dma_read(void *opaque, uint64_t offset, unsigned width) {
    struct ide *ide = opaque;
    const struct ide_channel *c = &ide->channel[offset / PORTS];
    uint8_t registers[PORTS + 4] = {[R_COMMAND] = c->bm_command, [R_STATUS] = c->bm_status};
    memcpy(registers + R_TABLE, &c->bm_table, 4);
    return pci_get(registers + offset % PORTS, width);
}

static void dma_write(void *opaque, uint64_t offset, unsigned width, uint64_t value) {
    struct ide *ide = opaque;
    for (unsigned i = 0; i < width; i++, offset++, value >>= 8) {
        struct ide_channel *c = &ide->channel[offset / PORTS];
        uint8_t byte = (uint8_t)value;
        unsigned r = offset % PORTS;
        if (r == R_COMMAND)
            write_command(c, byte);
        else if (r == R_STATUS)
            c->bm_status = (c->bm_status & ~STATUS_CAPABLE &
                            ~(byte & (STATUS_ERROR | STATUS_INTERRUPT))) |
                           (byte & STATUS_CAPABLE);
        else if (r >= R_TABLE)
            pci_put((uint8_t *)&c->bm_table + (r - R_TABLE), 1, r == R_TABLE ? byte & ~3u : byte);
    }
}

void ide_dma_add(struct ide *ide) {
    const struct bus_range range = {
        .space = BUS_PORT,
        .name = "ide bus master",
        .max_width = 4,
        .read = dma_read,
        .write = dma_write,
        .opaque = ide,
    };
    pci_add_bar(&ide->pci, 4, IDE_CHANNELS * PORTS, &range);
}
