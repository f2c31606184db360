// A small virtual machine for tests: memory at 0, one vCPU, code in real mode at 0x1000 or in 64-bit mode.
#pragma once
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "check.h"

#define CODE     0x1000
#define MEM_SIZE (2ul << 20)

struct machine {
    int kvm, vm, vcpu;
    char *mem;
    struct kvm_run *run;
    int run_size;
};

// Programs of guests: GUEST16(name, "instructions") makes guest_name and its end.
#define GUEST(mode, name, text)                                                                 \
    __asm__(".section .rodata\n.global guest_" #name ", guest_" #name "_end\n"                  \
            "guest_" #name ":\n." mode "\n" text "\n.code64\nguest_" #name "_end:\n.previous"); \
    extern const char guest_##name[], guest_##name##_end[];
#define GUEST16(name, text) GUEST("code16", name, text)
#define GUEST64(name, text) GUEST("code64", name, text)

__attribute__((unused)) static int open_kvm(void) {
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0) {
        printf("ok skipped: no /dev/kvm\n");
        exit(0);
    }
    return kvm;
}

__attribute__((unused)) static int set_memory(int vm, unsigned slot, unsigned flags, uint64_t gpa,
                                              uint64_t size, void *memory) {
    struct kvm_userspace_memory_region r = {slot, flags, gpa, size, (uintptr_t)memory};
    return ioctl(vm, KVM_SET_USER_MEMORY_REGION, &r);
}

// The machine that new_machine() makes has RDRAND and RDSEED, whatever is supported.
__attribute__((unused)) static int with_random;

__attribute__((unused)) static struct machine new_machine(void) {
    struct machine m = {.kvm = open_kvm()};
    m.vm = ioctl(m.kvm, KVM_CREATE_VM, 0);
    m.mem = mmap(0, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m.vm < 0 || set_memory(m.vm, 0, 0, 0, MEM_SIZE, m.mem)) {
        perror("KVM_CREATE_VM");
        exit(1);
    }
    m.vcpu = ioctl(m.vm, KVM_CREATE_VCPU, 0);
    m.run_size = ioctl(m.kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    m.run = mmap(0, m.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, m.vcpu, 0);
    struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 entries[128];
    } c = {.head.nent = 128};
    int err = m.run == MAP_FAILED || ioctl(m.kvm, KVM_GET_SUPPORTED_CPUID, &c);
    for (unsigned i = 0; with_random && i < c.head.nent; i++) {
        c.entries[i].ecx |= c.entries[i].function == 1 ? 1u << 30 : 0;
        c.entries[i].ebx |= c.entries[i].function == 7 ? 1u << 18 : 0;
    }
    if (err || ioctl(m.vcpu, KVM_SET_CPUID2, &c)) {
        perror("vCPU");
        exit(1);
    }
    return m;
}

__attribute__((unused)) static void end_machine(struct machine *m) {
    munmap(m->run, m->run_size);
    close(m->vcpu);
    close(m->vm);
    close(m->kvm);
    munmap(m->mem, MEM_SIZE);
}

static void load_code(struct machine *m, const char *start, const char *end) {
    memset(m->mem, 0, MEM_SIZE);
    memcpy(m->mem + CODE, start, end - start);
}

// Real mode at 0:CODE, stack below it; whatever is in memory.
__attribute__((unused)) static void set_real_mode(int vcpu) {
    struct kvm_sregs s;
    struct kvm_regs r = {.rip = CODE, .rsp = CODE, .rflags = 2};
    ioctl(vcpu, KVM_GET_SREGS, &s);
    s.cs.base = s.cs.selector = 0;
    ioctl(vcpu, KVM_SET_SREGS, &s);
    ioctl(vcpu, KVM_SET_REGS, &r);
}

__attribute__((unused)) static void start16(struct machine *m, const char *start, const char *end) {
    load_code(m, start, end);
    set_real_mode(m->vcpu);
}

// 64-bit mode with the first GB identity-mapped in 2 MB pages, IDT at 0x9000 (empty).
__attribute__((unused)) static void start64(struct machine *m, const char *start, const char *end) {
    load_code(m, start, end);
    uint64_t *pml4 = (void *)(m->mem + 0x10000), *pdpt = (void *)(m->mem + 0x11000),
             *pd = (void *)(m->mem + 0x12000);
    pml4[0] = 0x11003;
    pdpt[0] = 0x12003;
    for (uint64_t i = 0; i < 512; i++)
        pd[i] = i << 21 | 0x83;
    struct kvm_sregs s;
    ioctl(m->vcpu, KVM_GET_SREGS, &s);
    struct kvm_segment
        code = {.limit = ~0u, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1},
        data = code;
    data.selector = 16;
    data.type = 3;
    data.l = 0;
    data.db = 1;
    s.cs = code;
    s.ds = s.es = s.ss = s.fs = s.gs = data;
    s.cr0 = 0x80000011;
    s.cr3 = 0x10000;
    s.cr4 = 0x20;
    s.efer = 0x500;
    s.idt.base = 0x9000;
    s.idt.limit = 0xfff;
    struct kvm_regs r = {.rip = CODE, .rsp = CODE, .rflags = 2};
    ioctl(m->vcpu, KVM_SET_SREGS, &s);
    ioctl(m->vcpu, KVM_SET_REGS, &r);
}

// An interrupt gate of the 64-bit guest: the GDT holds code at selector 8, as start64() loaded it.
__attribute__((unused)) static void set_gate(struct machine *m, unsigned vector, uint64_t handler) {
    uint64_t *gdt = (void *)(m->mem + 0x8000), *gate = (void *)(m->mem + 0x9000 + 16 * vector);
    gdt[1] = 0x00af9b000000ffff;
    gdt[2] = 0x00cf93000000ffff;
    gate[0] = (handler & 0xffff) | 8ull << 16 | 0x8eull << 40 | (handler >> 16 & 0xffff) << 48;
    gate[1] = handler >> 32;
    struct kvm_sregs s;
    ioctl(m->vcpu, KVM_GET_SREGS, &s);
    s.gdt.base = 0x8000;
    s.gdt.limit = 23;
    ioctl(m->vcpu, KVM_SET_SREGS, &s);
}

// KVM_RUN; the exit reason, or -errno.
__attribute__((unused)) static int run(struct machine *m) {
    return ioctl(m->vcpu, KVM_RUN, 0) ? -errno : (int)m->run->exit_reason;
}

__attribute__((unused)) static struct kvm_regs regs(struct machine *m) {
    struct kvm_regs r = {0};
    ioctl(m->vcpu, KVM_GET_REGS, &r);
    return r;
}

// The byte of a port access.
__attribute__((unused)) static unsigned char *port_data(struct machine *m) {
    return (unsigned char *)m->run + m->run->io.data_offset;
}
