/* linux: no */
/* vtx: yes */
// Device memory by every instruction that the VMM carries out: each runs on memory, where the processor executes it,
// and on a device that is memory, too, with the same registers; both must come to the same.
#include <string.h>
#include "kvm.h"

#define RAM    0x100000ull
#define DEVICE 0x3f000000ull
#define SIZE   0x2000
#define ROUNDS 6

// What the manual leaves open.
#define CF 0x001
#define PF 0x004
#define AF 0x010
#define ZF 0x040
#define SF 0x080
#define OF 0x800

enum {
    ALIGNED = 1, // the operand, to 32 bytes
    COUNTED = 2, // RCX is a small number
    VECTOR = 4,  // needs AVX
};

// X(name, instructions, what of ALIGNED.. holds, flags that are open). RBX points to the operand, RSI to it and RDI
// a page behind it.
// clang-format off
#define MOVES(X) \
    X(mov_store_8, "mov %ah, (%rbx)", 0, 0) X(mov_store_16, "mov %ax, (%rbx)", 0, 0) \
    X(mov_store_32, "mov %eax, (%rbx)", 0, 0) X(mov_store_64, "mov %r9, (%rbx)", 0, 0) \
    X(mov_load_8, "mov (%rbx), %dh", 0, 0) X(mov_load_16, "mov (%rbx), %ax", 0, 0) \
    X(mov_load_32, "mov (%rbx), %eax", 0, 0) X(mov_load_64, "mov (%rbx), %r15", 0, 0) \
    X(mov_constant_8, "movb $0x9a, (%rbx)", 0, 0) X(mov_constant_16, "movw $0x89ab, (%rbx)", 0, 0) \
    X(mov_constant_32, "movl $0x89abcdef, (%rbx)", 0, 0) X(mov_constant_64, "movq $-77, (%rbx)", 0, 0) \
    X(mov_address, "mov $3, %ecx; mov 8(%rbx,%rcx,4), %edx", 0, 0) X(movnti, "movnti %rax, (%rbx)", 0, 0) \
    X(movzx_8, "movzbl (%rbx), %eax", 0, 0) X(movzx_16, "movzwq (%rbx), %rax", 0, 0) \
    X(movsx_8, "movsbw (%rbx), %ax", 0, 0) X(movsx_16, "movswl (%rbx), %eax", 0, 0) \
    X(movsx_32, "movslq (%rbx), %rax", 0, 0) X(setcc, "setbe (%rbx)", 0, 0) X(cmov, "cmovs (%rbx), %rax", 0, 0) \
    X(push, "push (%rbx)", 0, 0) X(pop, "push %rax; pop (%rbx)", 0, 0) \
    X(xchg_8, "xchg %ah, (%rbx)", 0, 0) X(xchg_64, "xchg %rax, (%rbx)", 0, 0) \
    X(movdqa_load, "movdqa (%rbx), %xmm1", ALIGNED, 0) X(movdqa_store, "movdqa %xmm0, (%rbx)", ALIGNED, 0) \
    X(movups_load, "movups (%rbx), %xmm1", 0, 0) X(movups_store, "movups %xmm0, (%rbx)", 0, 0) \
    X(movd_load, "movd (%rbx), %xmm1", 0, 0) X(movq_store, "movq %xmm0, (%rbx)", 0, 0) \
    X(movntdq, "movntdq %xmm0, (%rbx)", ALIGNED, 0) \
    X(vmovdqu_load, "vmovdqu (%rbx), %xmm1", VECTOR, 0) X(vmovdqu_store, "vmovdqu %ymm0, (%rbx)", VECTOR, 0) \
    X(vmovaps_load, "vmovaps (%rbx), %ymm1", VECTOR | ALIGNED, 0) \
    X(vmovaps_store, "vmovaps %ymm0, (%rbx)", VECTOR | ALIGNED, 0) X(vmovd, "vmovd (%rbx), %xmm1", VECTOR, 0)
