/* sources: vmm/machine/load/load.c vmm/machine/load/elf.c vmm/machine/load/linux.c vmm/machine/load/vmlinux.c vmm/machine/load/multiboot.c vmm/machine/load/multiboot2.c vmm/machine/load/multiboot2_info.c vmm/machine/load/flat.c vmm/machine/firmware/e820.c vmm/machine/firmware/acpi.c vmm/machine/firmware/mptable.c */
// Loaders: good images arrive where they belong, bad ones get a sentence that names the field.
#include <elf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "vmm/machine/config.h"
#include "vmm/machine/firmware/firmware.h"
#include "vmm/machine/load/load.h"
#include "vmm/machine/machine.h"

#define RAM (32u << 20)
#define MB  (1u << 20)

static struct config config = {.acpi = true};
static struct machine machine;
static char error[256];
static struct boot_cpu cpu;

void *guest_memory(struct machine *m, uint64_t gpa, uint64_t n) {
    if (gpa >= m->low_size || n > m->low_size - gpa || (gpa < 0xc0000 && gpa + n > 0xa0000))
        return NULL;
    return m->ram + gpa;
}

static int setup(void **state) {
    machine = (struct machine){
        .config = &config, .ram = calloc(1, RAM), .ram_size = RAM, .low_size = RAM, .cpu_count = 2};
    error[0] = 0;
    return 0;
}
static int teardown(void **state) {
    free(machine.ram);
    return 0;
}

static struct load_request request(const void *data, size_t n) {
    return (struct load_request){.kernel = {"kernel", data, n},
                                 .command_line = "a b",
                                 .seed = "thirty-two bytes of randomness."};
}

static int load(const void *data, size_t n) {
    struct load_request r = request(data, n);
    return load_guest(&machine, &r, &cpu, error);
}

// The image is refused with a sentence that has these words.
static void refused(const void *data, size_t n, const char *words) {
    error[0] = 0;
    assert_int_equal(load(data, n), -EINVAL);
    if (!strstr(error, words))
        fail_msg("no \"%s\" in: %s", words, error);
}

static uint32_t word(uint64_t gpa) {
    uint32_t v;
    memcpy(&v, machine.ram + gpa, 4);
    return v;
}

// ---- Multiboot 1 ---------------------------------------------------------------------------------
struct mb1 {
    uint32_t magic, flags, checksum, header_addr, load_addr, load_end_addr, bss_end_addr,
        entry_addr;
    uint8_t code[64];
};

static struct mb1 kludge(void) {
    struct mb1 k = {.magic = 0x1badb002,
                    .flags = 1u << 16,
                    .header_addr = 0x100000,
                    .load_addr = 0x100000,
                    .bss_end_addr = 0x101000,
                    .entry_addr = 0x100020};
    k.checksum = -(k.magic + k.flags);
    memset(k.code, 0x90, sizeof(k.code));
    return k;
}

static void multiboot1_kludge(void **state) {
    struct mb1 k = kludge();
    memset(machine.ram + 0x100080, 0xff, 64); // must be cleared as bss
    assert_int_equal(load(&k, sizeof(k)), 0);
    assert_int_equal(cpu.mode, BOOT_PROTECTED);
    assert_int_equal(cpu.rip, 0x100020);
    assert_int_equal(cpu.rax, 0x2badb002);
    assert_memory_equal(machine.ram + 0x100000, &k, sizeof(k));
    assert_int_equal(word(0x100080), 0);
    uint32_t info = (uint32_t)cpu.rbx;
    assert_string_equal((char *)machine.ram + word(info + 16), "kernel a b");
    assert_int_equal(word(info + 4), 639); // KB of base memory
    assert_true(word(info) & (1 << 6));
    assert_int_equal(word(word(info + 48)), 20); // size of a map entry
}

static void multiboot1_wrong(void **state) {
    struct mb1 k = kludge();
    k.load_end_addr = 0x200000;
    refused(&k, sizeof(k), "load_end_addr 0x200000 is past the end");
    k.load_end_addr = 0xff000;
    refused(&k, sizeof(k), "load_end_addr 0xff000 is below load_addr 0x100000");
    k = kludge();
    k.load_addr = 0x100004;
    refused(&k, sizeof(k), "load_addr 0x100004");
    k = kludge();
    k.bss_end_addr = 0xf0000000;
    refused(&k, sizeof(k), "32 MiB");
    k = kludge();
    k.flags |= 8;
    k.checksum = -(k.magic + k.flags);
    refused(&k, sizeof(k), "flags 0x10008");
}

