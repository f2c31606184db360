// The configuration: one table of keys, read from a file's lines and from command line options.
#include "vmm/machine/config.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "replay/checks.h"
#include "vmm/machine/machine.h"

#define MEMORY_MIN   (2ull << 20)
#define MEMORY_MAX   (1ull << 40)
#define FILE_MAX     (1u << 20)
#define DISK_EXAMPLE "PATH[,if=ide|virtio][,ro|,private|,overlay=PATH]"

struct key {
    const char *name;
    // Sets the value. 0, or -EINVAL with what is wrong about it.
    int (*set)(struct config *c, const struct key *k, const char *value, char *error, size_t size);
    size_t field;      // of struct config, for the simple kinds
    const char *value; // how it looks; NULL: yes or no, and as an option without value: yes
    const char *help;
};

static int fail(char *error, size_t size, const char *what, const char *value) {
    snprintf(error, size, "%s: '%s'", what, value);
    return -EINVAL;
}

static int set_string(char **to, const char *value) {
    free(*to);
    *to = strdup(value);
    return *to ? 0 : -ENOMEM;
}

static bool number(const char *text, uint64_t *value) {
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return isdigit((unsigned char)text[0]) && !*end && !errno;
}

// ---- kinds of values ---------------------------------------------------------------------------
static int text(struct config *c, const struct key *k, const char *value, char *error,
                size_t size) {
    return set_string((char **)((char *)c + k->field), value);
}

static int yes_no(struct config *c, const struct key *k, const char *value, char *error,
                  size_t size) {
    bool *flag = (bool *)((char *)c + k->field);
    *flag = !strcmp(value, "yes");
    return *flag || !strcmp(value, "no") ? 0 : fail(error, size, "must be yes or no", value);
}

static int memory(struct config *c, const struct key *k, const char *value, char *error,
                  size_t size) {
    char *end;
    errno = 0;
    unsigned long long n = strtoull(value, &end, 10);
    unsigned shift = 20; // megabytes unless said
    if (*end) {
        switch (toupper((unsigned char)*end++)) {
        case 'K': shift = 10; break;
        case 'M': shift = 20; break;
        case 'G': shift = 30; break;
        default: return fail(error, size, "must be a number with K, M or G", value);
        }
    }
    if (errno || *end || !isdigit((unsigned char)value[0]))
        return fail(error, size, "must be a number with K, M or G", value);
    if (n > MEMORY_MAX >> shift || n << shift < MEMORY_MIN)
        return fail(error, size, "memory must be from 2 MB to 1 TB", value);
    c->memory = n << shift & ~0xfffull;
    return 0;
}

static int processors(struct config *c, const struct key *k, const char *value, char *error,
                      size_t size) {
    char *end;
    unsigned long n = strtoul(value, &end, 10);
    if (*end || n < 1 || n > MACHINE_MAX_VCPUS || !isdigit((unsigned char)value[0])) {
        snprintf(error, size, "must be a number from 1 to %d: '%s'", MACHINE_MAX_VCPUS, value);
        return -EINVAL;
    }
    c->cpus = n;
    return 0;
}

static int module(struct config *c, const struct key *k, const char *value, char *error,
                  size_t size) {
    if (c->initrd_count == CONFIG_MAX_MODULES)
        return fail(error, size, "too many modules", value);
    return set_string(&c->initrd[c->initrd_count++], value);
}

static int module_arguments(struct config *c, const struct key *k, const char *value, char *error,
                            size_t size) {
    if (!c->initrd_count)
        return fail(error, size, "must come after the initrd that it belongs to", value);
    return set_string(&c->initrd_append[c->initrd_count - 1], value);
}

static int disk_option(struct config_disk *d, const char *option, char *error, size_t size) {
    if (!strcmp(option, "if=ide"))
        d->interface = DISK_IDE;
    else if (!strcmp(option, "if=virtio"))
        d->interface = DISK_VIRTIO;
    else if (!strcmp(option, "ro"))
        d->read_only = true;
    else if (!strcmp(option, "private"))
        d->private = true;
    else if (!strncmp(option, "overlay=", 8))
        return set_string(&d->overlay, option + 8);
    else
        return fail(error, size, "a disk is " DISK_EXAMPLE ", not", option);
    return 0;
}

static int disk(struct config *c, const struct key *k, const char *value, char *error,
                size_t size) {
    if (c->disk_count == CONFIG_MAX_DISKS)
        return fail(error, size, "too many disks", value);
    struct config_disk *d = &c->disks[c->disk_count++];
    char *copy = strdup(value), *rest = copy, *part;
    int r = copy ? 0 : -ENOMEM;
    for (bool first = true; !r && (part = strsep(&rest, ",")); first = false)
        r = first ? set_string(&d->path, part) : disk_option(d, part, error, size);
    free(copy);
    return r;
}

