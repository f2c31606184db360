// Formatted output (lib/printf.h).
#include "lib/printf.h"
#include "lib/string.h"

// Where the text goes, and how long it would be.
struct output {
    char *buf;
    size_t size, length;
};

static void put(struct output *o, char c) {
    if (o->length < o->size)
        o->buf[o->length] = c;
    o->length++;
}

static void put_repeated(struct output *o, char c, int n) {
    for (; n > 0; n--)
        put(o, c);
}

static void put_text(struct output *o, const char *s, int n) {
    for (; n > 0; n--)
        put(o, *s++);
}

// One conversion: %[flags][width][.precision][size]letter
struct spec {
    bool left, plus, space, alternate, zero;
    int width, precision; // precision -1: none given
    int size;             // -2 hh, -1 h, 0 int, 1 long, long long, size_t
    char letter;
};

static const char *parse_flags(const char *f, struct spec *s) {
    for (;; f++) {
        switch (*f) {
        case '-': s->left = true; break;
        case '+': s->plus = true; break;
        case ' ': s->space = true; break;
        case '#': s->alternate = true; break;
        case '0': s->zero = true; break;
        default: return f;
        }
    }
}

static const char *parse_size(const char *f, struct spec *s) {
    if (*f == 'h') {
        s->size = f[1] == 'h' ? -2 : -1;
    } else if (*f == 'l') {
        s->size = 1;
    } else if (*f == 'z' || *f == 'j' || *f == 't') {
        s->size = 1;
        return f + 1;
    } else {
        return f;
    }
    return f[1] == f[0] ? f + 2 : f + 1;
}

// Numbers in a format are ours, never a user's; they are small.
static const char *parse_number(const char *f, int *value) {
    for (*value = 0; *f >= '0' && *f <= '9'; f++)
        *value = *value * 10 + (*f - '0');
    return f;
}

static const char *parse_spec(const char *f, struct spec *s, va_list *ap) {
    *s = (struct spec){.precision = -1};
    f = parse_flags(f, s);
    if (*f == '*') {
        s->width = va_arg(*ap, int);
        if (s->width < 0) {
            s->left = true;
            s->width = -s->width;
        }
        f++;
    } else {
        f = parse_number(f, &s->width);
    }
    if (*f == '.') {
        if (*++f == '*') {
            s->precision = va_arg(*ap, int);
            if (s->precision < 0)
                s->precision = -1;
            f++;
        } else {
            f = parse_number(f, &s->precision);
        }
    }
    f = parse_size(f, s);
    s->letter = *f;
    return *f ? f + 1 : f;
}

// Sign or base prefix, zeros, digits, padded on either side.
static void put_number(struct output *o, const struct spec *s, uint64_t value, const char *prefix,
                       unsigned base) {
    const char *digit = s->letter == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    char digits[24];
    int n = 0;
    for (uint64_t v = value; v; v /= base)
        digits[n++] = digit[v % base];
    int zeros = (s->precision < 0 ? 1 : s->precision) - n;
    if (s->letter == 'o' && s->alternate && zeros <= 0 && (value || !s->precision))
        zeros = 1;
    if (zeros < 0)
        zeros = 0;
    int prefix_length = (int)strlen(prefix);
    int padding = s->width - prefix_length - zeros - n;
    if (padding > 0 && s->zero && !s->left && s->precision < 0) {
        zeros += padding;
        padding = 0;
    }
    if (!s->left)
        put_repeated(o, ' ', padding);
    put_text(o, prefix, prefix_length);
    put_repeated(o, '0', zeros);
    while (n)
        put(o, digits[--n]);
    if (s->left)
        put_repeated(o, ' ', padding);
}

static void put_string(struct output *o, const struct spec *s, const char *text, int length) {
    if (!s->left)
        put_repeated(o, ' ', s->width - length);
    put_text(o, text, length);
    if (s->left)
        put_repeated(o, ' ', s->width - length);
}

static void convert_signed(struct output *o, const struct spec *s, va_list *ap) {
    int64_t v = s->size == 1 ? va_arg(*ap, long) : va_arg(*ap, int);
    if (s->size == -1)
        v = (short)v;
    else if (s->size == -2)
        v = (signed char)v;
    const char *prefix = v < 0 ? "-" : s->plus ? "+" : s->space ? " " : "";
    put_number(o, s, v < 0 ? -(uint64_t)v : (uint64_t)v, prefix, 10);
}

static void convert_unsigned(struct output *o, const struct spec *s, va_list *ap, unsigned base) {
    uint64_t v = s->size == 1 ? va_arg(*ap, unsigned long) : va_arg(*ap, unsigned int);
    if (s->size == -1)
        v = (unsigned short)v;
    else if (s->size == -2)
        v = (unsigned char)v;
    const char *prefix = "";
    if (base == 16 && s->alternate && v)
        prefix = s->letter == 'X' ? "0X" : "0x";
    put_number(o, s, v, prefix, base);
}

static void convert(struct output *o, const struct spec *s, va_list *ap) {
    switch (s->letter) {
    case 'd':
    case 'i': convert_signed(o, s, ap); break;
    case 'u': convert_unsigned(o, s, ap, 10); break;
    case 'x':
    case 'X': convert_unsigned(o, s, ap, 16); break;
    case 'o': convert_unsigned(o, s, ap, 8); break;
    case 'p': put_number(o, s, (uintptr_t)va_arg(*ap, void *), "0x", 16); break;
    case 'c': {
        char c = (char)va_arg(*ap, int);
        put_string(o, s, &c, 1);
        break;
    }
    case 's': {
        const char *text = va_arg(*ap, const char *);
        if (!text)
            text = "(null)";
        size_t max = s->precision < 0 ? INT32_MAX : (size_t)s->precision;
        put_string(o, s, text, (int)strnlen(text, max));
        break;
    }
    case '%': put(o, '%'); break;
    default: // not a conversion of ours: show it, so that the mistake is seen
        put(o, '%');
        if (s->letter)
            put(o, s->letter);
    }
}

int vsnprintf(char *buf, size_t size, const char *fmt, va_list ap) {
    struct output o = {buf, size, 0};
    va_list args; // a copy whose address may be passed on
    va_copy(args, ap);
    while (*fmt) {
        if (*fmt != '%') {
            put(&o, *fmt++);
            continue;
        }
        struct spec s;
        fmt = parse_spec(fmt + 1, &s, &args);
        convert(&o, &s, &args);
    }
    va_end(args);
    if (size)
        buf[MIN(o.length, size - 1)] = '\0';
    return (int)o.length;
}

int snprintf(char *buf, size_t size, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(buf, size, fmt, ap);
    va_end(ap);
    return n;
}

int scnprintf(char *buf, size_t size, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(buf, size, fmt, ap);
    va_end(ap);
    if (!size)
        return 0;
    return (size_t)n < size ? n : (int)size - 1;
}
