#include "replay/gdb/monitor.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX 512

static monitor_function help;

static void set_step_over(struct debugger *d, const struct words *w) {
    static const char *const names[] = {
        [STEP_OVER_AUTO] = "auto", [STEP_OVER_ON] = "on", [STEP_OVER_OFF] = "off"};
    if (w->count == 2 && !strcmp(w->word[0], "step-over")) {
        for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            if (!strcmp(w->word[1], names[i])) {
                d->step_over = (enum step_over)i;
                return;
            }
        }
    }
    if (w->count)
        debugger_say(d, "interrupts step-over on, off or auto\n");
    else
        debugger_say(d, "steps run over interrupts: %s\n", names[d->step_over]);
}

static void set_line_steps(struct debugger *d, const struct words *w) {
    bool lines = !strcmp(w->word[0], "lines");
    if (lines || !strcmp(w->word[0], "instructions"))
        d->line_steps = lines;
    else
        debugger_say(d, "steps lines or instructions; now: %s\n",
                     d->line_steps ? "lines" : "instructions");
}

static void set_hints(struct debugger *d, const struct words *w) {
    if (w->count)
        d->hints = strcmp(w->word[0], "off") != 0;
    debugger_say(d, "hints are %s\n", d->hints ? "on" : "off");
}

static const struct monitor_command {
    const char *name, *arguments, *help;
    monitor_function *function;
} table[] = {
    {"help", "", "this list", help},
    {"when", "", "where we are: count, log event, guest time, what each vCPU does", monitor_when},
    {"goto", "COUNT | +N | -N | event N | begin | end", "travels there", monitor_goto},
    {"checkpoint", "", "keeps this place, to come back to by restart", monitor_checkpoint},
    {"list", "", "checkpoints: numbered ones are kept, the others come and go", monitor_list},
    {"delete", "N", "forgets a checkpoint", monitor_delete},
    {"restart", "N", "travels to a checkpoint", monitor_restart},
    {"costs", "", "what travelling has cost", monitor_costs},
    {"events", "[N]", "the log's events around here, or around event N", monitor_events},
    {"exits", "", "the last VM exits", monitor_exits},
    {"devices", "[NAME]", "the state of all devices, or of one", monitor_devices},
    {"mem", "PHYS [N]", "N bytes (64) of guest-physical memory", monitor_memory},
    {"xlate", "ADDR", "the guest-physical address of a linear one", monitor_translate},
    {"arch", "[x86-64 | i386 | i8086]",
     "the vCPU's mode; or the registers that gdb gets when it connects again", monitor_arch},
    {"cr3", "[VALUE | current | any] [all]",
     "breakpoints set from now on (all: those before, too) stop only in this address space",
     monitor_address_space},
    {"interrupts", "step-over on | off | auto",
     "steps run interrupt handlers through, back and forth (auto: except by instruction in a replay)",
     set_step_over},
    {"steps", "lines | instructions",
     "what the single steps to come belong to; backwards gdb does not say it (chronovisor.py does)",
     set_line_steps},
    {"hints", "on | off", "say what gdb must be told after a travel", set_hints},
    {"go-live", "[LOGFILE]",
     "leaves the recording: from here the guest runs on, recorded into LOGFILE", monitor_go_live},
};
#define COUNT (sizeof(table) / sizeof(table[0]))

static void help(struct debugger *d, const struct words *w) {
    for (unsigned i = 0; i < COUNT; i++)
        debugger_say(d, "%s%s%s\n    %s\n", table[i].name, *table[i].arguments ? " " : "",
                     table[i].arguments, table[i].help);
}

bool monitor_number(struct debugger *d, const char *word, uint64_t *value) {
    char *end;
    errno = 0;
    *value = strtoull(word, &end, strncmp(word, "0x", 2) ? 10 : 16);
    // strtoull() would take a sign and leading blanks.
    if (*word >= '0' && *word <= '9' && !*end && !errno)
        return true;
    debugger_say(d, "\"%s\" is not a number (decimal, or hexadecimal after 0x)\n", word);
    return false;
}

const char *monitor_error(int error) {
    return error == -ENOTSUP ? "a live VM has no history: record it and debug its replay"
                             : strerror(-error);
}

static struct words split(char *line) {
    struct words w = {.word = {"", "", "", ""}};
    char *next = NULL;
    for (char *word = strtok_r(line, " \t", &next); word && w.count < MONITOR_WORDS;
         word = strtok_r(NULL, " \t", &next))
        w.word[w.count++] = word;
    return w;
}

static const struct monitor_command *find(const char *name) {
    for (unsigned i = 0; i < COUNT; i++)
        if (!strcmp(name, table[i].name))
            return &table[i];
    return NULL;
}

void command_monitor(struct debugger *d, struct scan *args) {
    char line[LINE_MAX], *arguments = line;
    size_t n = scan_word(args, ",") ? scan_bytes(args, line, sizeof(line) - 1) : 0;
    line[n] = 0;
    if (!scan_end(args)) {
        debugger_error(d, "the command is too long, or is none");
        return;
    }
    const char *name = strsep(&arguments, " \t");
    const struct monitor_command *command = find(*name ? name : "help");
    char none[] = "";
    struct words w = split(arguments ? arguments : none);
    d->interrupted = false;
    if (command)
        command->function(d, &w);
    else
        debugger_say(d, "\"%s\" is unknown; monitor help lists what there is\n", name);
    debugger_ok(d);
}