// "seed" and "chaos": the later one counts.
static int seed(struct config *c, const struct key *k, const char *value, char *error,
                size_t size) {
    c->chaos = k->name[0] == 'c';
    return number(value, &c->seed) ? 0 : fail(error, size, "must be a number below 2^64", value);
}

static int sum_unit(struct config *c, const struct key *k, const char *value, char *error,
                    size_t size) {
    bool page = !strcmp(value, "page");
    c->sum_unit = page ? MEMORY_PAGE : MEMORY_REGION;
    return page || !strcmp(value, "region") ? 0
                                            : fail(error, size, "must be page or region", value);
}

static int sum_interval(struct config *c, const struct key *k, const char *value, char *error,
                        size_t size) {
    return number(value, &c->sum_interval) && c->sum_interval
               ? 0
               : fail(error, size, "must be a number of ticks, below 2^64", value);
}

// COUNT or event:N.
static int until(struct config *c, const struct key *k, const char *value, char *error,
                 size_t size) {
    c->until_event = !strncmp(value, "event:", 6);
    c->until_given = number(c->until_event ? value + 6 : value, &c->until);
    return c->until_given ? 0 : fail(error, size, "must be a count or event:N", value);
}

static int clock_kind(struct config *c, const struct key *k, const char *value, char *error,
                      size_t size) {
    c->clock_none = !strcmp(value, "none");
    c->clock_host = !strcmp(value, "host");
    return c->clock_none || c->clock_host || !strcmp(value, "auto")
               ? 0
               : fail(error, size, "must be auto, none or host", value);
}

static int silence(struct config *c, const struct key *k, const char *value, char *error,
                   size_t size) {
    char *end;
    unsigned long seconds = strtoul(value, &end, 10);
    c->silence = (unsigned)seconds;
    return *end || !isdigit((unsigned char)value[0]) || !seconds || seconds > 86400
               ? fail(error, size, "must be a number of seconds", value)
               : 0;
}

static bool good_output(const char *value) {
    return !strcmp(value, "stdio") || !strcmp(value, "null") || !strcmp(value, "pty") ||
           !strncmp(value, "file:", 5);
}

static int output(struct config *c, const struct key *k, const char *value, char *error,
                  size_t size) {
    return good_output(value) ? text(c, k, value, error, size)
                              : fail(error, size, "must be stdio, null, pty or file:PATH", value);
}

// The first `serial` is the first port's, the second the second's, and each further one replaces that.
static int serial(struct config *c, const struct key *k, const char *value, char *error,
                  size_t size) {
    unsigned n = c->serial_set < CONFIG_MAX_SERIAL ? c->serial_set++ : CONFIG_MAX_SERIAL - 1;
    return good_output(value) ? set_string(&c->serial[n], value)
                              : fail(error, size, "must be stdio, null, pty or file:PATH", value);
}

// A terminal that shows the screen is not the first serial port's, unless that is asked for.
static int display(struct config *c, const struct key *k, const char *value, char *error,
                   size_t size) {
    int r = output(c, k, value, error, size);
    return r || c->serial_set || strcmp(value, "stdio") ? r : set_string(&c->serial[0], "null");
}

