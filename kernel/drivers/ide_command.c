// Running ATA commands; see ide.h.
#include "cpu/clock.h"
#include "cpu/x86.h"
#include "drivers/ide.h"
#include "lib/log.h"
#include "lib/string.h"
#include "sched/world.h"

#define MS           1000000ull
#define READY_LIMIT  (5000 * MS) // a drive that spins up is given so long
#define IO_LIMIT     (10000 * MS)
#define FLUSH_LIMIT  (30000 * MS) // ATA/ATAPI-6, 8.12: flushing may take longer than 30 s
#define ATTEMPTS     4u           // of a transfer before it fails
#define DMA_FAILURES 2u           // after so many in a drive's life it does PIO

// Bus master registers, offsets from ->bus_master.
enum { BM_COMMAND = 0, BM_STATUS = 2, BM_PRD = 4 };
#define BM_START     0x01
#define BM_TO_MEMORY 0x08
#define BM_ERROR     0x02
#define BM_INTERRUPT 0x04
#define BM_CAPABLE   0x60 // which drives do DMA: the firmware's note, kept
#define PRD_LAST     (1ull << 63)
#define PRD_BOUNDARY 0x10000ull // a region must not cross a multiple of 64 KB
#define DMA_LIMIT    (4 * GIB)

// Interrupt context.
void ide_interrupt(void *channel) {
    struct ide_channel *c = channel;
    if (READ_ONCE(c->dma_running)) {
        uint8_t bm = inb(c->bus_master + BM_STATUS);
        if (!(bm & BM_INTERRUPT))
            return; // another device on this line
        outb(c->bus_master + BM_STATUS, (bm & BM_CAPABLE) | BM_INTERRUPT);
    }
    inb(c->io + IDE_STATUS); // acknowledges
    __atomic_store_n(&c->interrupted, true, __ATOMIC_RELEASE);
    waitq_wake(&c->done, 0);
}

int ide_wait_ready(struct ide_channel *c, uint64_t limit) {
    uint64_t end = clock_monotonic() + limit;
    for (;;) {
        uint8_t status = inb(c->control);
        if (!(status & IDE_STATUS_BSY))
            return status;
        if (clock_monotonic() > end)
            return -ETIMEDOUT;
        cond_resched();
        cpu_relax();
    }
}

int ide_select(struct ide_channel *c, unsigned unit, uint8_t device_bits) {
    int status = ide_wait_ready(c, READY_LIMIT);
    if (status < 0)
        return status;
    outb(c->io + IDE_DEVICE, 0xa0 | unit << 4 | device_bits);
    // The status is valid 400 ns later: four reads of a port take at least that.
    for (int i = 0; i < 4; i++)
        inb(c->control);
    status = ide_wait_ready(c, READY_LIMIT);
    return status < 0 ? status : 0;
}

int ide_reset(struct ide_channel *c) {
    if (c->bus_master)
        outb(c->bus_master + BM_COMMAND, 0);
    outb(c->control, IDE_CONTROL_SRST);
    clock_delay(10000);
    outb(c->control, 0);
    clock_delay(2 * MS); // ATA/ATAPI-6, 9.2: the host waits at least 2 ms
    int status = ide_wait_ready(c, 31000 * MS);
    return status < 0 ? status : 0;
}

// Sleeps until the drive interrupts and is not busy any more. Its status, or -ETIMEDOUT. A drive
// that is ready although no interrupt came counts as done: some emulators and chips lose one.
static int wait_done(struct ide_channel *c, uint64_t limit) {
    uint64_t deadline = clock_monotonic() + limit;
    for (;;) {
        int err = wait_event_common(&c->done, __atomic_load_n(&c->interrupted, __ATOMIC_ACQUIRE),
                                    false, deadline);
        __atomic_store_n(&c->interrupted, false, __ATOMIC_RELEASE);
        uint8_t status = inb(c->control);
        if (!(status & IDE_STATUS_BSY)) {
            if (err)
                log_warning("ide: interrupt of channel %x lost", c->io);
            return status;
        }
        if (err)
            return -ETIMEDOUT;
    }
}

