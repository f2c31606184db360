/* sources: kernel/proc/elf.c */
// The ELF parser: a good program, and every way in which one can be wrong.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <asm/mman.h>
#include "proc/elf.h"

#define FILE_SIZE 0x10000

static Elf64_Ehdr header;
static Elf64_Phdr ph[4];
static struct elf_image image;

static int setup(void **state) {
    memset(&header, 0, sizeof(header));
    memset(ph, 0, sizeof(ph));
    memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_machine = EM_X86_64;
    header.e_type = ET_EXEC;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phoff = sizeof(header);
    header.e_phnum = 3;
    header.e_entry = 0x401000;
    ph[0] = (Elf64_Phdr){
        .p_type = PT_LOAD, .p_flags = 4, .p_vaddr = 0x400000, .p_filesz = 0x500, .p_memsz = 0x500};
    ph[1] = (Elf64_Phdr){.p_type = PT_LOAD,
                         .p_flags = 5,
                         .p_offset = 0x1000,
                         .p_vaddr = 0x401000,
                         .p_filesz = 0x2000,
                         .p_memsz = 0x2000};
    ph[2] = (Elf64_Phdr){.p_type = PT_LOAD,
                         .p_flags = 6,
                         .p_offset = 0x3e00,
                         .p_vaddr = 0x404e00,
                         .p_filesz = 0x300,
                         .p_memsz = 0x5000};
    return 0;
}

static enum elf_result parse(void) {
    enum elf_result r = elf_check_header(&header, sizeof(header), FILE_SIZE);
    return r == ELF_OK ? elf_parse(&header, ph, FILE_SIZE, &image) : r;
}

static void test_good(void **state) {
    assert_int_equal(parse(), ELF_OK);
    assert_int_equal(image.segment_count, 3);
    assert_int_equal(image.entry, 0x401000);
    assert_int_equal(image.headers, 0x400000 + sizeof(header));
    assert_int_equal(image.low, 0x400000);
    assert_int_equal(image.high, 0x40a000);
    assert_int_equal(image.segments[1].prot, PROT_READ | PROT_EXEC);
    assert_int_equal(image.segments[2].file_end, 0x405100);
    assert_int_equal(image.segments[2].end, 0x409e00);
    assert_false(image.position_independent);
    assert_false(image.executable_stack);
}

static void test_static_pie(void **state) {
    header.e_type = ET_DYN;
    header.e_entry = 0x1000;
    for (int i = 0; i < 3; i++)
        ph[i].p_vaddr -= 0x400000;
    assert_int_equal(parse(), ELF_OK);
    assert_true(image.position_independent);
    assert_int_equal(image.low, 0);
}

static void test_other_files(void **state) {
    assert_int_equal(elf_check_header("#!/bin/sh\n", 10, 10), ELF_NOT_ELF);
    assert_int_equal(elf_check_header("", 0, 0), ELF_NOT_ELF);
    assert_int_equal(elf_check_header(&header, 20, 20), ELF_MALFORMED);
    header.e_machine = EM_386;
    assert_int_equal(parse(), ELF_UNSUPPORTED);
    header.e_machine = EM_X86_64;
    header.e_type = ET_REL;
    assert_int_equal(parse(), ELF_UNSUPPORTED);
}

static void test_dynamic(void **state) {
    ph[3].p_type = PT_INTERP;
    header.e_phnum = 4;
    assert_int_equal(parse(), ELF_DYNAMIC);
}

static void test_stack_flag(void **state) {
    ph[3].p_type = PT_GNU_STACK;
    ph[3].p_flags = 7;
    header.e_phnum = 4;
    assert_int_equal(parse(), ELF_OK);
    assert_true(image.executable_stack);
}

static void test_header_table(void **state) {
    header.e_phoff = UINT64_MAX - 8;
    assert_int_equal(parse(), ELF_MALFORMED);
    header.e_phoff = FILE_SIZE - 8;
    assert_int_equal(parse(), ELF_MALFORMED);
    header.e_phoff = sizeof(header);
    header.e_phnum = 0;
    assert_int_equal(parse(), ELF_MALFORMED);
    header.e_phnum = ELF_HEADERS_MAX + 1;
    assert_int_equal(parse(), ELF_MALFORMED);
    header.e_phnum = 3;
    header.e_phentsize = 57;
    assert_int_equal(parse(), ELF_MALFORMED);
}

// Each row breaks one field of segment 1.
static void test_bad_segments(void **state) {
    static const Elf64_Phdr good = {.p_type = PT_LOAD,
                                    .p_flags = 5,
                                    .p_offset = 0x1000,
                                    .p_vaddr = 0x401000,
                                    .p_filesz = 0x2000,
                                    .p_memsz = 0x2000};
    Elf64_Phdr bad[8];
    for (int i = 0; i < 8; i++)
        bad[i] = good;
    bad[0].p_filesz = 0x3000;               // more in the file than in memory
    bad[1].p_offset = FILE_SIZE - 0x1000;   // runs over the file's end
    bad[2].p_offset = UINT64_MAX - 0xfff;   // overflow
    bad[3].p_offset = 0x1008;               // other place in its page
    bad[4].p_vaddr = 0x400000;              // on the page of segment 0
    bad[5].p_vaddr = 0xffffffff80001000;    // the kernel's
    bad[6].p_memsz = UINT64_MAX - 0x100000; // overflow
    bad[7].p_vaddr = 0x00007fffffffe000;    // end beyond user space
    for (int i = 0; i < 8; i++) {
        ph[1] = bad[i];
        assert_int_equal(parse(), ELF_MALFORMED);
    }
}

static void test_entry(void **state) {
    header.e_entry = 0x404e00; // data
    assert_int_equal(parse(), ELF_MALFORMED);
    header.e_entry = 0;
    assert_int_equal(parse(), ELF_MALFORMED);
}

static void test_null_page(void **state) {
    for (int i = 0; i < 3; i++)
        ph[i].p_vaddr -= 0x400000;
    header.e_entry = 0x1000;
    assert_int_equal(parse(), ELF_MALFORMED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_good, setup),
        cmocka_unit_test_setup(test_static_pie, setup),
        cmocka_unit_test_setup(test_other_files, setup),
        cmocka_unit_test_setup(test_dynamic, setup),
        cmocka_unit_test_setup(test_stack_flag, setup),
        cmocka_unit_test_setup(test_header_table, setup),
        cmocka_unit_test_setup(test_bad_segments, setup),
        cmocka_unit_test_setup(test_entry, setup),
        cmocka_unit_test_setup(test_null_page, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