#define ARITHMETIC(X) \
    X(add, "add %rax, (%rbx)", 0, 0) X(add_load, "add (%rbx), %eax", 0, 0) X(add_8, "addb $0x7f, (%rbx)", 0, 0) \
    X(adc, "adc %ax, (%rbx)", 0, 0) X(sub, "sub %eax, (%rbx)", 0, 0) X(sbb, "sbbq $-1, (%rbx)", 0, 0) \
    X(cmp, "cmp %al, (%rbx)", 0, 0) X(cmp_load, "cmp (%rbx), %rax", 0, 0) X(cmp_constant, "cmpw $300, (%rbx)", 0, 0) \
    X(test, "test %eax, (%rbx)", 0, AF) X(test_constant, "testb $0x11, (%rbx)", 0, AF) \
    X(and, "and %rax, (%rbx)", 0, AF) X(and_load, "and (%rbx), %cx", 0, AF) X(or, "or %eax, (%rbx)", 0, AF) \
    X(or_constant, "orw $0x180, (%rbx)", 0, AF) X(xor, "xor %al, (%rbx)", 0, AF) X(xor_load, "xor (%rbx), %rdx", 0, AF) \
    X(inc, "incq (%rbx)", 0, 0) X(dec, "decb (%rbx)", 0, 0) X(not, "notl (%rbx)", 0, 0) X(neg, "negw (%rbx)", 0, 0) \
    X(lock_add, "lock addl $5, (%rbx)", 0, 0) X(lock_or, "lock orb $5, (%rbx)", 0, AF) \
    X(imul, "imul (%rbx), %eax", 0, SF | ZF | AF | PF) X(imul_constant, "imul $-3, (%rbx), %rax", 0, SF | ZF | AF | PF) \
    X(imul_wide, "imul $70000, (%rbx), %edx", 0, SF | ZF | AF | PF) \
    X(rol, "roll $1, (%rbx)", 0, 0) X(ror, "rorb $3, (%rbx)", 0, OF) X(rcl, "rclq %cl, (%rbx)", COUNTED, OF) \
    X(rcr, "rcrw $1, (%rbx)", 0, 0) X(shl, "shlq $5, (%rbx)", 0, AF | OF) X(shr, "shrl %cl, (%rbx)", COUNTED, AF | OF) \
    X(sar, "sarb $1, (%rbx)", 0, AF) X(shld, "shld $7, %rax, (%rbx)", 0, AF | OF) \
    X(shld_cl, "shld %cl, %eax, (%rbx)", COUNTED, AF | OF) X(shrd, "shrd $9, %ax, (%rbx)", 0, AF | OF) \
    X(shrd_cl, "shrd %cl, %rax, (%rbx)", COUNTED, AF | OF)
#define BITS(X) \
    X(bt, "btl $19, (%rbx)", 0, OF | SF | AF | PF) X(bts, "btsq $40, (%rbx)", 0, OF | SF | AF | PF) \
    X(btr, "btrw $9, (%rbx)", 0, OF | SF | AF | PF) X(btc, "btcl $31, (%rbx)", 0, OF | SF | AF | PF) \
    X(bt_register, "movsbq %cl, %rcx; bt %rcx, 64(%rbx)", 0, OF | SF | AF | PF) \
    X(bts_register, "movsbl %cl, %ecx; bts %ecx, 64(%rbx)", 0, OF | SF | AF | PF) \
    X(btr_register, "movsbw %cl, %cx; lock btr %cx, 64(%rbx)", 0, OF | SF | AF | PF) \
    X(btc_register, "movsbq %cl, %rcx; btc %rcx, 64(%rbx)", 0, OF | SF | AF | PF) \
    X(xadd, "lock xadd %rax, (%rbx)", 0, 0) X(cmpxchg, "cmpxchg %ecx, (%rbx)", 0, 0) \
    X(cmpxchg_equal, "mov (%rbx), %eax; lock cmpxchg %ecx, (%rbx)", 0, 0) \
    X(cmpxchg8b, "lock cmpxchg8b (%rbx)", 0, 0) \
    X(cmpxchg8b_equal, "mov (%rsi), %eax; mov 4(%rsi), %edx; mov %r9d, %ebx; cmpxchg8b (%rsi)", 0, 0) \
    X(cmpxchg16b, "lock cmpxchg16b (%rbx)", ALIGNED, 0) \
    X(cmpxchg16b_equal, "mov (%rsi), %rax; mov 8(%rsi), %rdx; mov %r9, %rbx; cmpxchg16b (%rsi)", ALIGNED, 0) \
    X(movbe_load, "movbe (%rbx), %eax", 0, 0) X(movbe_store, "movbe %rax, (%rbx)", 0, 0)
