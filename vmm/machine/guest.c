#define _GNU_SOURCE // basename() that leaves its argument alone
#include "vmm/machine/guest.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "replay/inputs.h"
#include "vmm/machine/config.h"
#include "vmm/machine/cpu.h"
#include "vmm/machine/firmware/firmware.h"
#include "vmm/machine/load/load.h"
#include "vmm/machine/statistics.h"

#define CR0_PE       (1ull << 0)
#define CR0_ET       (1ull << 4)
#define CR0_PG       (1ull << 31)
#define CR4_PAE      (1ull << 5)
#define EFER_LME     (1ull << 8)
#define EFER_LMA     (1ull << 10)
#define RFLAGS_FIXED 2

// Segment types (SDM vol. 3, "Code- and Data-Segment Descriptor Types", "System Descriptor Types").
#define TYPE_DATA 3  // read and write, accessed
#define TYPE_CODE 11 // execute and read, accessed
#define TYPE_TSS  11 // busy

struct guest {
    struct load_request request;
};

// ---- files -------------------------------------------------------------------------------------
static int map_file(struct machine *m, const char *path, struct load_image *image) {
    int fd = open(path, O_RDONLY | O_CLOEXEC), error = 0;
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        error = errno;
    else if (!S_ISREG(st.st_mode) || !st.st_size)
        error = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
    if (!error) {
        void *data = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            error = errno;
        else // the guest may see the name: where the file lies is not part of the run
            *image = (struct load_image){.name = basename(path), .data = data, .size = st.st_size};
    }
    if (fd >= 0)
        close(fd);
    if (error)
        machine_log(m, "%s: %s", path, error == EINVAL ? "not a file, or empty" : strerror(error));
    return -error;
}

struct guest *guest_open(struct machine *m, const struct config *config) {
    struct guest *g = calloc(1, sizeof(*g));
    if (!g)
        return NULL;
    g->request.command_line = config->append ? config->append : "";
    int error = map_file(m, config->kernel, &g->request.kernel);
    for (unsigned i = 0; !error && i < config->initrd_count; i++) {
        struct load_image *module = &g->request.modules[g->request.module_count++];
        error = map_file(m, config->initrd[i], module);
        module->arguments = config->initrd_append[i];
    }
    if (!error)
        return g;
    guest_close(g);
    return NULL;
}

static void unmap(const struct load_image *image) {
    if (image->data)
        munmap((void *)image->data, image->size);
}

void guest_close(struct guest *g) {
    unmap(&g->request.kernel);
    for (unsigned i = 0; i < g->request.module_count; i++)
        unmap(&g->request.modules[i]);
    free(g);
}

// ---- registers ---------------------------------------------------------------------------------
static struct kvm_segment flat(uint16_t selector, uint8_t type, bool is_64) {
    bool code = type == TYPE_CODE;
    return (struct kvm_segment){.limit = 0xffffffff,
                                .selector = selector,
                                .type = type,
                                .present = 1,
                                .s = 1,
                                .db = !(code && is_64),
                                .l = code && is_64,
                                .g = 1};
}

static void set_flat_segments(struct kvm_sregs *s, const struct boot_cpu *b) {
    bool is_64 = b->mode == BOOT_LONG;
    struct kvm_segment data = flat(b->data_selector, TYPE_DATA, is_64);
    s->cs = flat(b->code_selector, TYPE_CODE, is_64);
    s->ds = s->es = s->fs = s->gs = s->ss = data;
    s->tr = (struct kvm_segment){.limit = 0x67, .type = TYPE_TSS, .present = 1};
    s->ldt = (struct kvm_segment){.unusable = 1};
    s->gdt = (struct kvm_dtable){.base = b->gdt_base, .limit = b->gdt_limit};
    s->idt = (struct kvm_dtable){0};
}

static void set_real_segments(struct kvm_sregs *s) {
    s->cs.base = 0; // everything else is as after reset: base 0, limit 64 KB
    s->cs.selector = 0;
    s->idt = (struct kvm_dtable){.limit = 0x3ff};
}

static void apply(struct cpu *c, const struct boot_cpu *b) {
    struct kvm_sregs s;
    cpu_get_sregs(c, &s);
    if (b->mode == BOOT_REAL)
        set_real_segments(&s);
    else
        set_flat_segments(&s, b);
    s.cr0 = CR0_ET | (b->mode != BOOT_REAL ? CR0_PE : 0) | (b->mode == BOOT_LONG ? CR0_PG : 0);
    if (b->mode == BOOT_LONG) {
        s.cr3 = b->cr3;
        s.cr4 = CR4_PAE;
        s.efer = EFER_LME | EFER_LMA;
    }
    cpu_set_sregs(c, &s);
    struct kvm_regs r = {.rip = b->rip,
                         .rsp = b->rsp,
                         .rax = b->rax,
                         .rbx = b->rbx,
                         .rdx = b->rdx,
                         .rsi = b->rsi,
                         .rflags = RFLAGS_FIXED};
    cpu_set_regs(c, &r);
}

int guest_start(struct machine *m, struct guest *g) {
    struct boot_cpu boot = {0};
    char error[256];
    firmware_write(m);
    if (linux_recognise(&g->request.kernel) || vmlinux_recognise(&g->request.kernel))
        inputs_random(m->inputs, g->request.seed, sizeof(g->request.seed));
    int r = load_guest(m, &g->request, &boot, error);
    if (r) {
        const char *name = g->request.kernel.name;
        bool named = !strncmp(error, name, strlen(name)); // what is wrong in the file says so
        machine_log(m, "%s%s%s", named ? "" : name, named ? "" : ": ", error);
        return r;
    }
    apply(&m->cpus[0], &boot);
    statistics_start(m);
    return m->end == MACHINE_FAILED ? -EIO : 0;
}