// ---- the table ---------------------------------------------------------------------------------
#define FIELD(name) offsetof(struct config, name)
static const struct key keys[] = {
    {"name", text, FIELD(name), "NAME", "name of the VM in messages"},
    {"memory", memory, 0, "SIZE", "guest memory in MB, or with K, M, G (256)"},
    {"cpus", processors, 0, "N", "virtual processors (1)"},
    {"kernel", text, FIELD(kernel), "FILE",
     "bzImage or vmlinux, Multiboot 1 or 2 kernel, or boot sector"},
    {"initrd", module, 0, "FILE", "initial file system, or module; several"},
    {"initrd-append", module_arguments, 0, "TEXT", "arguments of the Multiboot module before"},
    {"append", text, FIELD(append), "TEXT", "command line of the kernel"},
    {"disk", disk, 0, DISK_EXAMPLE, "disk image; several"},
    {"serial", serial, 0, "stdio|null|pty|file:PATH",
     "first serial port (stdio), then the second (null)"},
    {"console", output, FIELD(console), "stdio|null|pty|file:PATH",
     "have a virtio console, and where"},
    {"display", display, FIELD(display), "stdio|null|pty|file:PATH",
     "show the text screen there, and take keys from there (null)"},
    {"debug", output, FIELD(debug), "stdio|null|pty|file:PATH",
     "debug ports 0xe9 and 0x402 (null)"},
    {"log", text, FIELD(log), "FILE", "messages go there"},
    {"record", text, FIELD(record), "FILE",
     "write a log of the run, from which it can be replayed"},
    {"replay", text, FIELD(replay), "FILE",
     "run again what a log says; the machine must be the same"},
    {"gdb", text, FIELD(gdb), "PATH", "gdb may connect: a terminal, or a socket that is made"},
    {"gdb-wait", yes_no, FIELD(gdb_wait), NULL, "run nothing before gdb has come (no)"},
    {"gdb-arch", text, FIELD(gdb_arch), "x86-64|i386|i8086",
     "registers that gdb is given at first (x86-64)"},
    {"trace", text, FIELD(trace), "FILE", "write a line about every exit of the guest"},
    {"seed", seed, 0, "N", "jitter in the timing of a recording (0: none)"},
    {"chaos", seed, 0, "N", "adversarial timing of a recording, to provoke mistakes (0: none)"},
    {"clock", clock_kind, 0, "auto|none|host",
     "what time passes by: instructions, exits, or the host's TSC (auto)"},
    {"silence", silence, 0, "SECONDS", "clock none: a guest without exits ends the run (10)"},
    {"sums", sum_unit, 0, "page|region", "a recording has sums of pages or of 2 MB (region)"},
    {"sum-interval", sum_interval, 0, "TICKS", "instructions between two sums (2^30)"},
    {"verify-sums", yes_no, FIELD(verify_sums), NULL, "check them against all of memory (no)"},
    {"until", until, 0, "COUNT|event:N", "a replay stops there and shows registers"},
    {"go-live", yes_no, FIELD(go_live), NULL,
     "and goes on from there, with -record into a new log"},
    {"bisect", yes_no, FIELD(bisect), NULL, "run two replays side by side: where do they part?"},
    {"inject", text, FIELD(inject), "V:KIND:PLACE:BIT",
     "for tests: turn over a bit of register, memory or device of a replay"},
    {"stats", text, FIELD(stats), "FILE", "write figures of the run there"},
    {"acpi", yes_no, FIELD(acpi), NULL, "give the guest ACPI tables (yes)"},
    {"pci", yes_no, FIELD(pci), NULL, "have a PCI bus (yes)"},
    {"reboot", yes_no, FIELD(reboot), NULL, "a reset starts the guest again (yes), or ends the VM"},
    {"verbose", yes_no, FIELD(verbose), NULL, "report what the guest asks for in vain (no)"},
};
#define KEYS (sizeof(keys) / sizeof(keys[0]))

static const struct {
    const char *option, *key;
} short_options[] = {{"mem", "memory"}, {"m", "memory"}, {"v", "verbose"}};

static const struct key *find_key(const char *name) {
    for (unsigned i = 0; i < KEYS; i++)
        if (!strcmp(keys[i].name, name))
            return &keys[i];
    return NULL;
}

const char *config_key_of_option(const char *option, bool *has_value) {
    for (unsigned i = 0; i < sizeof(short_options) / sizeof(short_options[0]); i++)
        if (!strcmp(short_options[i].option, option))
            option = short_options[i].key;
    const struct key *k = find_key(option);
    *has_value = k && k->value;
    return k ? k->name : NULL;
}

void config_help(void) {
    for (unsigned i = 0; i < KEYS; i++)
        printf("  -%s %s\n        %s\n", keys[i].name, keys[i].value ? keys[i].value : "",
               keys[i].help);
}

int config_set(struct config *c, const char *key, const char *value, char *error, size_t size) {
    const struct key *k = find_key(key);
    if (!k)
        return fail(error, size, "there is no such key", key);
    if (!*value && strcmp(key, "append"))
        return fail(error, size, "has no value", key);
    return k->set(c, k, value, error, size);
}

// ---- files -------------------------------------------------------------------------------------
static char *trim(char *s) {
    while (isspace((unsigned char)*s))
        s++;
    char *end = s + strlen(s);
    while (end > s && isspace((unsigned char)end[-1]))
        *--end = 0;
    return s;
}

static int parse_line(struct config *c, char *line, char *error, size_t size) {
    char *key = trim(line);
    if (!*key || *key == '#')
        return 0;
    char *equals = strchr(key, '=');
    if (!equals)
        return fail(error, size, "must be 'key = value'", key);
    *equals = 0;
    key = trim(key);
    char what[200];
    int r = config_set(c, key, trim(equals + 1), what, sizeof(what));
    if (r)
        snprintf(error, size, "%s: %s", key, r == -ENOMEM ? "no memory" : what);
    return r;
}