#define STRINGS(X) \
    X(movs_8, "movsb", 0, 0) X(movs_64, "movsq", 0, 0) X(rep_movs, "rep movsl", COUNTED, 0) \
    X(rep_movs_back, "std; rep movsw; cld", COUNTED, 0) X(stos, "stosl", 0, 0) X(rep_stos, "rep stosb", COUNTED, 0) \
    X(lods, "lodsw", 0, 0) X(rep_lods, "rep lodsl", COUNTED, 0) X(cmps, "cmpsq", 0, 0) \
    X(repe_cmps, "repe cmpsb", COUNTED, 0) X(repne_cmps, "repne cmpsl", COUNTED, 0) X(scas, "scasb", 0, 0) \
    X(repne_scas, "repne scasb", COUNTED, 0) X(repe_scas, "repe scasw", COUNTED, 0)
#define FORMS(X) MOVES(X) ARITHMETIC(X) BITS(X) STRINGS(X)

#define CODE_OF(name, text, traits, open) GUEST64(name, text "; hlt")
FORMS(CODE_OF)
#define ROW(name, text, traits, open) {#name, guest_##name, guest_##name##_end, traits, open},
static const struct form {
    const char *name, *start, *end;
    unsigned traits, open;
} forms[] = {FORMS(ROW)};
// clang-format on

static unsigned char device[SIZE];

static uint64_t any(void) {
    static uint64_t state = 88172645463325252ull;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

// ---- a run -----------------------------------------------------------------------------------------
struct outcome {
    struct kvm_regs regs;
    struct kvm_xsave vectors;
    unsigned char memory[SIZE];
    unsigned exits; // for device memory
};

// Until HLT, with the device answering. 0, or the exit that should not be.
static int run_to_end(struct machine *m, struct outcome *o) {
    int reason;
    while ((reason = run(m)) == KVM_EXIT_MMIO) {
        uint64_t at = m->run->mmio.phys_addr - DEVICE;
        if (at >= SIZE || at + m->run->mmio.len > SIZE || ++o->exits > 1000)
            return KVM_EXIT_MMIO;
        if (m->run->mmio.is_write)
            memcpy(device + at, m->run->mmio.data, m->run->mmio.len);
        else
            memcpy(m->run->mmio.data, device + at, m->run->mmio.len);
    }
    return reason == KVM_EXIT_HLT ? 0 : reason;
}

// Places as offsets, so that both sides can be compared.
static void make_relative(__u64 *reg, uint64_t base) {
    if (*reg - base < SIZE)
        *reg -= base;
}

// The operand at `base` + offset.
static int carry_out(struct machine *m, const struct form *f, uint64_t base, unsigned offset,
                     const struct kvm_regs *regs, const struct kvm_xsave *vectors,
                     const unsigned char *memory, struct outcome *o) {
    struct kvm_regs r = *regs;
    memset(o, 0, sizeof(*o));
    memset(m->mem + CODE, 0xf4, 256);
    memcpy(m->mem + CODE, f->start, f->end - f->start);
    memset(m->mem + 0x8000, 0, 0x1000); // the stack
    memcpy(base == RAM ? (unsigned char *)m->mem + RAM : device, memory, SIZE);
    r.rip = CODE;
    r.rbx = r.rsi = base + offset;
    r.rdi = base + offset + 0x800;
    r.rsp = 0x9000;
    ioctl(m->vcpu, KVM_SET_REGS, &r);
    ioctl(m->vcpu, KVM_SET_XSAVE, vectors);
    int wrong = run_to_end(m, o);
    ioctl(m->vcpu, KVM_GET_REGS, &o->regs);
    ioctl(m->vcpu, KVM_GET_XSAVE, &o->vectors);
    memcpy(o->memory, base == RAM ? (unsigned char *)m->mem + RAM : device, SIZE);
    o->regs.rflags &= ~(uint64_t)f->open;
    make_relative(&o->regs.rbx, base);
    make_relative(&o->regs.rsi, base);
    make_relative(&o->regs.rdi, base);
    return wrong;
}

static void random_vectors(struct kvm_xsave *x, int avx) {
    memset(x, 0, sizeof(*x));
    x->region[0] = 0x37f;
    x->region[6] = 0x1f80;            // MXCSR
    x->region[512 / 4] = avx ? 7 : 3; // what is valid
    for (unsigned i = 0; i < 64; i++) {
        x->region[160 / 4 + i] = (uint32_t)any();           // XMM
        x->region[576 / 4 + i] = avx ? (uint32_t)any() : 0; // upper halves
    }
}

// Where they differ; NULL: nowhere.
static const char *difference(const struct outcome *a, const struct outcome *b, int avx) {
    if (memcmp(&a->regs, &b->regs, sizeof(a->regs)))
        return a->regs.rflags != b->regs.rflags ? "RFLAGS" : "a register";
    if (memcmp(a->memory, b->memory, SIZE))
        return "memory";
    if (memcmp(a->vectors.region + 160 / 4, b->vectors.region + 160 / 4, 256) ||
        (avx && memcmp(a->vectors.region + 576 / 4, b->vectors.region + 576 / 4, 256)))
        return "a vector register";
    return b->exits ? NULL : "that the device was not asked";
}

static void test_form(struct machine *m, const struct form *f, int avx) {
    static struct outcome memory, dev;
    static unsigned char before[SIZE];
    struct kvm_xsave vectors;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct kvm_regs r = {.rax = any(), .rcx = any(), .rdx = any(), .r9 = any(), .rflags = 2};
        r.rflags |= any() & (CF | PF | AF | ZF | SF | OF);
        unsigned offset = round % 2 ? 0x1000 - any() % 8 : 0x900 + any() % 64; // across pages, too
        if (f->traits & ALIGNED)
            offset &= ~31u;
        if (f->traits & COUNTED)
            r.rcx = 1 + any() % 7;
        for (unsigned i = 0; i < SIZE; i++) // few values: strings are equal now and then
            before[i] = (unsigned char)(any() % 3 ? any() : 0x41);
        if (any() % 2)
            r.rax = (r.rax & ~0xffull) | 0x41;
        random_vectors(&vectors, avx);
        int a = carry_out(m, f, RAM, offset, &r, &vectors, before, &memory);
        int b = carry_out(m, f, DEVICE, offset, &r, &vectors, before, &dev);
        const char *what = a || b ? "how it ends" : difference(&memory, &dev, avx);
        if (what || round == ROUNDS - 1) {
            check(!what, f->name,
                  "round %u: %s (exit %d on memory, %d on a device; flags %llx, %llx)", round, what,
                  a, b, memory.regs.rflags, dev.regs.rflags);
            return;
        }
    }
}