// Writes the arguments and the command itself.
static int issue(struct ide_drive *d, const struct ide_request *r) {
    struct ide_channel *c = d->channel;
    uint8_t bits = r->lba48 ? IDE_DEVICE_LBA : IDE_DEVICE_LBA | (r->lba >> 24 & 0x0f);
    int err = ide_select(c, d->unit, bits);
    if (err)
        return err;
    __atomic_store_n(&c->interrupted, false, __ATOMIC_RELEASE);
    if (r->lba48) { // the high halves go first through the same registers
        outb(c->io + IDE_ERROR, 0);
        outb(c->io + IDE_COUNT, r->count >> 8);
        outb(c->io + IDE_LBA0, r->lba >> 24);
        outb(c->io + IDE_LBA1, r->lba >> 32);
        outb(c->io + IDE_LBA2, r->lba >> 40);
    }
    outb(c->io + IDE_ERROR, r->feature);
    outb(c->io + IDE_COUNT, r->count); // 256 is written as 0 in 28-bit commands
    outb(c->io + IDE_LBA0, r->lba);
    outb(c->io + IDE_LBA1, r->lba >> 8);
    outb(c->io + IDE_LBA2, r->lba >> 16);
    outb(c->io + IDE_STATUS, r->command);
    return 0;
}

static int check(struct ide_channel *c, int status, uint8_t *error) {
    if (status < 0)
        return status;
    if (!(status & (IDE_STATUS_ERR | IDE_STATUS_DF)))
        return 0;
    *error = inb(c->io + IDE_ERROR);
    return -EIO;
}

static void fill_prds(struct ide_channel *c, paddr_t at, size_t bytes) {
    for (unsigned n = 0; bytes > 0; n++) {
        size_t piece = MIN(bytes, PRD_BOUNDARY - at % PRD_BOUNDARY);
        bytes -= piece;
        c->prds[n] = at | (uint64_t)(piece & 0xffff) << 32 | (bytes ? 0 : PRD_LAST);
        at += piece;
    }
}

static int execute_dma(struct ide_drive *d, const struct ide_request *r, uint8_t *error) {
    struct ide_channel *c = d->channel;
    size_t bytes = (size_t)r->count * SECTOR_SIZE;
    paddr_t at = virt_to_phys(r->buf);
    bool bounced = at + bytes > DMA_LIMIT || at % 2 != 0;
    if (bounced) {
        at = virt_to_phys(c->bounce);
        if (r->data == IDE_WRITE)
            memcpy(c->bounce, r->buf, bytes);
    }
    fill_prds(c, at, bytes);
    uint8_t direction = r->data == IDE_READ ? BM_TO_MEMORY : 0;
    outb(c->bus_master + BM_COMMAND, direction);
    outl(c->bus_master + BM_PRD, virt_to_phys(c->prds));
    uint8_t capable = inb(c->bus_master + BM_STATUS) & BM_CAPABLE;
    outb(c->bus_master + BM_STATUS, capable | BM_INTERRUPT | BM_ERROR);
    __atomic_store_n(&c->dma_running, true, __ATOMIC_SEQ_CST);
    int status = issue(d, r);
    if (status == 0) {
        outb(c->bus_master + BM_COMMAND, direction | BM_START);
        status = wait_done(c, r->limit);
    }
    outb(c->bus_master + BM_COMMAND, direction);
    __atomic_store_n(&c->dma_running, false, __ATOMIC_SEQ_CST);
    uint8_t bm = inb(c->bus_master + BM_STATUS);
    outb(c->bus_master + BM_STATUS, (bm & BM_CAPABLE) | BM_INTERRUPT | BM_ERROR);
    int err = check(c, status, error);
    if (err == 0 && (bm & BM_ERROR)) {
        *error = 0;
        err = -EIO;
    }
    if (err == 0 && bounced && r->data == IDE_READ)
        memcpy(r->buf, c->bounce, bytes);
    return err;
}