// A command line that does not fit is not cut off.
static void multiboot1_long_line(void **state) {
    struct mb1 k = kludge();
    char line[5000];
    struct load_request r = request(&k, sizeof(k));
    r.command_line = line;
    memset(line, 'x', sizeof(line));
    line[4095 - strlen("kernel ")] = 0;
    assert_int_equal(load_guest(&machine, &r, &cpu, error), 0);
    assert_int_equal(strlen((char *)machine.ram + word(cpu.rbx + 16)), 4095);
    line[strlen(line)] = 'x';
    line[4096] = 0;
    assert_int_equal(load_guest(&machine, &r, &cpu, error), -EINVAL);
    assert_non_null(strstr(error, "the command line has 4103 characters"));
}

// ---- ELF -----------------------------------------------------------------------------------------
struct elf_file {
    Elf32_Ehdr e;
    Elf32_Phdr p;
    struct mb1 h;
};

static struct elf_file elf(void) {
    struct elf_file f = {.h = kludge()};
    memcpy(f.e.e_ident, ELFMAG, 4);
    f.e.e_ident[EI_CLASS] = ELFCLASS32;
    f.e.e_machine = EM_386;
    f.e.e_phoff = offsetof(struct elf_file, p);
    f.e.e_phnum = 1;
    f.e.e_phentsize = sizeof(f.p);
    f.e.e_entry = 0xc0200010;
    f.p = (Elf32_Phdr){.p_type = PT_LOAD,
                       .p_offset = offsetof(struct elf_file, h),
                       .p_vaddr = 0xc0200000,
                       .p_paddr = 0x200000,
                       .p_filesz = sizeof(f.h),
                       .p_memsz = 0x2000};
    f.h.flags = 0;
    f.h.checksum = -f.h.magic;
    return f;
}

static void elf_high(void **state) {
    struct elf_file f = elf();
    assert_int_equal(load(&f, sizeof(f)), 0);
    assert_int_equal(cpu.rip, 0x200010); // the virtual entry, at its physical place
    assert_memory_equal(machine.ram + 0x200000, &f.h, sizeof(f.h));
}

static void elf_low(void **state) {
    struct elf_file f = elf();
    f.p.p_paddr = 0x8000; // between them
    assert_int_equal(load(&f, sizeof(f)), 0);
    assert_memory_equal(machine.ram + 0x8000, &f.h, sizeof(f.h));
}

static void elf_wrong(void **state) {
    struct elf_file f = elf();
    f.p.p_filesz = 0x10000;
    f.p.p_memsz = 0x10000;
    refused(&f, sizeof(f), "program header 0: p_offset");
    f = elf();
    f.p.p_memsz = 4;
    refused(&f, sizeof(f), "p_memsz 0x4");
    f = elf();
    f.e.e_phnum = 1000;
    refused(&f, sizeof(f), "e_phnum 1000");
    f = elf();
    f.e.e_machine = EM_ARM;
    refused(&f, sizeof(f), "e_machine 40");
    f = elf();
    f.p.p_paddr = 0xa0000;
    refused(&f, sizeof(f), "0xa0000");
    f = elf();
    f.p.p_paddr = 0x1000; // where the loader's GDT is
    refused(&f, sizeof(f), "ELF segment 0, 8192 bytes at 0x1000, lies where the loader has tables");
    f.p.p_paddr = 0xf000;
    refused(&f, sizeof(f), "at 0xf000, lies where");
    f = elf();
    f.p.p_type = PT_NOTE;
    refused(&f, sizeof(f), "no loadable segment");
    f = elf();
    f.e.e_ident[0] = 0; // a Multiboot header, but neither addresses in it nor ELF
    refused(&f, sizeof(f), "no ELF header");
}

// ---- Multiboot 2 ---------------------------------------------------------------------------------
struct mb2 {
    uint32_t magic, arch, length, checksum;
    uint32_t address_tag[6], entry_tag[4], extra[4], end[2];
    uint8_t code[32];
};