// SSE always; AVX where the processor has it. The result says so.
static int switch_on_vectors(struct machine *m) {
    struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 entries[128];
    } c = {.head.nent = 128};
    struct kvm_xcrs x = {.nr_xcrs = 1, .xcrs[0] = {.value = 7}};
    struct kvm_sregs s;
    int avx = 0;
    ioctl(m->kvm, KVM_GET_SUPPORTED_CPUID, &c);
    for (unsigned i = 0; i < c.head.nent; i++)
        avx |= c.entries[i].function == 1 && c.entries[i].ecx >> 28 & 1;
    ioctl(m->vcpu, KVM_GET_SREGS, &s);
    s.cr4 |= 0x600 | (avx ? 0x40000 : 0); // OSFXSR, OSXMMEXCPT, OSXSAVE
    CHECK_EQUAL("CR4", ioctl(m->vcpu, KVM_SET_SREGS, &s), 0);
    if (avx)
        CHECK_EQUAL("XCR0", ioctl(m->vcpu, KVM_SET_XCRS, &x), 0);
    return avx;
}

int main(void) {
    struct machine m = new_machine();
    start64(&m, guest_mov_load_8, guest_mov_load_8_end);
    int avx = switch_on_vectors(&m);
    printf("%d forms, %s AVX\n", (int)(sizeof(forms) / sizeof(forms[0])), avx ? "with" : "without");
    for (unsigned i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
        if (avx || !(forms[i].traits & VECTOR))
            test_form(&m, &forms[i], avx);
    end_machine(&m);
    return check_end();
}
