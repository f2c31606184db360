#include "vmm/machine/options.h"
#include <stdio.h>
#include <string.h>

static void help(void) {
    puts(
        "usage: vmx [-c FILE.conf] [OPTION VALUE]... [-kernel] FILE\n"
        "Runs one virtual machine. ^] on its terminal leaves.\n\n"
        "  -c FILE\n        read keys from a file, lines of 'key = value'; later ones replace earlier ones");
    config_help();
    puts("  --help\n        this text\n\n"
         "Exit status: 0 the guest switched itself off (or its own code, through port 0x501);\n"
         "125 it could not be started, 126 the VM failed, 127 it reset itself with -no-reboot,\n"
         "128 triple fault, 129 left by the user.");
}

static enum options_result complain(const char *option, const char *error) {
    fprintf(stderr, "vmx: %s%s%s; see vmx --help\n", option, *option ? ": " : "", error);
    return OPTIONS_ERROR;
}

// "--kernel=X", "-kernel X", "-no-reboot": `*next` is the argument that follows, set to NULL when used.
static int set_option(struct config *c, const char *option, const char **next, char *error,
                      size_t size) {
    char key[32];
    const char *name = option + strspn(option, "-"), *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    snprintf(key, sizeof(key), "%.*s", (int)length, name);
    const char *value = equals ? equals + 1 : NULL, *found;
    bool has_value, negated = !strncmp(key, "no-", 3) && !value;
    found = config_key_of_option(negated ? key + 3 : key, &has_value);
    if (!found || (negated && has_value)) {
        snprintf(error, size, "there is no such option");
        return -1;
    }
    if (!has_value && !value) {
        value = negated ? "no" : "yes";
    } else if (!value) {
        value = *next;
        *next = NULL;
    }
    if (!value) {
        snprintf(error, size, "needs a value");
        return -1;
    }
    return config_set(c, found, value, error, size);
}

enum options_result options_parse(struct config *c, int argc, char **argv) {
    char error[320] = "no memory"; // the only failure without a sentence of its own
    for (int i = 1; i < argc; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : NULL, *given = next;
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            help();
            return OPTIONS_DONE;
        }
        if (!strcmp(argv[i], "-c")) {
            if (!next)
                return complain("-c", "needs a file");
            if (config_read(c, next, error, sizeof(error)))
                return complain("", error);
            i++;
        } else if (argv[i][0] == '-') {
            if (set_option(c, argv[i], &next, error, sizeof(error)))
                return complain(argv[i], error);
            i += next != given;
        } else if (config_set(c, "kernel", argv[i], error, sizeof(error))) {
            return complain(argv[i], error);
        }
    }
    if (config_check(c, error, sizeof(error)))
        return complain("", error);
    return OPTIONS_RUN;
}