static struct mb2 tags(void) {
    struct mb2 k = {.magic = 0xe85250d6,
                    .length = offsetof(struct mb2, code),
                    .address_tag = {2, 24, 0x300000, 0x300000, 0, 0},
                    .entry_tag = {3, 12, 0x300040, 0},
                    .extra = {6, 16},
                    .end = {0, 8}};
    k.checksum = -(k.magic + k.arch + k.length);
    return k;
}

static uint64_t tag_at[32]; // address of the last tag of each kind

// Kinds of tags that a kernel is given, a bit each.
static unsigned multiboot2_given(void) {
    uint64_t at = cpu.rbx + 8, end = cpu.rbx + word(cpu.rbx);
    unsigned seen = 0;
    for (; word(at) != 0 && at < end; at += (word(at + 4) + 7) & ~7u) {
        seen |= 1u << word(at);
        tag_at[word(at)] = at;
    }
    assert_int_equal(at + 8, end);
    return seen;
}

static void multiboot2_tags(void **state) {
    struct mb2 k = tags();
    const unsigned always = 1 << 1 | 1 << 2 | 1 << 4 | 1 << 6 | 1 << 8, acpi = 3 << 14;
    firmware_write(&machine);
    assert_int_equal(load(&k, sizeof(k)), 0);
    assert_int_equal(cpu.rip, 0x300040);
    assert_int_equal(cpu.rax, 0x36d76289);
    assert_int_equal(multiboot2_given(), always | acpi);
    assert_memory_equal(machine.ram + tag_at[14] + 8, "RSD PTR ", 8);
    assert_int_equal(word(tag_at[14] + 4), 8 + 20);
    assert_memory_equal(machine.ram + tag_at[15] + 8, machine.ram + FIRMWARE_RSDP, 36);
    assert_int_equal(word(tag_at[8] + 8), 0xb8000);
    assert_int_equal(word(tag_at[8] + 16), 160);         // bytes of a line
    assert_int_equal(word(tag_at[8] + 20), 80);          // columns
    assert_int_equal(word(tag_at[8] + 24), 25);          // rows
    assert_int_equal(word(tag_at[8] + 28), 2 << 8 | 16); // text, bits of a cell
    config.acpi = false;
    firmware_write(&machine);
    assert_int_equal(load(&k, sizeof(k)), 0);
    config.acpi = true;
    assert_int_equal(multiboot2_given(), always); // no tables: no pointer to them
}

// What a kernel asks for decides on what it is given, or whether it is started.
static void multiboot2_wishes(void **state) {
    static const struct {
        uint32_t tag[4];
        const char *refused; // NULL: it is started
        unsigned kind;       // of information that depends on it
        bool given;
    } cases[] = {
        {{1, 16, 9, 21}, NULL, 8, true},              // all known
        {{1, 16, 9, 22}, "information tag 22", 0, 0}, // from a later specification
        {{1 | 1u << 16, 16, 9, 22}, NULL, 8, true},   // optional
        {{4, 12, 3}, NULL, 8, true},                  // a console, text will do
        {{4, 12, 0}, NULL, 8, false},                 // graphics, if there are any
        {{4, 12, 1}, "requires a graphics mode", 0, 0},
        {{4 | 1u << 16, 12, 1}, NULL, 8, false},
        {{5, 16, 1024, 768}, NULL, 8, true}, // prefers a frame buffer
        {{6, 8, 6, 8}, NULL, 21, false},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mb2 k = tags();
        memcpy(k.extra, cases[i].tag, sizeof(k.extra));
        firmware_write(&machine);
        if (cases[i].refused) {
            refused(&k, sizeof(k), cases[i].refused);
            continue;
        }
        assert_int_equal(load(&k, sizeof(k)), 0);
        assert_int_equal(multiboot2_given() >> cases[i].kind & 1, cases[i].given);
    }
}

