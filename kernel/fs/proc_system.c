// The texts of /proc that are about the whole machine, in the formats of proc(5).
#include "fs/procfs.h"
#include "boot/boot_info.h"
#include "boot/version.h"
#include "block/block.h"
#include "cpu/clock.h"
#include "cpu/irq.h"
#include "cpu/x86.h"
#include "fs/dentry.h"
#include "fs/devfs.h"
#include "fs/lock.h"
#include "fs/mount.h"
#include "fs/pagecache.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "proc/process.h"
#include "proc/random.h"
#include "sched/world.h"

#define TICKS_PER_SEC  100u
#define TO_TICKS(ns)   ((unsigned long)((ns) / (NSEC_PER_SEC / TICKS_PER_SEC)))
#define SECONDS(ns)    ((unsigned long)((ns) / NSEC_PER_SEC))
#define HUNDREDTHS(ns) ((unsigned long)((ns) / (NSEC_PER_SEC / 100) % 100))

static void meminfo_show(struct textbuf *b, void *arg) {
    const uint64_t kb = PAGE_SIZE / 1024;
    struct memory_stats m;
    memory_stats(&m);
    uint64_t ram = MIN(pagecache_ram_pages(), m.cache), dirty = pagecache_dirty_pages();
    uint64_t droppable = m.cache - ram - MIN(dirty, m.cache - ram);
    const struct {
        const char *name;
        uint64_t pages;
    } rows[] = {
        {"MemTotal", m.total},    {"MemFree", m.free},   {"MemAvailable", m.free + droppable},
        {"Buffers", 0},           {"Cached", m.cache},   {"SwapCached", 0},
        {"Active", m.anon},       {"Inactive", m.cache}, {"SwapTotal", 0},
        {"SwapFree", 0},          {"Dirty", dirty},      {"AnonPages", m.anon},
        {"Shmem", ram},           {"Slab", m.kernel},    {"SReclaimable", 0},
        {"PageTables", m.tables},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        size_t len = strlen(rows[i].name);
        text_printf(b, "%s:%*s%8lu kB\n", rows[i].name, (int)(15 - len), "", rows[i].pages * kb);
    }
}

// Time that a processor has been idle.
static uint64_t idle_ns(const struct cpu *c) {
    if (!c->idle)
        return 0;
    uint64_t ticks = READ_ONCE(c->idle->run_time);
    if (READ_ONCE(c->world) == c->idle)
        ticks += rdtsc() - READ_ONCE(c->idle->run_since);
    return clock_tsc_to_ns(ticks);
}

// Where the time of a processor (or of all) went, in ns.
struct cpu_times {
    uint64_t user, system, idle;
};

static struct cpu_times cpu_times(const struct cpu *c, uint64_t uptime) {
    struct cpu_times t = {.idle = MIN(idle_ns(c), uptime)};
    uint64_t busy = uptime - t.idle, user = READ_ONCE(c->ticks_user);
    uint64_t all = user + READ_ONCE(c->ticks_system);
    // Samples tell the modes apart. In units of 1/1024, so that the product fits.
    t.user = all ? busy * (user * 1024 / all) / 1024 : 0;
    t.system = busy - t.user;
    return t;
}

static void show_cpu(struct textbuf *b, const char *name, const struct cpu_times *t) {
    text_printf(b, "%s %lu 0 %lu %lu 0 0 0 0 0 0\n", name, TO_TICKS(t->user), TO_TICKS(t->system),
                TO_TICKS(t->idle));
}

// States of all processes: how many run or want to.
static unsigned running_count(void) {
    int pids[64], min = 0;
    unsigned n, running = 0;
    struct process_info *info = kmalloc(sizeof(*info));
    while (info && (n = proc_pids(min, pids, ARRAY_SIZE(pids)))) {
        for (unsigned i = 0; i < n; i++) {
            struct process *p = process_find(pids[i]);
            if (!p)
                continue;
            process_info(p, info);
            running += info->state == 'R' || info->state == 'D';
            process_put(p);
        }
        min = pids[n - 1] + 1;
    }
    kfree(info);
    return running;
}