int config_parse(struct config *c, const char *name, const char *content, size_t length,
                 char *error, size_t size) {
    char *copy = malloc(length + 1), *rest = copy, *line;
    if (!copy) {
        snprintf(error, size, "%s: no memory", name);
        return -ENOMEM;
    }
    memcpy(copy, content, length);
    copy[length] = 0;
    int r = strlen(copy) == length ? 0 : -EINVAL;
    if (r)
        snprintf(error, size, "%s: contains a zero byte: not a text file", name);
    for (unsigned number = 1; !r && (line = strsep(&rest, "\n")); number++) {
        char what[256];
        r = parse_line(c, line, what, sizeof(what));
        if (r)
            snprintf(error, size, "%s:%u: %s", name, number, what);
    }
    free(copy);
    return r;
}

int config_read(struct config *c, const char *path, char *error, size_t size) {
    FILE *f = fopen(path, "re");
    char *content = f ? malloc(FILE_MAX) : NULL;
    if (!content) {
        int r = -errno;
        snprintf(error, size, "%s: %s", path, strerror(errno));
        if (f)
            fclose(f);
        return r;
    }
    size_t n = fread(content, 1, FILE_MAX, f);
    int r = ferror(f) ? -EIO : n == FILE_MAX ? -EFBIG : 0;
    if (r)
        snprintf(error, size, "%s: %s", path, strerror(-r));
    else
        r = config_parse(c, path, content, n, error, size);
    free(content);
    fclose(f);
    return r;
}

// ---- as a whole --------------------------------------------------------------------------------
void config_init(struct config *c) {
    *c = (struct config){.memory = 256ull << 20,
                         .cpus = 1,
                         .acpi = true,
                         .pci = true,
                         .reboot = true,
                         .silence = 10};
    set_string(&c->name, "vmx");
    set_string(&c->serial[0], "stdio");
    set_string(&c->serial[1], "null");
    set_string(&c->debug, "null");
}

void config_free(struct config *c) {
    free(c->name);
    free(c->kernel);
    free(c->append);
    free(c->console);
    free(c->display);
    free(c->debug);
    free(c->log);
    free(c->record);
    free(c->replay);
    free(c->stats);
    free(c->inject);
    free(c->gdb);
    free(c->gdb_arch);
    free(c->trace);
    for (unsigned i = 0; i < CONFIG_MAX_SERIAL; i++)
        free(c->serial[i]);
    for (unsigned i = 0; i < c->initrd_count; i++) {
        free(c->initrd[i]);
        free(c->initrd_append[i]);
    }
    for (unsigned i = 0; i < c->disk_count; i++) {
        free(c->disks[i].path);
        free(c->disks[i].overlay);
    }
    *c = (struct config){0};
}

int config_check(const struct config *c, char *error, size_t size) {
    if (!c->kernel) {
        snprintf(error, size, "no kernel is given (kernel = FILE, or -kernel FILE)");
        return -EINVAL;
    }
    for (unsigned i = 0; i < c->disk_count; i++) {
        if (c->disks[i].interface == DISK_VIRTIO && !c->pci) {
            snprintf(error, size, "disk '%s': virtio needs pci = yes", c->disks[i].path);
            return -EINVAL;
        }
        if (c->disks[i].read_only + c->disks[i].private + (c->disks[i].overlay != NULL) > 1) {
            snprintf(error, size, "disk '%s': ro, private and overlay exclude each other",
                     c->disks[i].path);
            return -EINVAL;
        }
    }
    if (c->clock_host && (c->record || c->replay)) {
        snprintf(error, size, "clock = host: such a run cannot be recorded or replayed");
        return -EINVAL;
    }
    if (c->until_given && !c->replay) {
        snprintf(error, size, "until: only a replay can stop at a place (replay = FILE)");
        return -EINVAL;
    }
    if (c->bisect && !c->replay) {
        snprintf(error, size, "bisect: only replays can be compared (replay = FILE)");
        return -EINVAL;
    }
    if (c->inject && !c->replay) {
        snprintf(error, size, "inject: only in a replay, whose comparison it tests");
        return -EINVAL;
    }
    if ((c->go_live || (c->record && c->replay)) && !c->until_given) {
        snprintf(error, size, "a replay goes on as something else only from a place (until = ...)");
        return -EINVAL;
    }
    bool on_terminal = c->display && !strcmp(c->display, "stdio");
    if (on_terminal && c->serial[0] && !strcmp(c->serial[0], "stdio")) {
        snprintf(error, size, "display and serial: only one of them can be stdio");
        return -EINVAL;
    }
    if (c->console && !c->pci) {
        snprintf(error, size, "console: virtio needs pci = yes");
        return -EINVAL;
    }
    return 0;
}