// Symbols and strings are loaded, and their headers say where; those of loaded sections stay as they are.
static void multiboot2_sections(void **state) {
    struct {
        struct elf_file f;
        struct mb2 h __attribute__((aligned(8)));
        Elf32_Shdr sections[5];
        char names[16], symbols[16];
    } k = {.f = elf(), .h = tags(), .names = "names", .symbols = "symbols"};
    size_t names = (size_t)(k.names - (char *)&k), symbols = (size_t)(k.symbols - (char *)&k);
    k.f.h.magic = 0;
    memset(k.h.address_tag, 0, sizeof(k.h.address_tag));
    k.h.address_tag[0] = 6, k.h.address_tag[1] = 24;
    k.f.e.e_shoff = (Elf32_Off)((char *)k.sections - (char *)&k);
    k.f.e.e_shnum = 5;
    k.f.e.e_shentsize = sizeof(k.sections[0]);
    k.f.e.e_shstrndx = 2;
    k.sections[1] = (Elf32_Shdr){.sh_type = SHT_PROGBITS, .sh_addr = 0xc0200000, .sh_size = 4};
    k.sections[2] = (Elf32_Shdr){
        .sh_type = SHT_STRTAB, .sh_offset = (Elf32_Off)names, .sh_size = 16};
    k.sections[3] = (Elf32_Shdr){
        .sh_type = SHT_SYMTAB, .sh_offset = (Elf32_Off)symbols, .sh_size = 16};
    k.sections[4] = (Elf32_Shdr){.sh_type = SHT_STRTAB, .sh_offset = 0x7fffffff, .sh_size = 16};
    firmware_write(&machine);
    assert_int_equal(load(&k, sizeof(k)), 0);
    assert_int_equal(multiboot2_given() >> 9 & 1, 1);
    uint64_t at = tag_at[9];
    assert_int_equal(word(at + 8), 5);
    assert_int_equal(word(at + 12), sizeof(Elf32_Shdr));
    assert_int_equal(word(at + 16), 2);
    const Elf32_Shdr *given = (const Elf32_Shdr *)(machine.ram + at + 20);
    assert_int_equal(given[1].sh_addr, 0xc0200000);
    assert_string_equal((char *)machine.ram + given[2].sh_addr, "names");
    assert_string_equal((char *)machine.ram + given[3].sh_addr, "symbols");
    assert_true(given[2].sh_addr >= 0x202000); // behind the kernel
    assert_int_equal(given[4].sh_addr, 0);     // past the end of the file
    k.f.e.e_shoff = 0x7fffffff;
    assert_int_equal(load(&k, sizeof(k)), 0);
    assert_int_equal(multiboot2_given() >> 9 & 1, 0);
}

// GRUB 2 gives arguments alone, and GRUB before it the name first.
static void module_arguments(void **state) {
    struct mb1 one = kludge();
    struct mb2 two = tags();
    for (unsigned with = 0; with < 2; with++) {
        struct load_request r = request(&one, sizeof(one));
        r.modules[0] = (struct load_image){"disk", (uint8_t *)"data", 4, with ? "root=a b" : NULL};
        r.module_count = 1;
        assert_int_equal(load_guest(&machine, &r, &cpu, error), 0);
        assert_string_equal((char *)machine.ram + word(word(cpu.rbx + 24) + 8),
                            with ? "disk root=a b" : "disk");
        r.kernel = request(&two, sizeof(two)).kernel;
        assert_int_equal(load_guest(&machine, &r, &cpu, error), 0);
        multiboot2_given();
        assert_string_equal((char *)machine.ram + tag_at[3] + 16, with ? "root=a b" : "disk");
    }
}

static void multiboot2_elf(void **state) {
    struct {
        struct elf_file f;
        struct mb2 h __attribute__((aligned(8)));
    } k = {.f = elf(), .h = tags()};
    memset(k.h.address_tag, 0, sizeof(k.h.address_tag));
    k.f.h.magic = 0;                                            // only the second header counts
    k.h.address_tag[0] = 6, k.h.address_tag[1] = 8;             // modules page-aligned: eight bytes
    k.h.address_tag[2] = 4 | 1u << 16, k.h.address_tag[3] = 12; // an optional console
    k.h.entry_tag[2] = 0x200020;
    firmware_write(&machine);
    assert_int_equal(load(&k, sizeof(k)), 0);
    assert_int_equal(cpu.mode, BOOT_PROTECTED);
    assert_int_equal(cpu.rip, 0x200020);
    assert_memory_equal(machine.ram + 0x200000, &k.f.h, sizeof(k.f.h));
}