static void stat_show(struct textbuf *b, void *arg) {
    uint64_t uptime = clock_monotonic(), irqs = 0, switches = 0;
    struct cpu_times all = {0, 0, 0}, one;
    for (unsigned i = 0; i < cpu_count; i++) {
        one = cpu_times(cpus[i], uptime);
        all.user += one.user;
        all.system += one.system;
        all.idle += one.idle;
        switches += READ_ONCE(cpus[i]->switches);
        for (unsigned v = 0; v < ARRAY_SIZE(cpus[i]->irq_count); v++)
            irqs += cpus[i]->irq_count[v];
    }
    show_cpu(b, "cpu ", &all);
    for (unsigned i = 0; i < cpu_count; i++) {
        char name[16];
        snprintf(name, sizeof(name), "cpu%u", i);
        one = cpu_times(cpus[i], uptime);
        show_cpu(b, name, &one);
    }
    text_printf(b, "intr %lu\nctxt %lu\nbtime %lu\nprocesses %d\nprocs_running %u\n", irqs,
                switches, SECONDS(clock_realtime() - uptime), process_last_pid(), running_count());
    text_printf(b, "procs_blocked 0\n");
}

static void uptime_show(struct textbuf *b, void *arg) {
    uint64_t uptime = clock_monotonic(), idle = 0;
    for (unsigned i = 0; i < cpu_count; i++)
        idle += MIN(idle_ns(cpus[i]), uptime);
    text_printf(b, "%lu.%02lu %lu.%02lu\n", SECONDS(uptime), HUNDREDTHS(uptime), SECONDS(idle),
                HUNDREDTHS(idle));
}

// Averages over 1, 5 and 15 minutes with 11 fraction bits, as the usual exponential decay: the
// factors are exp(-5 s / period).
static uint32_t load[3];

void loadavg_sample(void) {
    static const uint32_t factor[3] = {1884, 2014, 2037};
    uint32_t active = running_count() << 11;
    for (int i = 0; i < 3; i++)
        load[i] = (load[i] * factor[i] + active * (2048 - factor[i])) >> 11;
}

static void loadavg_show(struct textbuf *b, void *arg) {
    for (int i = 0; i < 3; i++)
        text_printf(b, "%u.%02u ", load[i] >> 11, (load[i] & 2047) * 100 >> 11);
    text_printf(b, "%u/%u %d\n", running_count(), thread_count(), process_last_pid());
}

static void version_show(struct textbuf *b, void *arg) {
    text_printf(b, "Linux version 6.1.0-chronovisor (VMkernel %s) #1 SMP\n", build_id);
}

static void cmdline_show(struct textbuf *b, void *arg) {
    text_printf(b, "%s\n", boot_info.cmdline);
}

static void cpuinfo_show(struct textbuf *b, void *arg) {
    struct cpuid_result v = cpuid(0, 0), f = cpuid(1, 0);
    uint32_t vendor[4] = {v.ebx, v.edx, v.ecx, 0}, brand[13] = {0};
    if (cpuid(0x80000000, 0).eax >= 0x80000004) {
        for (unsigned i = 0; i < 3; i++) {
            struct cpuid_result r = cpuid(0x80000002 + i, 0);
            memcpy(&brand[i * 4], (uint32_t[]){r.eax, r.ebx, r.ecx, r.edx}, 16);
        }
    }
    unsigned family = (f.eax >> 8) & 15, model = (f.eax >> 4) & 15;
    if (family == 6 || family == 15)
        model |= (f.eax >> 12) & 0xf0;
    if (family == 15)
        family += (f.eax >> 20) & 0xff;
    uint64_t hz = clock_tsc_hz();
    for (unsigned i = 0; i < cpu_count; i++) {
        text_printf(b, "processor\t: %u\nvendor_id\t: %s\ncpu family\t: %u\nmodel\t\t: %u\n", i,
                    (char *)vendor, family, model);
        text_printf(b,
                    "model name\t: %s\nstepping\t: %u\ncpu MHz\t\t: %lu.%03lu\napicid\t\t: %u\n\n",
                    (char *)brand, f.eax & 15, hz / 1000000, hz / 1000 % 1000, cpus[i]->apic_id);
    }
}

