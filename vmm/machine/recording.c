#include "vmm/machine/recording.h"
#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "replay/inputs.h"
#include "replay/text.h"
#include "vmm/machine/config.h"
#include "vmm/machine/figures.h"
#include "vmm/machine/hash.h"
#include "vmm/machine/life.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/report.h"
#include "vmm/machine/sums.h"

#define DESCRIPTION_MAX 16384

// "KIND SIZE SHA256 NAME"; the folder differs from machine to machine. 0 or -errno.
static int image(struct text *t, const char *kind, const char *path) {
    static uint8_t buf[65536];
    struct sha256_ctx sha;
    uint8_t digest[32];
    uint64_t size = 0;
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    sha256_init(&sha);
    while ((n = read(fd, buf, sizeof(buf))) > 0) {
        sha256_update(&sha, (size_t)n, buf);
        size += (uint64_t)n;
    }
    int error = n < 0 ? -errno : 0;
    close(fd);
    sha256_digest(&sha, sizeof(digest), digest);
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    text_add(t, "%s %llu ", kind, (unsigned long long)size);
    for (unsigned i = 0; i < sizeof(digest); i++)
        text_add(t, "%02x", digest[i]);
    text_add(t, " %s\n", name);
    return error;
}

static int describe_images(struct text *t, const struct config *c, const char **what) {
    int error = image(t, "kernel", *what = c->kernel);
    for (unsigned i = 0; !error && i < c->initrd_count; i++) {
        error = image(t, "module", *what = c->initrd[i]);
        if (c->initrd_append[i])
            text_add(t, "initrd-append %s\n", c->initrd_append[i]);
    }
    for (unsigned i = 0; !error && i < c->disk_count; i++) {
        text_add(t, "disk%u %s %s\n", i, c->disks[i].interface == DISK_IDE ? "ide" : "virtio",
                 c->disks[i].read_only ? "ro" : "rw");
        error = image(t, "image", *what = c->disks[i].path);
    }
    return error;
}

static const char *clock_words(const struct machine *m, unsigned kind) {
    if (m->by_exits)
        return "tick exit\nclock none";
    return kind == CHRONO_CLOCK_TSC ? "tick instruction\nclock tsc" : "tick branch\nclock pmc";
}

// What the run starts from, a line for each thing that must be the same for a replay. 0 or -errno.
static int describe(struct machine *m, struct text *t) {
    const struct config *c = m->config;
    struct chrono_clock clock = {0};
    ioctl(m->kvm_fd, CHRONO_GET_CLOCK, &clock);
    text_add(t, "%s\nfingerprint", clock_words(m, clock.kind));
    for (unsigned i = 0; i < 4; i++)
        text_add(t, " %016llx", (unsigned long long)clock.fingerprint[i]);
    text_add(t, "\nexceptions %08x\nmemory %llu\ncpus %u\ncpuid %016llx\n", clock.exceptions,
             (unsigned long long)m->ram_size, m->cpu_count, (unsigned long long)m->cpuid_sum);
    text_add(t, "acpi %d\npci %d\nreboot %d\nappend %s\n", c->acpi, c->pci, c->reboot,
             c->append ? c->append : "");
    text_add(t, "console %s\n", c->console ? "yes" : "no");
    const char *what = "";
    int error = describe_images(t, c, &what);
    if (error)
        machine_log(m, "%s: %s", what, strerror(-error));
    if (!error && t->used == t->size - 1) { // what is cut off would not be compared
        machine_log(m, "command line and names of images are too long for a log's %u bytes",
                    DESCRIPTION_MAX);
        error = -E2BIG;
    }
    return error;
}

// ---- what the inputs ask of the machine ------------------------------------------------------------
static void check(void *opaque, struct state_check *c) {
    machine_check(opaque, c);
}

static const struct memory_sum *sums(void *opaque, size_t *count) {
    struct machine *m = opaque;
    const struct memory_sum *s = sums_now(m->sums, count);
    if (m->config->verify_sums)
        sums_verify(m->sums);
    return s;
}

static void name_state(void *opaque, const struct state_check *recorded, char *buf, size_t n) {
    machine_name_difference(opaque, recorded, buf, n);
}

static void name_memory(void *opaque, size_t unit, const struct memory_sum *recorded, char *buf,
                        size_t n) {
    struct machine *m = opaque;
    sums_name_difference(m->sums, unit, recorded, buf, n);
}

static void stop(void *opaque, bool failed, const char *reason) {
    struct machine *m = opaque;
    if (m->end == MACHINE_RUNNING)
        machine_stop(m, failed ? MACHINE_FAILED : MACHINE_QUIT, "%s", reason);
    else
        machine_log(m, "%s", reason); // at its end, where the last sums are compared
}