static void multiboot2_wrong(void **state) {
    struct mb2 k = tags();
    firmware_write(&machine);
    k.entry_tag[1] = 100; // past the header
    refused(&k, sizeof(k), "tag 3 has size 100");
    k = tags();
    k.address_tag[0] = 77;
    refused(&k, sizeof(k), "header tag 77 is not known");
    k = tags();
    k.address_tag[1] = 16; // two of its four addresses
    refused(&k, sizeof(k), "address tag has size 16");
    k = tags();
    k.entry_tag[0] = 4; // a console instead of the entry
    refused(&k, sizeof(k), "needs an entry tag");
    k = tags();
    k.end[0] = 6;
    refused(&k, sizeof(k), "no end tag");
    k = tags();
    k.address_tag[3] = 0x300008;
    refused(&k, sizeof(k), "load_addr 0x300008");
    k = tags();
    k.address_tag[4] = 0x310000;
    refused(&k, sizeof(k), "load_end_addr 0x310000");
    k = tags();
    k.arch = 4; // MIPS
    k.checksum = -(k.magic + k.arch + k.length);
    refused(&k, sizeof(k), "architecture 4");
    k = tags();
    k.length = 4096;
    k.checksum = -(k.magic + k.arch + k.length);
    refused(&k, sizeof(k), "header_length 4096");
}

// ---- Linux ---------------------------------------------------------------------------------------
static uint8_t *linux_image(void) {
    static uint8_t k[8192];
    memset(k, 0, sizeof(k));
    k[0x1f1] = 2; // setup_sects
    k[0x1fe] = 0x55, k[0x1ff] = 0xaa;
    memcpy(k + 0x202, "HdrS", 4);
    k[0x206] = 0x0f, k[0x207] = 0x02; // 2.15
    k[0x211] = 1;                     // LOADED_HIGH
    memset(k + 0x22c, 0xff, 4);       // initrd_addr_max
    k[0x239] = 8;                     // cmdline_size 2048
    k[0x236] = 1;                     // XLF_KERNEL_64
    k[0x262] = 0x10;                  // init_size 1 MB
    return k;
}
#define LINUX_SIZE 8192

static void linux_header(void **state) {
    const uint8_t *k = linux_image();
    assert_int_equal(load(k, LINUX_SIZE), 0);
    assert_int_equal(cpu.mode, BOOT_LONG);
    assert_int_equal(cpu.rip, 0x100200);
    assert_int_equal(cpu.rsi, LOAD_BOOT_INFO);
    assert_string_equal((char *)machine.ram + LOAD_COMMAND_LINE, "a b");
    assert_memory_equal(machine.ram + 0x100000, k + 3 * 512, LINUX_SIZE - 3 * 512);
    assert_int_equal(word(LOAD_BOOT_INFO + 0x250), LOAD_SETUP_DATA);
    assert_int_equal(word(LOAD_SETUP_DATA), 0);     // struct setup_data: no next one,
    assert_int_equal(word(LOAD_SETUP_DATA + 8), 9); // SETUP_RNG_SEED,
    assert_int_equal(word(LOAD_SETUP_DATA + 12), 32);
    assert_string_equal((char *)machine.ram + LOAD_SETUP_DATA + 16,
                        "thirty-two bytes of randomness.");
}

static void linux_32_bit_entry(void **state) {
    uint8_t *k = linux_image();
    k[0x236] = 0; // no 64-bit entry
    assert_int_equal(load(k, LINUX_SIZE), 0);
    assert_int_equal(cpu.mode, BOOT_PROTECTED);
    assert_int_equal(cpu.rip, 0x100000);
    assert_int_equal(cpu.rsi, LOAD_BOOT_INFO);
    assert_int_equal(cpu.code_selector, 0x10); // __BOOT_CS and __BOOT_DS
    assert_int_equal(cpu.data_selector, 0x18);
    uint64_t code;
    memcpy(&code, machine.ram + cpu.gdt_base + 0x10, 8);
    assert_int_equal(code >> 53 & 3, 2); // D, not L
}

static void linux_wrong(void **state) {
    uint8_t *k = linux_image();
    k[0x206] = 9;
    refused(k, LINUX_SIZE, "boot protocol 2.09");
    linux_image()[0x1f1] = 200;
    refused(k, LINUX_SIZE, "setup_sects 200");
    linux_image()[0x1fe] = 0;
    refused(k, LINUX_SIZE, "boot_flag is 0xaa00");
    linux_image()[0x211] = 0;
    refused(k, LINUX_SIZE, "loadflags 0x0");
    linux_image()[0x239] = 0, k[0x238] = 2;
    refused(k, LINUX_SIZE, "3 characters; this kernel takes 2 (cmdline_size)");
    linux_image()[0x263] = 2;
    refused(k, LINUX_SIZE, "init_size is 0x2100000");
    assert_non_null(strstr(error, "vmlinux needs less"));
}