static void interrupts_show(struct textbuf *b, void *arg) {
    text_printf(b, "     ");
    for (unsigned i = 0; i < cpu_count; i++)
        text_printf(b, "       CPU%-2u", i);
    for (unsigned v = 32; v < 256; v++) {
        const char *name = irq_name(v);
        uint64_t sum = 0;
        for (unsigned i = 0; i < cpu_count; i++)
            sum += cpus[i]->irq_count[v];
        if (!sum)
            continue;
        text_printf(b, "\n%4u:", v);
        for (unsigned i = 0; i < cpu_count; i++)
            text_printf(b, " %11lu", cpus[i]->irq_count[v]);
        text_printf(b, "  %s", name ? name : "nobody");
    }
    text_printf(b, "\n");
}

static void show_partition(struct block_device *d, void *arg) {
    text_printf(arg, "%4u %8u %10lu %s\n", (unsigned)(d->rdev >> 8), (unsigned)(d->rdev & 0xff),
                (unsigned long)(d->sectors / 2), d->name);
}

static void partitions_show(struct textbuf *b, void *arg) {
    text_printf(b, "major minor  #blocks  name\n\n");
    block_for_each(show_partition, b);
}

static void mounts_link_show(struct textbuf *b, void *arg) {
    mounts_show(b);
}
static void filesystems_text(struct textbuf *b, void *arg) {
    filesystems_show(b);
}
static void devices_text(struct textbuf *b, void *arg) {
    devices_show(b);
}
static void locks_text(struct textbuf *b, void *arg) {
    locks_show(b);
}

static void constant_show(struct textbuf *b, void *arg) {
    text_printf(b, "%s\n", (char *)arg);
}

static void uuid_show(struct textbuf *b, void *arg) {
    static uint8_t boot_id[16];
    static bool boot_id_made;
    uint8_t fresh[16], *id = arg ? boot_id : fresh;
    if (!arg || !boot_id_made) {
        random_bytes(id, 16);
        id[6] = (id[6] & 0x0f) | 0x40; // RFC 4122: version 4
        id[8] = (id[8] & 0x3f) | 0x80;
        if (arg)
            boot_id_made = true;
    }
    for (unsigned i = 0; i < 16; i++)
        text_printf(b, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", id[i]);
    text_printf(b, "\n");
}

static void dentry_state_show(struct textbuf *b, void *arg) {
    text_printf(b, "%u 0 0 0 0 0\n", dentry_count());
}

void proc_system_init(void) {
    static const struct {
        const char *name;
        proc_show show;
        const char *arg;
    } texts[] = {
        {"meminfo", meminfo_show, NULL},
        {"stat", stat_show, NULL},
        {"uptime", uptime_show, NULL},
        {"loadavg", loadavg_show, NULL},
        {"version", version_show, NULL},
        {"cmdline", cmdline_show, NULL},
        {"cpuinfo", cpuinfo_show, NULL},
        {"interrupts", interrupts_show, NULL},
        {"partitions", partitions_show, NULL},
        {"filesystems", filesystems_text, NULL},
        {"mounts", mounts_link_show, NULL},
        {"devices", devices_text, NULL},
        {"locks", locks_text, NULL},
        {"sys/kernel/random/boot_id", uuid_show, "boot"},
        {"sys/kernel/random/uuid", uuid_show, NULL},
        {"sys/kernel/random/entropy_avail", constant_show, "256"},
        {"sys/kernel/random/poolsize", constant_show, "256"},
        {"sys/vm/overcommit_memory", constant_show, "1"},
        {"sys/vm/max_map_count", constant_show, "65530"},
        {"sys/fs/dentry-state", dentry_state_show, NULL},
        {"sys/fs/file-max", constant_show, "65536"},
        {"sys/fs/nr_open", constant_show, "65536"},
        {"sys/fs/pipe-max-size", constant_show, "1048576"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(texts); i++)
        proc_register(texts[i].name, texts[i].show, NULL, (void *)texts[i].arg);
}
