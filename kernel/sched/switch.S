// void switch_to(uint64_t *save_rsp, uint64_t load_rsp)
// Saves what the C calling convention preserves, changes stacks, goes on where that stack left off.
    .text
    .globl switch_to
    .type switch_to, @function
switch_to:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
    .size switch_to, . - switch_to

// First code of every new world, "returned" to by switch_to. A kernel world runs its function; a
// user world has a trap frame on top of its stack and leaves through the common exit.
    .globl world_entry
    .type world_entry, @function
world_entry:
    xor %ebp, %ebp              // end of the chain of frames for backtraces
    call sched_first_run
    test %rbx, %rbx             // set by prepare_stack(): kernel function or 0
    jz 1f
    sti
    mov %r12, %rdi
    call *%rbx
    call world_exit
1:  mov %rsp, %rdi
    call exit_to_user
    jmp trap_return
    .size world_entry, . - world_entry
    .section .note.GNU-stack, "", @progbits