// Above the kernel where there is room, else below it.
static void linux_initrd(void **state) {
    static uint8_t disk[3 * MB];
    uint8_t *k = linux_image();
    struct load_request r = request(k, LINUX_SIZE);
    r.modules[0] = (struct load_image){"initrd", disk, sizeof(disk)};
    r.module_count = 1;
    disk[0] = 0x77;
    assert_int_equal(load_guest(&machine, &r, &cpu, error), 0);
    assert_int_equal(word(LOAD_BOOT_INFO + 0x218), RAM - sizeof(disk));
    assert_int_equal(word(LOAD_BOOT_INFO + 0x21c), sizeof(disk));
    assert_int_equal(machine.ram[RAM - sizeof(disk)], 0x77);
    k[0x234] = 1;    // relocatable_kernel,
    k[0x25b] = 1;    // to pref_address 16 MB,
    k[0x262] = 0xe0; // and needs all but the last 2 MB
    assert_int_equal(load_guest(&machine, &r, &cpu, error), 0);
    assert_int_equal(word(LOAD_BOOT_INFO + 0x218), 16 * MB - sizeof(disk));
    k[0x234] = 0; // at 1 MB now: nowhere is room
    k[0x262] = 0xe0, k[0x263] = 1;
    assert_int_equal(load_guest(&machine, &r, &cpu, error), -EINVAL);
    assert_non_null(strstr(error, "the initrd initrd (3145728 bytes) does not fit"));
}

struct vmlinux {
    Elf64_Ehdr e;
    Elf64_Phdr p[2];
    struct {
        Elf64_Nhdr h;
        char name[8];
        uint32_t value;
    } notes[2];
    uint8_t code[64];
};

static struct vmlinux vmlinux(void) {
    struct vmlinux k = {
        .e = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64},
              .e_machine = EM_X86_64,
              .e_entry = 16 * MB,
              .e_phoff = offsetof(struct vmlinux, p),
              .e_phentsize = sizeof(Elf64_Phdr),
              .e_phnum = 2},
        .p = {{.p_type = PT_LOAD,
               .p_offset = offsetof(struct vmlinux, code),
               .p_vaddr = 0xffffffff81000000,
               .p_paddr = 16 * MB,
               .p_filesz = 64,
               .p_memsz = 15 * MB},
              {.p_type = PT_NOTE,
               .p_offset = offsetof(struct vmlinux, notes),
               .p_filesz = sizeof(k.notes),
               .p_memsz = sizeof(k.notes)}},
        .notes = {{{4, 4, 18}, "Xen", 0}, {{6, 4, 257}, "Linux", 0}},
    };
    // "Xen" and its zero fill four bytes: the note is shorter by the other four.
    memmove((char *)k.notes + 16, (char *)k.notes + 20, sizeof(k.notes) - 20);
    memset(k.code, 0x90, sizeof(k.code));
    return k;
}

static void linux_unpacked(void **state) {
    static uint8_t disk[2 * MB];
    struct vmlinux k = vmlinux();
    struct load_request r = request(&k, sizeof(k));
    r.modules[0] = (struct load_image){"initrd", disk, sizeof(disk)};
    r.module_count = 1;
    assert_int_equal(load_guest(&machine, &r, &cpu, error), 0);
    assert_int_equal(cpu.mode, BOOT_LONG);
    assert_int_equal(cpu.rip, 16 * MB);
    assert_int_equal(cpu.rsi, LOAD_BOOT_INFO);
    assert_memory_equal(machine.ram + 16 * MB, k.code, sizeof(k.code));
    assert_int_equal(word(LOAD_BOOT_INFO + 0x202), 0x53726448);
    assert_int_equal(word(LOAD_BOOT_INFO + 0x228), LOAD_COMMAND_LINE);
    assert_int_equal(word(LOAD_BOOT_INFO + 0x218), 14 * MB); // below the kernel, which ends at 31
    k.e.e_entry = 16 * MB + 0x1000;
    refused(&k, sizeof(k), "e_entry 0x1001000");
    k = vmlinux();
    k.p[0].p_memsz = 32 * MB;
    refused(&k, sizeof(k), "ELF segment 0 needs");
    k = vmlinux();
    k.p[1].p_filesz = 24; // the note is cut off: some other ELF file
    refused(&k, sizeof(k), "is no kernel that can be loaded");
    k.p[1].p_filesz = UINT64_MAX - 8;
    refused(&k, sizeof(k), "is no kernel that can be loaded");
}

