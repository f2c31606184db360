// The kernel's command line: words separated by spaces, each `name` or `name=value`. A value in
// double quotes may contain spaces.
#include "boot/boot_info.h"
#include "lib/string.h"

// Cuts the next word off *p. Returns its length, 0 at the end; *word is where it starts.
static size_t next_word(const char **p, const char **word) {
    const char *s = *p;
    while (*s == ' ' || *s == '\t')
        s++;
    *word = s;
    bool quoted = false;
    for (; *s && (quoted || (*s != ' ' && *s != '\t')); s++)
        if (*s == '"')
            quoted = !quoted;
    *p = s;
    return s - *word;
}

// The n-th word with that name, and its length; NULL when there is none.
static const char *find(const char *name, unsigned n, size_t *length) {
    size_t name_length = strlen(name);
    const char *p = boot_info.cmdline, *word;
    while ((*length = next_word(&p, &word))) {
        bool match = *length >= name_length && !strncmp(word, name, name_length) &&
                     (*length == name_length || word[name_length] == '=');
        if (match && n-- == 0)
            return word;
    }
    return NULL;
}

const char *cmdline_get(const char *name, unsigned n) {
    static char value[sizeof(boot_info.cmdline)];
    size_t length, used = 0;
    // Words without a value do not count.
    for (unsigned i = 0;; i++) {
        const char *word = find(name, i, &length);
        if (!word)
            return NULL;
        if (word[MIN(length - 1, strlen(name))] != '=' || n-- != 0)
            continue;
        for (size_t k = strlen(name) + 1; k < length; k++)
            if (word[k] != '"')
                value[used++] = word[k];
        value[used] = '\0';
        return value;
    }
}

bool cmdline_has(const char *name) {
    size_t length;
    return find(name, 0, &length) != NULL;
}
