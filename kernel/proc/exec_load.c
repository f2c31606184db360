// The memory of a new program: its segments, its stack with arguments and auxiliary vector.
#include <asm/mman.h>
#include <linux/auxvec.h>
#include <linux/mman.h>
#include <linux/resource.h>
#include "cpu/x86.h"
#include "fs/file.h"
#include "fs/inode.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/space.h"
#include "proc/elf.h"
#include "proc/exec.h"
#include "proc/process.h"
#include "proc/random.h"

#define PIE_BASE    0x555555554000ull // as Linux without randomisation
#define STACK_MAX   (64 * MIB)
#define STACK_MIN   (256 * KIB)
#define STACK_GUARD (1 * MIB) // between the stack and the mappings below it
#define CLOCK_TICKS 100       // AT_CLKTCK: units of times(2)
#define HWCAP2_NONE 0
#define AUX_PAIRS   20

static const char platform[] = "x86_64";

static int map_anonymous(struct space *s, uint64_t start, uint64_t end, int prot, int flags) {
    long r = space_map(s, start, end - start, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | flags,
                       NULL, 0);
    return r < 0 ? (int)r : 0;
}

// The bytes of the last file page behind the segment's file part are zero in memory.
static int zero_tail(struct space *s, uint64_t from) {
    static const char zeroes[512];
    uint64_t end = ROUND_UP(from, PAGE_SIZE);
    while (from < end) {
        size_t n = MIN(end - from, sizeof(zeroes));
        long r = space_copy(s, from, (void *)zeroes, n, true);
        if (r < 0)
            return (int)r;
        from += n;
    }
    return 0;
}

static int map_segment(struct space *s, struct file *f, const struct elf_segment *seg,
                       uint64_t bias) {
    uint64_t start = ROUND_DOWN(seg->start, PAGE_SIZE), end = ROUND_UP(seg->end, PAGE_SIZE);
    uint64_t file_end = seg->file_end > seg->start ? ROUND_UP(seg->file_end, PAGE_SIZE) : start;
    if (file_end > start) {
        long r = space_map(s, bias + start, file_end - start, seg->prot, MAP_PRIVATE | MAP_FIXED, f,
                           ROUND_DOWN(seg->offset, PAGE_SIZE));
        if (r < 0)
            return (int)r;
        if (seg->end > seg->file_end && (seg->prot & PROT_WRITE)) {
            int err = zero_tail(s, bias + seg->file_end);
            if (err)
                return err;
        }
    }
    return end > file_end ? map_anonymous(s, bias + file_end, bias + end, seg->prot, 0) : 0;
}

static int map_image(struct space *s, struct file *f, const struct elf_image *image,
                     uint64_t bias) {
    for (unsigned i = 0; i < image->segment_count; i++) {
        int err = map_segment(s, f, &image->segments[i], bias);
        if (err)
            return err;
    }
    s->brk_start = s->brk = bias + image->high;
    return 0;
}

// The stack is mapped in its full size; pages come as they are touched.
static int map_stack(struct space *s, const struct exec_args *args, bool executable) {
    uint64_t size = current_process()->limits[RLIMIT_STACK].rlim_cur;
    size = MAX(MIN(size, STACK_MAX), STACK_MIN);
    size = ROUND_UP(size + args->used, PAGE_SIZE);
    uint64_t bottom = USER_STACK_TOP - size;
    s->mmap_base = bottom - STACK_GUARD;
    return map_anonymous(s, bottom, USER_STACK_TOP,
                         PROT_READ | PROT_WRITE | (executable ? PROT_EXEC : 0),
                         MAP_NORESERVE | MAP_STACK);
}

// Where things are on the new stack.
struct stack_layout {
    uint64_t path, platform, random, strings;
};

static unsigned fill_aux(uint64_t *aux, const struct exec_program *p, const struct elf_image *image,
                         uint64_t bias, const struct stack_layout *at) {
    const struct credentials *c = &current_process()->credentials;
    bool secure = c->uid != c->euid || c->gid != c->egid;
    const uint64_t pairs[][2] = {
        {AT_HWCAP, cpuid(1, 0).edx},
        {AT_PAGESZ, PAGE_SIZE},
        {AT_CLKTCK, CLOCK_TICKS},
        {AT_PHDR, image->headers ? bias + image->headers : 0},
        {AT_PHENT, sizeof(Elf64_Phdr)},
        {AT_PHNUM, image->header_count},
        {AT_BASE, 0},
        {AT_FLAGS, 0},
        {AT_ENTRY, p->entry},
        {AT_UID, c->uid},
        {AT_EUID, c->euid},
        {AT_GID, c->gid},
        {AT_EGID, c->egid},
        {AT_SECURE, secure},
        {AT_RANDOM, at->random},
        {AT_HWCAP2, HWCAP2_NONE},
        {AT_EXECFN, at->path},
        {AT_PLATFORM, at->platform},
        {AT_NULL, 0},
    };
    _Static_assert(ARRAY_SIZE(pairs) <= AUX_PAIRS, "room for the auxiliary vector");
    memcpy(aux, pairs, sizeof(pairs));
    return sizeof(pairs) / sizeof(uint64_t);
}