static struct inputs *open_log(struct machine *m, const char *description) {
    const struct config *c = m->config;
    const struct record_options options = {c->seed, c->chaos, c->sum_interval, c->sum_unit};
    char error[256] = "";
    struct inputs *in = c->replay ? inputs_replay(c->replay, description, m->hz, error)
                                  : inputs_record(c->record, description, m->hz, &options, error);
    if (!in)
        machine_log(m, "%s", error);
    return in;
}

int recording_set_hz(struct machine *m) {
    char error[256];
    int r = m->config->replay ? inputs_replay_hz(m->config->replay, &m->hz, error) : 0;
    if (r)
        machine_log(m, "%s", error);
    return r;
}

// A recording starts from images that stay as they are, and from nothing else. What keeps a disk from it, NULL:
// nothing.
static const char *disk_fault(const struct config_disk *d) {
    struct stat st;
    if (d->read_only || d->private)
        return NULL;
    if (!d->overlay)
        return "a recorded VM may not write to its disk images: add ,overlay=FILE, ,private or ,ro";
    if (stat(d->overlay, &st) == 0 && st.st_size)
        return "a recording starts from the image alone: the overlay must be a new or empty file";
    return NULL;
}

// 0, or -EINVAL after a message.
static int check_disks(struct machine *m) {
    const struct config *c = m->config;
    for (unsigned i = 0; i < c->disk_count; i++) {
        const char *fault = disk_fault(&c->disks[i]);
        if (!fault)
            continue;
        machine_log(m, "%s: %s", c->disks[i].overlay ? c->disks[i].overlay : c->disks[i].path,
                    fault);
        return -EINVAL;
    }
    return 0;
}

struct inputs *recording_open(struct machine *m) {
    const struct config *c = m->config;
    figures_start(m);
    if (!c->record && !c->replay) {
        struct inputs *live = inputs_pass_through(m->hz);
        if (live && m->by_exits)
            inputs_follow_exits(live);
        return live;
    }
    if (!m->exact && !m->by_exits) {
        machine_log(m, "recording and replaying need Chronovisor's /dev/kvm");
        return NULL;
    }
    if (!c->replay && check_disks(m)) // a replay keeps what the guest writes in memory
        return NULL;
    static char description[DESCRIPTION_MAX];
    struct text t = {description, sizeof(description), 0};
    struct inputs *in = describe(m, &t) ? NULL : open_log(m, description);
    if (!in)
        return NULL;
    if (m->by_exits)
        inputs_follow_exits(in);
    const struct inputs_target target = {m, check, sums, name_state, name_memory, stop};
    inputs_set_target(in, &target);
    m->sums = sums_create(m, inputs_sum_unit(in));
    figures_start(m);
    if (m->sums)
        return in;
    machine_log(m, "out of memory for the sums of memory");
    inputs_free(in);
    return NULL;
}

static void tell_end(struct machine *m, bool failed) {
    const char *log = m->config->replay, *ticks = m->by_exits ? "exits" : "instructions";
    uint64_t accessed = inputs_accessed_only(m->inputs);
    if (inputs_replaying(m->inputs) && failed)
        report_exits(m);
    else if (inputs_replaying(m->inputs) && !m->debug) // who travels comes here again and again
        machine_log(m, "replayed %llu %s, all checks equal", (unsigned long long)m->count, ticks);
    else if (m->config->record && !failed)
        machine_log(m, "recorded %llu %s in %s", (unsigned long long)m->count, ticks,
                    m->config->record);
    if (accessed)
        machine_log(m, "%s: %llu sums of memory differed in accessed bits only", log,
                    (unsigned long long)accessed);
}

int recording_finish(struct machine *m, int status) {
    static const char *const ends[] = {
        [MACHINE_RUNNING] = "running", [MACHINE_POWERED_OFF] = "powered off",
        [MACHINE_RESET] = "reset",     [MACHINE_TRIPLE_FAULT] = "triple fault",
        [MACHINE_CRASHED] = "crashed", [MACHINE_FAILED] = "failed",
        [MACHINE_QUIT] = "left",       [MACHINE_SILENT] = NULL};
    struct landmark at = {.count = m->count, .cpu = m->current->index};
    // As if the instruction that crashed it had been executed: a replay must not stop before it for
    // the last sums, because it may have changed memory (bits in page tables).
    at.count += m->end == MACHINE_CRASHED;
    if (m->current->chrono) {
        at.rip = m->current->chrono->rip;
        at.rcx = m->current->chrono->rcx;
    }
    bool left = inputs_left(m->inputs), replay = inputs_replaying(m->inputs);
    // In the middle of an instruction there is no landmark for a log's end.
    bool within = !replay && m->end == MACHINE_FAILED && m->current->access_pending;
    int err = inputs_finish(m->inputs, &at, within ? NULL : ends[m->end]);
    bool wrong = m->sums && sums_failed(m->sums);
    bool failed = err || (replay && (m->end == MACHINE_FAILED || wrong));
    if (replay && left)
        return status;
    tell_end(m, failed || wrong);
    return failed ? EXIT_DIFFERS : replay ? 0 : wrong ? EXIT_FAILED : status;
}
