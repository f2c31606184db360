// SGR: colours and other renditions (CSI ... m).
#include "drivers/vt.h"

// The nearest of the eight colours, and whether the bright one, for 8-bit red, green and blue.
static uint8_t nearest(unsigned r, unsigned g, unsigned b, bool *bright) {
    unsigned max = MAX(r, g), min = MIN(r, g);
    max = MAX(max, b);
    min = MIN(min, b);
    *bright = max > 200;
    if (max < 48)
        return 0;
    if (max < 112 && max - min < 24) { // dark grey is bright black
        *bright = true;
        return 0;
    }
    unsigned half = max / 2;
    return (r > half ? 1 : 0) | (g > half ? 2 : 0) | (b > half ? 4 : 0);
}

// A colour of the 256-colour palette.
static uint8_t from_palette(unsigned n, bool *bright) {
    static const uint8_t level[6] = {0, 95, 135, 175, 215, 255};
    if (n < 16) {
        *bright = n >= 8;
        return n & 7;
    }
    if (n < 232) {
        n -= 16;
        return nearest(level[n / 36], level[n / 6 % 6], level[n % 6], bright);
    }
    unsigned grey = 8 + (MIN(n, 255u) - 232) * 10;
    return nearest(grey, grey, grey, bright);
}

// 38;5;N 38;2;R;G;B and the same with 48, at p[0]. Returns how many parameters belong to it.
static unsigned extended(struct vt_attributes *a, const unsigned *p, unsigned count) {
    bool bright;
    uint8_t colour;
    unsigned taken;
    if (count >= 3 && p[1] == 5) {
        colour = from_palette(p[2], &bright);
        taken = 3;
    } else if (count >= 5 && p[1] == 2) {
        colour = nearest(p[2], p[3], p[4], &bright);
        taken = 5;
    } else {
        return count;
    }
    if (p[0] == 38) {
        a->fg = colour;
        a->bold = bright;
    } else {
        a->bg = colour;
    }
    return taken;
}

static void set_colour(struct vt_attributes *a, unsigned p) {
    if (p >= 30 && p <= 37)
        a->fg = p - 30;
    else if (p >= 40 && p <= 47)
        a->bg = p - 40;
    else if (p >= 100 && p <= 107)
        a->bg = p - 100;
    if (p >= 90 && p <= 97) {
        a->fg = p - 90;
        a->bold = true;
    }
}

static void set_one(struct vt *v, unsigned p) {
    struct vt_attributes *a = &v->cursor.attr;
    switch (p) {
    case 0: *a = (struct vt_attributes){.fg = 7}; break;
    case 1:
        a->bold = true;
        a->dim = false;
        break;
    case 2:
        a->dim = true;
        a->bold = false;
        break;
    case 3: a->italic = true; break;
    case 4:
    case 21: a->underline = true; break;
    case 5: a->blink = true; break;
    case 7: a->reverse = true; break;
    case 10: v->raw_glyphs = false; break;
    case 11:
    case 12: v->raw_glyphs = true; break;
    case 22: a->bold = a->dim = false; break;
    case 23: a->italic = false; break;
    case 24: a->underline = false; break;
    case 25: a->blink = false; break;
    case 27: a->reverse = false; break;
    case 39:
        a->fg = 7;
        a->underline = false;
        break;
    case 49: a->bg = 0; break;
    default: set_colour(a, p);
    }
}

void vt_sgr(struct vt *v, const unsigned *p, unsigned count) {
    for (unsigned i = 0; i < count;) {
        if (p[i] == 38 || p[i] == 48)
            i += extended(&v->cursor.attr, p + i, count - i);
        else
            set_one(v, p[i++]);
    }
}