// Writes pointers to `count` strings that begin at *text (kernel) and *at (user); advances both.
static uint64_t *fill_pointers(uint64_t *to, unsigned count, const char **text, uint64_t *at) {
    while (count--) {
        *to++ = *at;
        size_t n = strlen(*text) + 1;
        *text += n;
        *at += n;
    }
    *to++ = 0;
    return to;
}

static int write_space(struct space *s, uint64_t at, const void *from, size_t n) {
    long r = space_copy(s, at, (void *)from, n, true);
    return r < 0 ? (int)r : (size_t)r == n ? 0 : -EFAULT;
}

// psABI, "Initial Stack and Register State": argc, argv, NULL, envp, NULL, auxv; strings above.
static int fill_stack(struct exec_program *p, const struct elf_image *image, uint64_t bias) {
    struct space *s = p->space;
    const struct exec_args *a = &p->args;
    struct stack_layout at;
    uint8_t random[16];
    random_bytes(random, sizeof(random));
    uint64_t top = USER_STACK_TOP - sizeof(uint64_t);
    at.path = top - (strlen(p->path) + 1);
    at.strings = at.path - a->used;
    at.platform = at.strings - sizeof(platform);
    at.random = ROUND_DOWN(at.platform - sizeof(random), 16);

    size_t words = 1 + a->argc + 1 + a->envc + 1 + 2 * AUX_PAIRS;
    uint64_t *vector = kzalloc(words * sizeof(uint64_t));
    if (!vector)
        return -ENOMEM;
    const char *text = a->text;
    uint64_t string = at.strings;
    uint64_t *to = vector;
    *to++ = a->argc;
    s->arg_start = string;
    to = fill_pointers(to, a->argc, &text, &string);
    s->arg_end = s->env_start = string;
    to = fill_pointers(to, a->envc, &text, &string);
    s->env_end = string;
    to += fill_aux(to, p, image, bias, &at);
    size_t bytes = (size_t)((char *)to - (char *)vector);
    p->stack_pointer = ROUND_DOWN(at.random - bytes, 16);

    int err = write_space(s, at.path, p->path, strlen(p->path) + 1);
    if (!err && a->used)
        err = write_space(s, at.strings, a->text, a->used);
    if (!err)
        err = write_space(s, at.platform, platform, sizeof(platform));
    if (!err)
        err = write_space(s, at.random, random, sizeof(random));
    if (!err)
        err = write_space(s, p->stack_pointer, vector, bytes);
    kfree(vector);
    return err;
}

static int build(struct exec_program *p, const struct elf_image *image) {
    uint64_t bias = image->position_independent ? PIE_BASE - image->low : 0;
    if (bias + image->high > USER_STACK_TOP - STACK_MAX - GIB)
        return -ENOEXEC;
    p->space = space_create();
    if (!p->space)
        return -ENOMEM;
    p->entry = bias + image->entry;
    int err = map_stack(p->space, &p->args, image->executable_stack);
    if (!err)
        err = map_image(p->space, p->file, image, bias);
    if (!err)
        err = fill_stack(p, image, bias);
    if (err) {
        space_put(p->space);
        p->space = NULL;
    }
    return err;
}

static int complain(const struct exec_program *p, enum elf_result r) {
    if (r == ELF_DYNAMIC)
        log_notice("proc: %s: wants a dynamic linker: only static programs run here", p->path);
    else if (r == ELF_UNSUPPORTED)
        log_notice("proc: %s: not a program for x86-64", p->path);
    else if (r == ELF_MALFORMED)
        log_notice("proc: %s: malformed ELF file", p->path);
    return -ENOEXEC;
}

int exec_load(struct exec_program *p, const void *head, size_t size) {
    uint64_t file_size = p->file->inode->size;
    enum elf_result r = elf_check_header(head, size, file_size);
    if (r != ELF_OK)
        return complain(p, r);
    const Elf64_Ehdr *h = head;
    size_t table = h->e_phnum * sizeof(Elf64_Phdr);
    struct {
        struct elf_image image;
        Elf64_Phdr headers[ELF_HEADERS_MAX];
    } *work = kmalloc(sizeof(*work));
    if (!work)
        return -ENOMEM;
    int err;
    ssize_t n = file_read_kernel(p->file, work->headers, table, h->e_phoff);
    if (n != (ssize_t)table) {
        err = n < 0 ? (int)n : -ENOEXEC;
    } else {
        r = elf_parse(h, work->headers, file_size, &work->image);
        err = r == ELF_OK ? build(p, &work->image) : complain(p, r);
    }
    kfree(work);
    return err;
}