static int execute_pio(struct ide_drive *d, const struct ide_request *r, uint8_t *error) {
    struct ide_channel *c = d->channel;
    int err = issue(d, r);
    if (err || r->data == IDE_NO_DATA)
        return err ? err : check(c, wait_done(c, r->limit), error);
    for (unsigned n = 0; n < r->count; n++) {
        char *sector = (char *)r->buf + n * SECTOR_SIZE;
        // The first sector of a write is asked for without an interrupt.
        bool quiet = r->data == IDE_WRITE && n == 0;
        err = check(c, quiet ? ide_wait_ready(c, r->limit) : wait_done(c, r->limit), error);
        if (err)
            return err;
        if (!(inb(c->control) & IDE_STATUS_DRQ)) {
            *error = 0;
            return -EIO;
        }
        if (r->data == IDE_READ)
            insw(c->io + IDE_DATA, sector, SECTOR_SIZE / 2);
        else
            outsw(c->io + IDE_DATA, sector, SECTOR_SIZE / 2);
    }
    return r->data == IDE_READ ? 0 : check(c, wait_done(c, r->limit), error);
}

int ide_execute(struct ide_drive *d, const struct ide_request *r, uint8_t *error) {
    ASSERT(r->count <= IDE_MAX_SECTORS);
    *error = 0;
    return r->dma ? execute_dma(d, r, error) : execute_pio(d, r, error);
}

static void set_command(struct ide_request *r, bool write) {
    static const uint8_t commands[2][2][2] = {
        // [write][dma][lba48]
        {{ATA_READ_PIO, ATA_READ_PIO_EXT}, {ATA_READ_DMA, ATA_READ_DMA_EXT}},
        {{ATA_WRITE_PIO, ATA_WRITE_PIO_EXT}, {ATA_WRITE_DMA, ATA_WRITE_DMA_EXT}},
    };
    r->command = commands[write][r->dma][r->lba48];
}

// After a failure: both drives are reset, and a drive whose DMA keeps failing goes on without.
static void recover(struct ide_drive *d, bool was_dma) {
    if (was_dma && ++d->dma_failures >= DMA_FAILURES) {
        log_warning("ide: %s: DMA failed %u times, falling back to PIO", d->block.name,
                    d->dma_failures);
        d->dma = false;
    }
    if (ide_reset(d->channel) != 0) {
        log_error("ide: %s: does not come back after a reset", d->block.name);
        return;
    }
    for (unsigned unit = 0; unit < 2; unit++) {
        struct ide_drive *o = d->channel->drives[unit];
        uint8_t error;
        if (o && o->dma_mode)
            ide_execute(o,
                        &(struct ide_request){.command = ATA_SET_FEATURES,
                                              .feature = 3,
                                              .count = o->dma_mode,
                                              .limit = 1000 * MS},
                        &error);
    }
}

int ide_transfer(struct block_device *b, bool write, uint64_t lba, unsigned count, void *buf) {
    struct ide_drive *d = b->data;
    struct ide_request r = {.data = write ? IDE_WRITE : IDE_READ,
                            .lba = lba,
                            .count = count,
                            .buf = buf,
                            .limit = IO_LIMIT};
    r.lba48 = lba + count > BIT(28);
    ASSERT(count > 0 && (d->lba48 || !r.lba48));
    mutex_lock(&d->channel->lock);
    int err = -EIO;
    for (unsigned attempt = 0; err && attempt < ATTEMPTS; attempt++) {
        uint8_t error;
        r.dma = d->dma;
        set_command(&r, write);
        err = ide_execute(d, &r, &error);
        if (err) {
            log_warning("ide: %s: %s of %u sectors at %lu %s (error register %02x)%s", b->name,
                        write ? "write" : "read", count, (unsigned long)lba,
                        err == -ETIMEDOUT ? "timed out" : "failed", error,
                        attempt + 1 < ATTEMPTS ? ", trying again" : "");
            recover(d, r.dma);
        }
    }
    mutex_unlock(&d->channel->lock);
    return err ? -EIO : 0;
}

int ide_flush(struct block_device *b) {
    struct ide_drive *d = b->data;
    if (!d->can_flush)
        return 0;
    uint8_t error;
    struct ide_request r = {.command = d->lba48 ? ATA_FLUSH_CACHE_EXT : ATA_FLUSH_CACHE,
                            .lba48 = d->lba48,
                            .limit = FLUSH_LIMIT};
    mutex_lock(&d->channel->lock);
    int err = ide_execute(d, &r, &error);
    if (err) {
        log_error("ide: %s: flushing the write cache %s (error register %02x)", b->name,
                  err == -ETIMEDOUT ? "timed out" : "failed", error);
        recover(d, false);
    }
    mutex_unlock(&d->channel->lock);
    return err ? -EIO : 0;
}
