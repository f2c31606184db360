#include "vmm/machine/vga.h"
#include <stdlib.h>
#include <string.h>
#include "vmm/machine/machine.h"

#define PORTS      0x3c0
#define PORT_COUNT 0x20
#define MONO_CRTC \
    0x3b4 // the same registers, when the miscellaneous output register says monochrome
#define TEXT_SIZE 0x8000u

// Ports, less PORTS.
enum {
    P_ATTRIBUTE = 0x00, // index and data in turn; read: index
    P_ATTRIBUTE_READ = 0x01,
    P_MISC_WRITE = 0x02, // read: input status 0
    P_SEQUENCER = 0x04,
    P_DAC_MASK = 0x06,
    P_DAC_READ = 0x07, // read: state
    P_DAC_WRITE = 0x08,
    P_DAC_DATA = 0x09,
    P_FEATURE_READ = 0x0a,
    P_MISC_READ = 0x0c,
    P_GRAPHICS = 0x0e,
    P_CRTC = 0x14,
    P_STATUS = 0x1a, // input status 1; written: feature control
};
enum {
    CRTC_CURSOR_START = 0x0a,
    CRTC_CURSOR_END,
    CRTC_START_HIGH,
    CRTC_START_LOW,
    CRTC_CURSOR_HIGH,
    CRTC_CURSOR_LOW
};
enum { CRTC_RETRACE_END = 0x11, CRTC_OFFSET = 0x13 };
enum {
    STATUS_RETRACE = 8,
    STATUS_DISABLED = 1,
    CURSOR_OFF = 0x20,
    CRTC_PROTECT = 0x80,
    MISC_COLOR = 1
};

// A frame of 80x25 text: 31.5 kHz lines, 449 of them, of which 400 show something.
#define LINE_RATE     31469u
#define FRAME_LINES   449u
#define VISIBLE_LINES 400u
#define RETRACE_START 412u
#define RETRACE_LINES 2u

#define SEQUENCER_COUNT 5
#define GRAPHICS_COUNT  9
#define ATTRIBUTE_COUNT 21
#define CRTC_COUNT      25

struct vga {
    struct device device;
    struct bus_range ports, mono;
    uint8_t misc, feature;
    uint8_t sequencer_index, sequencer[SEQUENCER_COUNT];
    uint8_t graphics_index, graphics[GRAPHICS_COUNT];
    uint8_t crtc_index, crtc[CRTC_COUNT];
    uint8_t attribute_index, attribute[ATTRIBUTE_COUNT];
    bool attribute_data; // the next write to 3C0h is data
    uint8_t dac_mask, dac_state;
    uint8_t dac_read, dac_write; // colour
    uint8_t dac_part;            // red, green, blue
    uint8_t dac[256][3];
};

// ---- registers after a BIOS has set mode 3 -----------------------------------------------------
static const uint8_t mode3_sequencer[SEQUENCER_COUNT] = {0x03, 0x00, 0x03, 0x00, 0x02};
static const uint8_t mode3_crtc[CRTC_COUNT] = {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00,
                                               0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e,
                                               0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff};
static const uint8_t mode3_graphics[GRAPHICS_COUNT] = {0x00, 0x00, 0x00, 0x00, 0x00,
                                                       0x10, 0x0e, 0x00, 0xff};
static const uint8_t mode3_attribute[ATTRIBUTE_COUNT] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14,
                                                         0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d,
                                                         0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00};
#define MODE3_MISC 0x67

// The 64 colours of the EGA, which mode 3 begins with: bits rgbRGB.
static void default_palette(struct vga *v) {
    memset(v->dac, 0, sizeof(v->dac));
    for (unsigned i = 0; i < 64; i++)
        for (unsigned part = 0; part < 3; part++)
            v->dac[i][part] = (uint8_t)((i & 4u >> part ? 42 : 0) + (i & 0x20u >> part ? 21 : 0));
}

static void reset(struct device *d) {
    struct vga *v = (struct vga *)d;
    memcpy(v->sequencer, mode3_sequencer, sizeof(v->sequencer));
    memcpy(v->crtc, mode3_crtc, sizeof(v->crtc));
    memcpy(v->graphics, mode3_graphics, sizeof(v->graphics));
    memcpy(v->attribute, mode3_attribute, sizeof(v->attribute));
    v->misc = MODE3_MISC;
    v->feature = 0;
    v->sequencer_index = v->graphics_index = v->crtc_index = 0;
    v->attribute_index = 0x20; // the display is on
    v->attribute_data = false;
    v->dac_mask = 0xff;
    v->dac_state = v->dac_read = v->dac_write = v->dac_part = 0;
    default_palette(v);
}

