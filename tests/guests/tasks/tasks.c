// Hardware task switches: JMP, CALL, IRET, INT n, exceptions through task gates, a double fault. Runs bare,
// in QEMU, and as a guest, with the same results.
#include "tests/guests/lib/guest.h"

void run_tasks(void); // switch.S

extern uint64_t task_descriptors[2];
extern char tss_a[], tss_b[], stack_b[];
extern uint32_t seen_jump, seen_type_a, seen_type_b, seen_flags_a, seen_flags_b, seen_int_return,
    seen_cr0, seen_ebx_b, seen_esp_b, seen_tr_b, seen_link, seen_calls, seen_saved_ebx, seen_faults,
    seen_error[2], seen_fault_eip[2];

#define NT 0x4000u

static uint64_t task_descriptor(const char *tss) {
    uint64_t base = (uint64_t)tss;
    return 0x67 | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24) << 56;
}

int guest_main(void) {
    task_descriptors[0] = task_descriptor(tss_a);
    task_descriptors[1] = task_descriptor(tss_b);
    run_tasks();
    check("JMP: the new task's register", seen_ebx_b, 0x33333333);
    check("JMP: its stack", seen_esp_b, (uint64_t)stack_b);
    check("JMP: its TR", seen_tr_b, 0x28);
    check("JMP back: the old task's register", seen_jump, 0x11111111);
    check("JMP: the running task is busy", seen_type_a, 0x8b);
    check("JMP: the other one is free", seen_type_b, 0x89);
    check("CALL, gate, INT: all came", seen_calls, 3);
    check("CALL: link", seen_link, 0x20);
    check("CALL: NT is set", seen_flags_b & NT, NT);
    check("IRET: NT is clear", seen_flags_a & NT, 0);
    check("CALL: what the task had when it was left", seen_saved_ebx, 0x22222222);
    check("INT: returns behind it", seen_int_return, 0);
    check("exceptions: both came", seen_faults, 2);
    check("#GP: error code", seen_error[0], 0x1238);
    check("#GP: saved EIP", seen_fault_eip[0], 0);
    check("#DF: error code", seen_error[1], 0);
    check("TS is set", seen_cr0 & 8, 8);
    return end();
}
