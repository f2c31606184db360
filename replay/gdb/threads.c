// vCPUs as gdb's threads: vCPU n is thread n+1 (0 and -1 mean any and all).
#include <stdio.h>
#include <string.h>
#include "replay/gdb/debugger_internal.h"

static uint32_t cpus(const struct debugger *d) {
    return timeline_info(d->timeline)->cpus;
}

bool threads_scan(struct debugger *d, struct scan *s, uint32_t *cpu) {
    uint64_t thread;
    *cpu = NO_CPU;
    if (scan_word(s, "-1"))
        return true;
    if (!scan_number(s, &thread) || thread > cpus(d))
        return false;
    if (thread)
        *cpu = (uint32_t)thread - 1;
    return true;
}

static bool scan_whole(struct debugger *d, struct scan *args, uint32_t *cpu) {
    if (threads_scan(d, args, cpu) && scan_end(args))
        return true;
    debugger_error(d, "there is no such vCPU");
    return false;
}

void command_choose_thread(struct debugger *d, struct scan *args) {
    uint32_t cpu;
    bool general = scan_word(args, "g");
    if (!general && !scan_word(args, "c")) {
        debugger_error(d, "Hg or Hc was expected");
        return;
    }
    if (!scan_whole(d, args, &cpu))
        return;
    if (!general)
        d->resume_cpu = cpu;
    else if (cpu != NO_CPU) // any will do: the one that was meant so far
        d->general_cpu = cpu;
    debugger_ok(d);
}

void command_thread_alive(struct debugger *d, struct scan *args) {
    uint32_t cpu;
    if (scan_whole(d, args, &cpu))
        debugger_ok(d);
}

void command_current_thread(struct debugger *d, struct scan *args) {
    packet_text(&d->reply, "QC%x", d->general_cpu + 1);
}

void command_first_threads(struct debugger *d, struct scan *args) {
    for (uint32_t i = 0; i < cpus(d); i++)
        packet_text(&d->reply, "%c%x", i ? ',' : 'm', i + 1);
}

void command_next_threads(struct debugger *d, struct scan *args) {
    packet_text(&d->reply, "l");
}

// What the vCPU is doing, in a line: without its name, which gdb knows, and without what could not stand in XML.
static void describe(struct debugger *d, uint32_t cpu, char *text, size_t n) {
    char number[12], name[24];
    snprintf(number, sizeof(number), "%u", cpu);
    size_t length = (size_t)snprintf(name, sizeof(name), "vCPU %u: ", cpu);
    remote_text(timeline_machine(d->timeline), TEXT_CPU, number, text, n);
    text[strcspn(text, "\n")] = 0;
    if (!strncmp(text, name, length))
        memmove(text, text + length, strlen(text + length) + 1);
    for (char *c = text; *c; c++)
        if (strchr("<>&\"'", *c) || *c < ' ')
            *c = ' ';
}

void command_thread_info(struct debugger *d, struct scan *args) {
    uint32_t cpu;
    char text[200];
    if (!scan_word(args, ",") || !scan_whole(d, args, &cpu))
        return;
    describe(d, cpu == NO_CPU ? d->general_cpu : cpu, text, sizeof(text));
    packet_hex(&d->reply, text, strlen(text));
}

size_t threads_list(struct debugger *d, char *xml, size_t n) {
    size_t used = (size_t)snprintf(xml, n, "<?xml version=\"1.0\"?>\n<threads>\n");
    char text[200];
    for (uint32_t i = 0; i < cpus(d) && used < n; i++) {
        describe(d, i, text, sizeof(text));
        used += (size_t)snprintf(xml + used, n - used,
                                 "<thread id=\"%x\" core=\"%u\" name=\"vCPU %u\">%s</thread>\n",
                                 i + 1, i, i, text);
    }
    if (used < n)
        used += (size_t)snprintf(xml + used, n - used, "</threads>\n");
    return used < n ? used : n;
}