// ---- reading -----------------------------------------------------------------------------------
static uint8_t indexed(const uint8_t *registers, unsigned count, unsigned index) {
    return index < count ? registers[index] : 0;
}

// Retrace runs in virtual time, so that programs that wait for it go on.
static uint8_t input_status(struct vga *v) {
    const struct machine *m = v->device.machine;
    v->attribute_data = false; // reading it makes the next write to 3C0h an index
    uint64_t line = vtime_scale(m, vtime_now(m), LINE_RATE) % FRAME_LINES;
    if (line >= RETRACE_START && line < RETRACE_START + RETRACE_LINES)
        return STATUS_RETRACE | STATUS_DISABLED;
    return line >= VISIBLE_LINES ? STATUS_DISABLED : 0;
}

static uint8_t read_dac(struct vga *v) {
    uint8_t value = v->dac[v->dac_read][v->dac_part];
    if (++v->dac_part == 3) {
        v->dac_part = 0;
        v->dac_read++;
    }
    return value;
}

static uint64_t vga_read(void *opaque, uint64_t offset, unsigned width) {
    (void)width;
    struct vga *v = opaque;
    switch (offset) {
    case P_ATTRIBUTE: return v->attribute_index;
    case P_ATTRIBUTE_READ: return indexed(v->attribute, ATTRIBUTE_COUNT, v->attribute_index & 0x1f);
    case P_MISC_WRITE: return 0x10; // a monitor is there
    case P_SEQUENCER: return v->sequencer_index;
    case P_SEQUENCER + 1: return indexed(v->sequencer, SEQUENCER_COUNT, v->sequencer_index);
    case P_DAC_MASK: return v->dac_mask;
    case P_DAC_READ: return v->dac_state;
    case P_DAC_WRITE: return v->dac_write;
    case P_DAC_DATA: return read_dac(v);
    case P_FEATURE_READ: return v->feature;
    case P_MISC_READ: return v->misc;
    case P_GRAPHICS: return v->graphics_index;
    case P_GRAPHICS + 1: return indexed(v->graphics, GRAPHICS_COUNT, v->graphics_index);
    case P_CRTC: return v->crtc_index;
    case P_CRTC + 1: return indexed(v->crtc, CRTC_COUNT, v->crtc_index);
    case P_STATUS: return input_status(v);
    default: return 0xff;
    }
}

// ---- writing -----------------------------------------------------------------------------------
static void write_attribute(struct vga *v, uint8_t value) {
    if (!v->attribute_data)
        v->attribute_index = value & 0x3f;
    else if ((v->attribute_index & 0x1f) < ATTRIBUTE_COUNT)
        v->attribute[v->attribute_index & 0x1f] = value;
    v->attribute_data = !v->attribute_data;
}

static void write_crtc(struct vga *v, uint8_t value) {
    unsigned i = v->crtc_index;
    if (i >= CRTC_COUNT)
        return;
    if (i < 8 &&
        (v->crtc[CRTC_RETRACE_END] & CRTC_PROTECT)) { // only the line compare bit may change
        if (i == 7)
            v->crtc[7] = (v->crtc[7] & ~0x10) | (value & 0x10);
        return;
    }
    v->crtc[i] = value;
}

static void write_dac(struct vga *v, uint8_t value) {
    v->dac[v->dac_write][v->dac_part] = value & 0x3f;
    if (++v->dac_part == 3) {
        v->dac_part = 0;
        v->dac_write++;
    }
}

static void set_dac_index(struct vga *v, bool read, uint8_t value) {
    v->dac_state = read ? 3 : 0;
    v->dac_part = 0;
    *(read ? &v->dac_read : &v->dac_write) = value;
}

