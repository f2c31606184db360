// What a virtual machine consists of, from a configuration file and the command line (docs/man/vmx.md).
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_MAX_DISKS   8
#define CONFIG_MAX_SERIAL  2
#define CONFIG_MAX_MODULES 15

enum disk_interface { DISK_VIRTIO, DISK_IDE };

struct config_disk {
    char *path;
    char *overlay; // file that receives what the guest writes; NULL: the disk itself
    enum disk_interface interface;
    bool read_only;
    bool private; // what the guest writes is forgotten at the end
};

struct config {
    char *name;      // of the VM, in messages
    uint64_t memory; // bytes
    unsigned cpus;
    char *kernel, *append;                   // NULL: none
    char *initrd[CONFIG_MAX_MODULES];        // Linux: the first; Multiboot: modules
    char *initrd_append[CONFIG_MAX_MODULES]; // arguments of each; NULL: none
    unsigned initrd_count;
    struct config_disk disks[CONFIG_MAX_DISKS];
    unsigned disk_count;
    char *serial[CONFIG_MAX_SERIAL]; // "stdio", "null", "file:PATH", "pty"; output.h
    unsigned serial_set;             // how many of them were named
    char *console;                   // of virtio-console, the same; NULL: no such device
    char *display; // where the text screen is shown, the same, and keys are typed; NULL: nowhere
    char *debug;   // where ports 0xe9 and 0x402 go, the same
    char *log;     // file for messages; NULL: standard error
    char *record, *replay;         // log to write or to follow; NULL: neither
    char *gdb, *gdb_arch;          // where a debugger may connect, and registers it is given
    bool gdb_wait;                 // nothing runs before one has
    char *trace;                   // file for a line about every exit; NULL: none
    uint64_t seed;                 // of the timing of a recording, 0: regular
    bool chaos;                    // it is adversarial
    bool clock_host;               // time passes as the host's, and the guest's TSC with it
    bool clock_none;               // time passes by exits, not by instructions
    unsigned silence;              // seconds without an exit that end such a run
    uint64_t sum_interval;         // of a recording: ticks between two sums of memory; 0: as usual
    uint32_t sum_unit;             // and bytes that each is for; 0: as usual
    bool verify_sums;              // compare them with memory each time
    uint64_t until;                // count, or number of an event, at which a replay stops
    bool until_given, until_event; // whether, and which of the two
    bool go_live;                  // from there on as a live VM
    bool bisect;                   // two replays side by side
    char *inject;                  // a fault on purpose (inject.h); NULL: none
    char *stats;                   // file for the figures of the run; NULL: none
    bool acpi;                     // give the guest ACPI tables
    bool pci;                      // have a PCI bus and what is on it
    bool reboot;                   // a reset starts the guest again (else it ends the VM)
    bool verbose;
};

// Defaults: 256 MB, one CPU, first serial port on the terminal.
void config_init(struct config *c);
void config_free(struct config *c);
// Sets one key as a line `key = value` of a file does. 0, or -EINVAL with a sentence in `error`.
int config_set(struct config *c, const char *key, const char *value, char *error, size_t size);
// Parses a file's text; `name` is for messages. 0, or -EINVAL with "name:line: what" in `error`.
int config_parse(struct config *c, const char *name, const char *text, size_t length, char *error,
                 size_t size);
// Reads and parses a file. 0, or -errno with a sentence.
int config_read(struct config *c, const char *path, char *error, size_t size);
// What does not fit together, at the end. 0, or -EINVAL with a sentence.
int config_check(const struct config *c, char *error, size_t size);
// The key that a command line option without its '-' stands for, and whether it takes a value; NULL: none.
const char *config_key_of_option(const char *option, bool *has_value);
// The list of keys, for --help.
void config_help(void);
