/* test: none */
// The first program of a Linux guest and of the same Linux on the bare machine, for the costs of a boot:
// `M tsc idle`, the TSC at its start and for how many hundredths of a second the kernel had nothing to do.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <unistd.h>
#include <x86intrin.h>

#define VMX_EXIT_PORT 0x501 // a debug port of the vmx process: ends it

int main(void) {
    unsigned long long tsc = __rdtsc();
    double up = 0, idle = 0;
    mount("proc", "/proc", "proc", 0, NULL);
    FILE *uptime = fopen("/proc/uptime", "r");
    if (!uptime || fscanf(uptime, "%lf %lf", &up, &idle) != 2)
        printf("no /proc/uptime\n");
    printf("\nM %llu %.0f\n", tsc, idle * 100);
    fflush(stdout);
    if (iopl(3) == 0)
        outl(0, VMX_EXIT_PORT);
    for (;;)
        pause();
}