static void vga_write(void *opaque, uint64_t offset, unsigned width, uint64_t wide) {
    (void)width;
    struct vga *v = opaque;
    uint8_t value = (uint8_t)wide;
    switch (offset) {
    case P_ATTRIBUTE: write_attribute(v, value); break;
    case P_MISC_WRITE: v->misc = value; break;
    case P_SEQUENCER: v->sequencer_index = value; break;
    case P_SEQUENCER + 1:
        if (v->sequencer_index < SEQUENCER_COUNT)
            v->sequencer[v->sequencer_index] = value;
        break;
    case P_DAC_MASK: v->dac_mask = value; break;
    case P_DAC_READ: set_dac_index(v, true, value); break;
    case P_DAC_WRITE: set_dac_index(v, false, value); break;
    case P_DAC_DATA: write_dac(v, value); break;
    case P_GRAPHICS: v->graphics_index = value; break;
    case P_GRAPHICS + 1:
        if (v->graphics_index < GRAPHICS_COUNT)
            v->graphics[v->graphics_index] = value;
        break;
    case P_CRTC: v->crtc_index = value; break;
    case P_CRTC + 1: write_crtc(v, value); break;
    case P_STATUS: v->feature = value; break;
    default: break;
    }
}

// 3B4h, 3B5h and 3BAh: only while a monochrome display is selected.
static uint64_t mono_read(void *opaque, uint64_t offset, unsigned width) {
    struct vga *v = opaque;
    return v->misc & MISC_COLOR ? 0xff : vga_read(v, P_CRTC + offset, width);
}

static void mono_write(void *opaque, uint64_t offset, unsigned width, uint64_t value) {
    struct vga *v = opaque;
    if (!(v->misc & MISC_COLOR))
        vga_write(v, P_CRTC + offset, width, value);
}

// ---- the screen --------------------------------------------------------------------------------
void vga_render(const struct vga *v, struct vga_screen *s) {
    const uint8_t *text = v->device.machine->ram + VGA_TEXT;
    unsigned start = v->crtc[CRTC_START_HIGH] << 8 | v->crtc[CRTC_START_LOW];
    unsigned pitch = v->crtc[CRTC_OFFSET] * 2u;
    unsigned cursor = (unsigned)(v->crtc[CRTC_CURSOR_HIGH] << 8 | v->crtc[CRTC_CURSOR_LOW]) - start;
    for (unsigned y = 0; y < VGA_ROWS; y++)
        for (unsigned x = 0; x < VGA_COLUMNS; x++)
            memcpy(&s->cell[y][x], text + (start + y * pitch + x) * 2 % TEXT_SIZE, 2);
    s->cursor_row = pitch ? cursor / pitch : VGA_ROWS;
    s->cursor_column = pitch ? cursor % pitch : 0;
    s->cursor = !(v->crtc[CRTC_CURSOR_START] & CURSOR_OFF) && s->cursor_row < VGA_ROWS &&
                s->cursor_column < VGA_COLUMNS;
}

// ---- device ------------------------------------------------------------------------------------
static void state(struct device *d, struct state_visitor *visitor) {
    struct vga *v = (struct vga *)d;
    STATE(visitor, v, misc);
    STATE(visitor, v, feature);
    STATE(visitor, v, sequencer_index);
    STATE(visitor, v, sequencer);
    STATE(visitor, v, graphics_index);
    STATE(visitor, v, graphics);
    STATE(visitor, v, crtc_index);
    STATE(visitor, v, crtc);
    STATE(visitor, v, attribute_index);
    STATE(visitor, v, attribute);
    STATE(visitor, v, attribute_data);
    STATE(visitor, v, dac_mask);
    STATE(visitor, v, dac_state);
    STATE(visitor, v, dac_read);
    STATE(visitor, v, dac_write);
    STATE(visitor, v, dac_part);
    STATE(visitor, v, dac);
}

static void loaded(struct device *d) {
    struct vga *v = (struct vga *)d;
    v->dac_part %= 3;
}

static const struct device_ops ops = {
    .name = "vga",
    .reset = reset,
    .state = state,
    .loaded = loaded,
    .nondeterminism = "none: registers that only the guest changes; retrace runs in virtual time",
};

void vga_create(struct machine *m) {
    struct vga *v = calloc(1, sizeof(*v));
    m->vga = v;
    device_register(m, &v->device, &ops);
    v->ports = (struct bus_range){
        .space = BUS_PORT,
        .base = PORTS,
        .size = PORT_COUNT,
        .name = "vga",
        .read = vga_read,
        .write = vga_write,
        .opaque = v,
    };
    v->mono = (struct bus_range){
        .space = BUS_PORT,
        .base = MONO_CRTC,
        .size = P_STATUS - P_CRTC + 1,
        .name = "vga monochrome",
        .read = mono_read,
        .write = mono_write,
        .opaque = v,
    };
    bus_add(m, &v->ports);
    bus_add(m, &v->mono);
}
