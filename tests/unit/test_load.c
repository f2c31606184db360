/* sources: vmm/machine/load/load.c vmm/machine/load/elf.c vmm/machine/load/linux.c vmm/machine/load/multiboot.c vmm/machine/load/multiboot2.c vmm/machine/load/flat.c vmm/machine/firmware/e820.c vmm/machine/firmware/acpi.c vmm/machine/firmware/mptable.c */
// Loaders: good images arrive where they belong, bad ones get a sentence that names the field.
#include <elf.h>
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

static int load(const void *data, size_t n) {
    struct load_request r = {.kernel = {"kernel", data, n},
                             .command_line = "a b",
                             .seed = "thirty-two bytes of randomness."};
    return load_guest(&machine, &r, &cpu, error);
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
    assert_int_equal(load(&k, sizeof(k)), -22);
    assert_non_null(strstr(error, "load_end_addr 0x200000"));
    k = kludge();
    k.load_addr = 0x100004;
    assert_int_equal(load(&k, sizeof(k)), -22);
    assert_non_null(strstr(error, "load_addr 0x100004"));
    k = kludge();
    k.bss_end_addr = 0xf0000000;
    assert_int_equal(load(&k, sizeof(k)), -22);
    assert_non_null(strstr(error, "32 MiB"));
    k = kludge();
    k.flags |= 8;
    k.checksum = -(k.magic + k.flags);
    assert_int_equal(load(&k, sizeof(k)), -22);
    assert_non_null(strstr(error, "flags"));
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

static void elf_wrong(void **state) {
    struct elf_file f = elf();
    f.p.p_filesz = 0x10000;
    f.p.p_memsz = 0x10000;
    assert_int_equal(load(&f, sizeof(f)), -22);
    assert_non_null(strstr(error, "program header 0: p_offset"));
    f = elf();
    f.p.p_memsz = 4;
    assert_int_equal(load(&f, sizeof(f)), -22);
    assert_non_null(strstr(error, "p_memsz 0x4"));
    f = elf();
    f.e.e_phnum = 1000;
    assert_int_equal(load(&f, sizeof(f)), -22);
    assert_non_null(strstr(error, "e_phnum 1000"));
    f = elf();
    f.e.e_machine = EM_ARM;
    assert_int_equal(load(&f, sizeof(f)), -22);
    assert_non_null(strstr(error, "e_machine"));
    f = elf();
    f.p.p_paddr = 0xa0000;
    assert_int_equal(load(&f, sizeof(f)), -22);
    assert_non_null(strstr(error, "0xa0000"));
}

// ---- Multiboot 2 ---------------------------------------------------------------------------------
static void multiboot2_tags(void **state) {
    struct {
        uint32_t magic, arch, length, checksum;
        uint32_t address_tag[6], entry_tag[4], end[2];
        uint8_t code[32];
    } k = {.magic = 0xe85250d6,
           .length = 64,
           .address_tag = {2, 24, 0x300000, 0x300000, 0, 0},
           .entry_tag = {3, 12, 0x300040, 0},
           .end = {0, 8}};
    k.length = (uint32_t)offsetof(__typeof__(k), code);
    k.checksum = -(k.magic + k.arch + k.length);
    firmware_write(&machine);
    assert_int_equal(load(&k, sizeof(k)), 0);
    assert_int_equal(cpu.rip, 0x300040);
    assert_int_equal(cpu.rax, 0x36d76289);
    uint64_t at = cpu.rbx + 8, end = cpu.rbx + word(cpu.rbx);
    unsigned seen = 0;
    for (; word(at) != 0 && at < end; at += (word(at + 4) + 7) & ~7u)
        seen |= 1u << word(at);
    assert_int_equal(at + 8, end);
    assert_int_equal(seen & (1 << 1 | 1 << 2 | 1 << 4 | 1 << 6 | 1 << 15),
                     1 << 1 | 1 << 2 | 1 << 4 | 1 << 6 | 1 << 15);
    k.entry_tag[1] = 100; // past the header
    assert_int_equal(load(&k, sizeof(k)), -22);
    assert_non_null(strstr(error, "tag 3 has size 100"));
}

// ---- Linux ---------------------------------------------------------------------------------------
static void linux_header(void **state) {
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
    assert_int_equal(load(k, sizeof(k)), 0);
    assert_int_equal(cpu.mode, BOOT_LONG);
    assert_int_equal(cpu.rip, 0x100200);
    assert_int_equal(cpu.rsi, LOAD_BOOT_INFO);
    assert_string_equal((char *)machine.ram + LOAD_COMMAND_LINE, "a b");
    assert_memory_equal(machine.ram + 0x100000, k + 3 * 512, sizeof(k) - 3 * 512);
    assert_int_equal(word(LOAD_BOOT_INFO + 0x250), LOAD_SETUP_DATA);
    assert_int_equal(word(LOAD_SETUP_DATA), 0);     // struct setup_data: no next one,
    assert_int_equal(word(LOAD_SETUP_DATA + 8), 9); // SETUP_RNG_SEED,
    assert_int_equal(word(LOAD_SETUP_DATA + 12), 32);
    assert_string_equal((char *)machine.ram + LOAD_SETUP_DATA + 16,
                        "thirty-two bytes of randomness.");
    k[0x206] = 9;
    assert_int_equal(load(k, sizeof(k)), -22);
    assert_non_null(strstr(error, "boot protocol 2.09"));
    k[0x206] = 15;
    k[0x1f1] = 200;
    assert_int_equal(load(k, sizeof(k)), -22);
    assert_non_null(strstr(error, "setup_sects 200"));
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(multiboot1_kludge, setup, teardown),
        cmocka_unit_test_setup_teardown(multiboot1_wrong, setup, teardown),
        cmocka_unit_test_setup_teardown(elf_high, setup, teardown),
        cmocka_unit_test_setup_teardown(elf_wrong, setup, teardown),
        cmocka_unit_test_setup_teardown(multiboot2_tags, setup, teardown),
        cmocka_unit_test_setup_teardown(linux_header, setup, teardown),
        cmocka_unit_test_setup_teardown(tables_add_up, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
