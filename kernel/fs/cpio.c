// Reading cpio archives. An entry is a header of 110 characters (magic and 13 numbers of 8
// hexadecimal digits), the name with its zero, and the data, both padded to multiples of 4. Several
// archives may follow each other, padded with zeros. (Linux: Documentation/driver-api/early-userspace
// "buffer-format")
#include "fs/cpio.h"
#include "lib/errno.h"
#include "lib/string.h"

#define HEADER_SIZE 110u

enum field {
    INO,
    MODE,
    UID,
    GID,
    NLINK,
    MTIME,
    FILESIZE,
    DEV_MAJOR,
    DEV_MINOR,
    RDEV_MAJOR,
    RDEV_MINOR,
    NAMESIZE,
    FIELDS = 13 // the last is a checksum that "newc" does not use
};

static bool parse_hex(const uint8_t *p, uint32_t *out) {
    uint32_t v = 0;
    for (int i = 0; i < 8; i++) {
        uint8_t c = p[i];
        unsigned digit = c >= '0' && c <= '9'   ? c - '0'
                         : c >= 'a' && c <= 'f' ? c - 'a' + 10
                         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                : 16;
        if (digit > 15)
            return false;
        v = v << 4 | digit;
    }
    *out = v;
    return true;
}

static bool parse_header(const uint8_t *p, uint32_t *field) {
    if (memcmp(p, "070701", 6) && memcmp(p, "070702", 6))
        return false;
    for (unsigned i = 0; i < FIELDS; i++)
        if (!parse_hex(p + 6 + i * 8, &field[i]))
            return false;
    return true;
}

// As cpio_next(), but the trailer is an entry like others.
static int next_raw(const uint8_t *archive, size_t size, size_t *pos, struct cpio_entry *e) {
    uint32_t field[FIELDS];
    size_t at = *pos;
    while (at < size && archive[at] == 0) // padding between archives
        at++;
    if (at >= size)
        return 0;
    if (size - at < HEADER_SIZE || !parse_header(archive + at, field))
        return -EINVAL;
    size_t name_at = at + HEADER_SIZE, name_size = field[NAMESIZE];
    if (name_size == 0 || name_size > size - name_at || archive[name_at + name_size - 1] != 0)
        return -EINVAL;
    size_t data_at = ROUND_UP(name_at + name_size, 4);
    if (data_at > size || field[FILESIZE] > size - data_at)
        return -EINVAL;
    *pos = MIN(ROUND_UP(data_at + field[FILESIZE], 4), size);
    const char *name = (const char *)archive + name_at;
    while (*name == '/')
        name++;
    *e = (struct cpio_entry){
        .name = name,
        .data = archive + data_at,
        .size = field[FILESIZE],
        .ino = field[INO],
        .mode = field[MODE],
        .uid = field[UID],
        .gid = field[GID],
        .nlink = field[NLINK],
        .mtime = field[MTIME],
        .dev_major = field[DEV_MAJOR],
        .dev_minor = field[DEV_MINOR],
        .rdev_major = field[RDEV_MAJOR],
        .rdev_minor = field[RDEV_MINOR],
    };
    return 1;
}

int cpio_next(const uint8_t *archive, size_t size, size_t *pos, struct cpio_entry *e) {
    int got;
    do {
        got = next_raw(archive, size, pos, e);
    } while (got == 1 && !strcmp(e->name, "TRAILER!!!")); // another archive may follow
    return got;
}
