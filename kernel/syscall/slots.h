// Size of the table of system calls, for C and assembly.
#pragma once
#define SYSCALL_SLOTS 512
