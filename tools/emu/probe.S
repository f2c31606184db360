# A boot sector that says on COM1 what the processor can do, then switches the machine off.
# Output: "probe <cpuid.1:ecx> <procbased2> <ept> <tsc>", hexadecimal; zeros without VT-x.
#   procbased2  allowed-1 bits of the secondary processor-based controls (MSR 48Bh, SDM A.3.3)
#   ept         low half of IA32_VMX_EPT_VPID_CAP (MSR 48Ch, SDM A.10)
#   tsc         TSC difference over 1002 instructions (loop of 500, twice one move, RDTSC)
.code16
.globl _start
_start:
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov $0x7c00, %sp
    mov $3, %al                            # 8 bits a character
    mov $0x3fb, %dx
    out %al, %dx
    mov $intro, %si
    call puts
    mov $1, %eax
    cpuid
    mov %ecx, %edi
    call hex
    test $1 << 5, %edi                     # VMX
    jz no_vmx
    mov $0x482, %ecx                       # secondary controls exist when bit 31 may be 1
    rdmsr
    test %edx, %edx
    jns no_vmx
    mov $0x48b, %ecx
    rdmsr
    mov %edx, %edi
    call hex
    xor %edi, %edi
    mov $0x48c, %ecx
    rdmsr
    mov %eax, %edi
    call hex
    jmp clock
no_vmx:
    xor %edi, %edi
    call hex
    call hex
clock:
    rdtsc
    mov %eax, %edi
    mov $500, %cx
1:  nop
    loop 1b
    rdtsc
    sub %edi, %eax
    mov %eax, %edi
    call hex
    mov $end, %si
    call puts
2:  mov $0x3fd, %dx                        # the last character must have left
    in %dx, %al
    test $0x40, %al
    jz 2b
    mov $shutdown, %si                     # Bochs
    mov $0x8900, %dx
3:  lodsb
    test %al, %al
    jz 4f
    out %al, %dx
    jmp 3b
4:  mov $0x2000, %ax                       # QEMU: ACPI S5
    mov $0x604, %dx
    out %ax, %dx
    mov $0xb004, %dx
    out %ax, %dx
5:  hlt
    jmp 5b

hex:                                       # prints a space and %edi as 8 digits
    pusha
    mov $' ', %al
    call putc
    mov $8, %cx
6:  rol $4, %edi
    mov %di, %ax
    and $15, %al
    add $'0', %al
    cmp $'9', %al
    jbe 7f
    add $'a' - '0' - 10, %al
7:  call putc
    loop 6b
    popa
    ret
puts:
    lodsb
    test %al, %al
    jz 8f
    call putc
    jmp puts
8:  ret
putc:
    push %dx
    push %ax
    mov $0x3fd, %dx
9:  in %dx, %al
    test $0x20, %al
    jz 9b
    pop %ax
    mov $0x3f8, %dx
    out %al, %dx
    pop %dx
    ret

intro:    .asciz "probe"
end:      .asciz " end\n"
shutdown: .asciz "Shutdown"
.org 446
.fill 64, 1, 0
.word 0xaa55