// ---- boot sectors ----------------------------------------------------------------------------------
static void boot_sector(void **state) {
    static uint8_t k[1024];
    memset(k, 0x90, sizeof(k));
    refused(k, sizeof(k), "is no kernel that can be loaded");
    k[510] = 0x55, k[511] = 0xaa;
    assert_int_equal(load(k, sizeof(k)), 0);
    assert_int_equal(cpu.mode, BOOT_REAL);
    assert_int_equal(cpu.rip, 0x7c00);
    assert_int_equal(cpu.rdx, 0x80);
    assert_memory_equal(machine.ram + 0x7c00, k, sizeof(k));
}

static void sum_is_zero(const uint8_t *p, size_t n) {
    uint8_t sum = 0;
    while (n--)
        sum += *p++;
    assert_int_equal(sum, 0);
}

static void tables_add_up(void **state) {
    firmware_write(&machine);
    const uint8_t *rsdp = machine.ram + FIRMWARE_RSDP;
    assert_memory_equal(rsdp, "RSD PTR ", 8);
    sum_is_zero(rsdp, 20);
    sum_is_zero(rsdp, 36);
    uint32_t rsdt = word(FIRMWARE_RSDP + 16);
    for (unsigned i = 0; i < 2; i++) {
        uint32_t t = word(rsdt + 36 + 4 * i);
        sum_is_zero(machine.ram + t, word(t + 4));
    }
    sum_is_zero(machine.ram + FIRMWARE_MP, 16);
    sum_is_zero(machine.ram + word(FIRMWARE_MP + 4), word(word(FIRMWARE_MP + 4) + 4) & 0xffff);
}

// Kernels find the display by it.
static void bios_data(void **state) {
    firmware_write(&machine);
    assert_int_equal(word(0x410) & 0xffff, 0x0426); // 80x25 colour, two serial ports, FPU, mouse
    assert_int_equal(word(0x413) & 0xffff, 639);
    assert_int_equal(word(0x449), 80 << 8 | 3); // mode 3, 80 columns
    assert_int_equal(word(0x463) & 0xffff, 0x3d4);
    assert_int_equal(machine.ram[0x475], 0); // no disks
    assert_int_equal(word(0x484) & 0xffffff, 16 << 8 | 24);
    assert_int_equal(word(4 * 0x13), 0xf000e130);
    assert_memory_equal(machine.ram + 0xfe130, "\xb0\x13\xba\x0c\x06\xee", 6); // out $13h
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(multiboot1_kludge, setup, teardown),
        cmocka_unit_test_setup_teardown(multiboot1_wrong, setup, teardown),
        cmocka_unit_test_setup_teardown(multiboot1_long_line, setup, teardown),
        cmocka_unit_test_setup_teardown(elf_high, setup, teardown),
        cmocka_unit_test_setup_teardown(elf_low, setup, teardown),
        cmocka_unit_test_setup_teardown(elf_wrong, setup, teardown),
        cmocka_unit_test_setup_teardown(multiboot2_tags, setup, teardown),
        cmocka_unit_test_setup_teardown(multiboot2_wishes, setup, teardown),
        cmocka_unit_test_setup_teardown(multiboot2_sections, setup, teardown),
        cmocka_unit_test_setup_teardown(module_arguments, setup, teardown),
        cmocka_unit_test_setup_teardown(multiboot2_elf, setup, teardown),
        cmocka_unit_test_setup_teardown(multiboot2_wrong, setup, teardown),
        cmocka_unit_test_setup_teardown(linux_header, setup, teardown),
        cmocka_unit_test_setup_teardown(linux_32_bit_entry, setup, teardown),
        cmocka_unit_test_setup_teardown(linux_wrong, setup, teardown),
        cmocka_unit_test_setup_teardown(linux_initrd, setup, teardown),
        cmocka_unit_test_setup_teardown(linux_unpacked, setup, teardown),
        cmocka_unit_test_setup_teardown(boot_sector, setup, teardown),
        cmocka_unit_test_setup_teardown(tables_add_up, setup, teardown),
        cmocka_unit_test_setup_teardown(bios_data, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
