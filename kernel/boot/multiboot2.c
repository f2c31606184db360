// The boot loader's information (boot/multiboot2.h).
#include "boot/multiboot2.h"
#include "lib/string.h"

// Tag types, section "Boot information"
enum {
    TAG_END = 0,
    TAG_CMDLINE = 1,
    TAG_LOADER = 2,
    TAG_MODULE = 3,
    TAG_MEMORY_MAP = 6,
    TAG_ACPI_OLD = 14,
    TAG_ACPI_NEW = 15,
};

struct tag {
    uint32_t type, size; // size with this header, without the padding to 8
};
struct module_tag {
    struct tag tag;
    uint32_t start, end; // then a command line
};
struct memory_map_tag {
    struct tag tag;
    uint32_t entry_size, entry_version; // then the entries
};
struct memory_map_entry {
    uint64_t base, length;
    uint32_t type, reserved; // type 1: usable memory
};

// Adds a range, or drops it when the list is full (real maps have some 20 entries).
static void add_range(struct boot_info *info, paddr_t start, paddr_t end, bool usable) {
    if (start >= end || info->memory_count == ARRAY_SIZE(info->memory))
        return;
    info->memory[info->memory_count++] = (struct memory_range){start, end, usable};
}

static void remove_range(struct boot_info *info, unsigned i) {
    info->memory_count--;
    for (; i < info->memory_count; i++)
        info->memory[i] = info->memory[i + 1];
}

// Insertion sort by start; unusable first among equals.
static void sort_ranges(struct boot_info *info) {
    struct memory_range *m = info->memory;
    for (unsigned i = 1; i < info->memory_count; i++) {
        struct memory_range r = m[i];
        unsigned k = i;
        for (; k > 0 && (m[k - 1].start > r.start ||
                         (m[k - 1].start == r.start && m[k - 1].usable && !r.usable));
             k--)
            m[k] = m[k - 1];
        m[k] = r;
    }
}

// Firmware maps may overlap. Where ranges of different kinds do, "unusable" wins; equal neighbours
// are joined. `m` is sorted before and after.
static void resolve_overlaps(struct boot_info *info) {
    struct memory_range *m = info->memory;
    unsigned i = 0;
    while (i + 1 < info->memory_count) {
        struct memory_range *a = &m[i], *b = &m[i + 1];
        if (b->start > a->end || (b->start == a->end && a->usable != b->usable)) {
            i++;
        } else if (a->usable == b->usable) {
            a->end = MAX(a->end, b->end);
            remove_range(info, i + 1);
        } else if (a->usable) {
            // The usable one keeps what is before, and what is after, the unusable one.
            paddr_t rest_start = b->end, rest_end = a->end;
            a->end = b->start;
            if (a->start >= a->end)
                remove_range(info, i);
            add_range(info, rest_start, rest_end, true);
            sort_ranges(info);
            i = 0;
        } else {
            b->start = a->end;
            if (b->start >= b->end)
                remove_range(info, i + 1);
            sort_ranges(info);
            i = 0;
        }
    }
}

static void parse_memory_map(const char *tag, uint32_t size, struct boot_info *info) {
    struct memory_map_tag head;
    if (size < sizeof(head))
        return;
    memcpy(&head, tag, sizeof(head));
    if (head.entry_size < sizeof(struct memory_map_entry))
        return;
    for (uint64_t at = sizeof(head); at + head.entry_size <= size; at += head.entry_size) {
        struct memory_map_entry e;
        memcpy(&e, tag + at, sizeof(e));
        uint64_t end;
        if (__builtin_add_overflow(e.base, e.length, &end))
            end = UINT64_MAX;
        bool usable = e.type == 1;
        // Whole pages only: a page that is partly usable is not.
        if (usable)
            add_range(info, ROUND_UP(MIN(e.base, UINT64_MAX - PAGE_SIZE), PAGE_SIZE),
                      ROUND_DOWN(end, PAGE_SIZE), true);
        else
            add_range(info, ROUND_DOWN(e.base, PAGE_SIZE),
                      ROUND_UP(MIN(end, UINT64_MAX - PAGE_SIZE), PAGE_SIZE), false);
    }
}

// The first module is the initial file system.
static void parse_module(const char *tag, uint32_t size, struct boot_info *info) {
    struct module_tag m;
    if (size < sizeof(m) || info->initrd_end)
        return;
    memcpy(&m, tag, sizeof(m));
    if (m.start && m.start < m.end) {
        info->initrd_start = m.start;
        info->initrd_end = m.end;
    }
}

static void parse_string(const char *tag, uint32_t size, char *to, size_t to_size) {
    size_t n = strnlen(tag + sizeof(struct tag), MIN(size - sizeof(struct tag), to_size - 1));
    memcpy(to, tag + sizeof(struct tag), n);
    to[n] = '\0';
}

static void parse_tag(const char *tag, const struct tag *t, paddr_t address,
                      struct boot_info *info) {
    switch (t->type) {
    case TAG_CMDLINE: parse_string(tag, t->size, info->cmdline, sizeof(info->cmdline)); break;
    case TAG_LOADER: parse_string(tag, t->size, info->loader, sizeof(info->loader)); break;
    case TAG_MODULE: parse_module(tag, t->size, info); break;
    case TAG_MEMORY_MAP: parse_memory_map(tag, t->size, info); break;
    case TAG_ACPI_OLD:
        if (!info->rsdp)
            info->rsdp = address + sizeof(*t);
        break;
    case TAG_ACPI_NEW: info->rsdp = address + sizeof(*t); break; // has the 64-bit table address
    }
}

const char *multiboot2_parse(const void *data, size_t size, paddr_t base, struct boot_info *info) {
    uint32_t total;
    if (size < 8)
        return "the boot loader's information is cut off";
    memcpy(&total, data, sizeof(total));
    size = MIN(size, (size_t)total);
    info->cmdline[0] = info->loader[0] = '\0';
    info->memory_count = 0;
    info->initrd_start = info->initrd_end = info->rsdp = 0;

    struct tag t;
    for (uint64_t at = 8; at + sizeof(t) <= size; at += ROUND_UP((uint64_t)t.size, 8)) {
        const char *tag = (const char *)data + at;
        memcpy(&t, tag, sizeof(t));
        if (t.type == TAG_END || t.size < sizeof(t) || t.size > size - at)
            break;
        parse_tag(tag, &t, base + at, info);
    }
    sort_ranges(info);
    resolve_overlaps(info);
    for (unsigned i = 0; i < info->memory_count; i++)
        if (info->memory[i].usable)
            return NULL;
    return "the boot loader passed no map of usable memory";
}
