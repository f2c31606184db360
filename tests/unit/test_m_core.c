/* sources: vmm/machine/bus.c vmm/machine/device.c vmm/machine/state.c vmm/machine/vtime.c vmm/machine/config.c vmm/machine/memory.c vmm/machine/sums.c vmm/machine/page_sum.c vmm/machine/page_sum_avx2.c vmm/machine/page_sum_avx512.c replay/checks.c tests/unit/machine_host.c */
// What devices are built on: bus, virtual time, states; and the configuration.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "machine_host.h"
#include "vmm/machine/config.h"

static struct machine *m;

static int setup(void **state) {
    m = host_create();
    return 0;
}

// ---- bus ---------------------------------------------------------------------------------------
static uint8_t memory[16];
static char seen[256]; // accesses as "r2@4 "

static uint64_t fake_read(void *o, uint64_t offset, unsigned width) {
    uint64_t value = 0;
    sprintf(seen + strlen(seen), "r%u@%lu ", width, offset);
    memcpy(&value, memory + offset, width);
    return value;
}

static void fake_write(void *o, uint64_t offset, unsigned width, uint64_t value) {
    sprintf(seen + strlen(seen), "w%u@%lu ", width, offset);
    memcpy(memory + offset, &value, width);
}

static struct bus_range range(uint64_t base, uint64_t size, unsigned width) {
    seen[0] = 0;
    for (unsigned i = 0; i < sizeof(memory); i++)
        memory[i] = 0x10 + i;
    return (struct bus_range){.space = BUS_PORT,
                              .base = base,
                              .size = size,
                              .name = "fake",
                              .max_width = width,
                              .read = fake_read,
                              .write = fake_write};
}

static void wide_accesses_are_split(void **state) {
    struct bus_range r = range(0x100, 8, 1);
    assert_int_equal(bus_add(m, &r), 0);
    assert_int_equal(bus_read(m, BUS_PORT, 0x102, 4), 0x15141312);
    assert_string_equal(seen, "r1@2 r1@3 r1@4 r1@5 ");
    bus_write(m, BUS_PORT, 0x100, 2, 0xbbaa);
    assert_int_equal(memory[1], 0xbb);
}

static void narrow_and_equal_ones_pass(void **state) {
    struct bus_range r = range(0x100, 8, 4);
    bus_add(m, &r);
    assert_int_equal(bus_read(m, BUS_PORT, 0x101, 1), 0x11);
    assert_int_equal(bus_read(m, BUS_PORT, 0x100, 8), 0x1716151413121110);
    assert_string_equal(seen, "r1@1 r4@0 r4@4 ");
}

static void edges_of_a_range_read_as_ones(void **state) {
    struct bus_range r = range(0x100, 2, 4);
    bus_add(m, &r);
    assert_int_equal(bus_read(m, BUS_PORT, 0xff, 4), 0xff1110ff);
    assert_int_equal(bus_read(m, BUS_PORT, 0x101, 4), 0xffffff11);
    bus_write(m, BUS_PORT, 0xff, 4, 0x44332211);
    assert_int_equal(memory[0], 0x22);
    assert_int_equal(memory[1], 0x33);
    assert_int_equal(bus_read(m, BUS_PORT, 0x300, 1), 0xff);
    assert_int_equal(bus_read(m, BUS_MEMORY, 0x100, 8), UINT64_MAX);
}

static void overlap_is_refused(void **state) {
    struct bus_range a = range(0x100, 8, 1), b = range(0x107, 8, 1), c = range(0xf0, 0x11, 1),
                     d = range(0x108, 8, 1);
    assert_int_equal(bus_add(m, &a), 0);
    assert_int_equal(bus_add(m, &b), -EEXIST);
    assert_non_null(strstr(host.log, "overlaps fake"));
    assert_int_equal(bus_add(m, &c), -EEXIST);
    assert_int_equal(bus_add(m, &d), 0);
}

static void ranges_move(void **state) {
    struct bus_range a = range(0x100, 8, 1), b = range(0x200, 8, 1);
    bus_add(m, &a);
    bus_add(m, &b);
    bus_move(m, &b, 0x104); // onto the other: the first registered, at the lower base, wins
    assert_int_equal(bus_read(m, BUS_PORT, 0x105, 1), 0x15);
    assert_int_equal(bus_read(m, BUS_PORT, 0x10b, 1), 0x17);
    assert_int_equal(bus_read(m, BUS_PORT, 0x200, 1), 0xff);
    bus_remove(m, &a);
    assert_int_equal(bus_read(m, BUS_PORT, 0x104, 1), 0x10);
}

// ---- virtual time ------------------------------------------------------------------------------
static char fired[32];
static struct vtimer timers[3];

static void fire(void *o) {
    strcat(fired, o);
}

static void fire_again(void *o) {
    strcat(fired, "x");
    if (strlen(fired) < 5)
        vtimer_arm(&timers[0], vtime_now(m));
}

static void timers_fire_in_order(void **state) {
    fired[0] = 0;
    vtimer_init(m, &timers[0], fire, "a");
    vtimer_init(m, &timers[1], fire, "b");
    vtimer_init(m, &timers[2], fire, "c");
    vtimer_arm(&timers[2], 10);
    vtimer_arm(&timers[1], 20);
    vtimer_arm(&timers[0], 20);
    assert_int_equal(vtime_next_deadline(m), 10);
    m->count = 100;
    vtime_fire(m);
    assert_string_equal(fired, "cab");
    assert_int_equal(vtime_next_deadline(m), UINT64_MAX);
    vtimer_arm(&timers[1], 200);
    vtimer_cancel(&timers[1]);
    m->anchor = 1000;
    vtime_fire(m);
    assert_string_equal(fired, "cab");
}

static void timers_may_arm_themselves(void **state) {
    fired[0] = 0;
    vtimer_init(m, &timers[0], fire_again, NULL);
    vtimer_arm(&timers[0], 0);
    vtime_fire(m);
    assert_string_equal(fired, "xxxxx");
}

static void conversions(void **state) {
    static const uint64_t frequencies[] = {1, 99995000, 1000000000, 2600000000, 5000000007};
    for (unsigned i = 0; i < sizeof(frequencies) / 8; i++) {
        m->hz = frequencies[i];
        for (uint64_t units = 0; units < 1ull << 40; units = units * 3 + 1) {
            uint64_t v = vtime_unscale(m, units, 1193182);
            assert_true(vtime_scale(m, v, 1193182) >= units);
            assert_true(!v || vtime_scale(m, v - 1, 1193182) < units);
        }
    }
    m->hz = 2600000000;
    assert_int_equal(vtime_to_ns(m, UINT64_MAX), 7094901566811366005u);
    assert_int_equal(vtime_from_ns(m, 1000000000), 2600000000);
    assert_int_equal(vtime_from_ns(m, UINT64_MAX), UINT64_MAX);
}

// ---- states ------------------------------------------------------------------------------------
struct thing {
    struct device device;
    uint32_t a;
    uint8_t b[3];
};

static void thing_reset(struct device *d) {
    ((struct thing *)d)->a = 0;
}

static void thing_state(struct device *d, struct state_visitor *v) {
    struct thing *t = (struct thing *)d;
    STATE(v, t, a);
    STATE(v, t, b);
}

static const struct device_ops thing_ops = {
    .name = "thing", .reset = thing_reset, .state = thing_state, .nondeterminism = "none: a test"};

static void states(void **state) {
    struct thing *t = calloc(2, sizeof(*t));
    device_register(m, &t[0].device, &thing_ops);
    device_register(m, &t[1].device, &thing_ops);
    assert_int_equal(t[1].device.instance, 1);
    t[0].a = 7;
    t[1].b[2] = 9;
    char text[128];
    size_t size;
    char *saved = state_save(m, &size);
    assert_true(state_compare(m, saved, size, text, sizeof(text)));
    t[1].b[2] = 8;
    assert_false(state_compare(m, saved, size, text, sizeof(text)));
    assert_string_equal(text, "thing1.b: byte 2 of 3 is 0x08, was 0x09");
    t[0].a = 0;
    assert_int_equal(state_load(m, saved, size, text, sizeof(text)), 0);
    assert_int_equal(t[0].a, 7);
    for (size_t n = 0; n < size; n++) // cut anywhere
        assert_int_equal(state_load(m, saved, n, text, sizeof(text)), -EINVAL);
    saved[1] = 'X';
    assert_int_equal(state_load(m, saved, size, text, sizeof(text)), -EINVAL);
    assert_non_null(strstr(text, "thing0.a"));
    free(saved);
    m->devices = NULL;
    free(t);
}

// ---- memory ------------------------------------------------------------------------------------
static void guest_memory_bounds(void **state) {
    uint8_t *ram = m->ram;
    m->low_size = 0xc0000000;
    m->ram_size = 0x100000000;
    assert_ptr_equal(guest_memory(m, 0, 0xa0000), ram);
    assert_null(guest_memory(m, 0x9ffff, 2));
    assert_null(guest_memory(m, 0xa0000, 1));
    assert_ptr_equal(guest_memory(m, 0xb8000, 1), ram + 0xb8000);
    assert_null(guest_memory(m, 0x1000, UINT64_MAX));
    assert_null(guest_memory(m, 0xbfffffff, 2));
    assert_null(guest_memory(m, 0xfee00000, 4));
    assert_ptr_equal(guest_memory(m, 0x100000000, 0x40000000), ram + 0xc0000000);
    assert_null(guest_memory(m, 0x100000000, 0x40000001));
    assert_null(guest_memory(m, UINT64_MAX, 1));
    m->low_size = m->ram_size = HOST_RAM;
}

// A device without a part of its description ends vmx with a sentence that names the part.
static void incomplete(struct device_ops ops, const char *sentence) {
    static struct thing t;
    char said[256] = "";
    int pipe_ends[2];
    assert_int_equal(pipe(pipe_ends), 0);
    pid_t child = fork();
    if (!child) {
        dup2(pipe_ends[1], STDERR_FILENO);
        device_register(m, &t.device, &ops);
        _exit(0);
    }
    close(pipe_ends[1]);
    assert_true(read(pipe_ends[0], said, sizeof(said) - 1) > 0);
    close(pipe_ends[0]);
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 70);
    assert_non_null(strstr(said, sentence));
}

static void incomplete_devices(void **state) {
    struct device_ops ops = thing_ops;
    ops.reset = NULL;
    incomplete(ops, "device 'thing' cannot be registered: it has no reset");
    ops = thing_ops;
    ops.state = NULL;
    incomplete(ops, "it has no description of its state");
    ops = thing_ops;
    ops.nondeterminism = NULL;
    incomplete(ops, "it has no statement of what in it is not deterministic");
    ops = thing_ops;
    ops.name = NULL;
    incomplete(ops, "it has no name");
}

// ---- configuration -----------------------------------------------------------------------------
static struct config config;
static char error[256];

static int parse(const char *text) {
    config_free(&config);
    config_init(&config);
    return config_parse(&config, "vm.conf", text, strlen(text), error, sizeof(error));
}

static void good_configuration(void **state) {
    assert_int_equal(
        parse("# a comment\n\nname = test\n  memory=1G  \ncpus = 2\nkernel = /a b\n"
              "initrd = x\ninitrd-append = a=b c\ninitrd = y\nappend = console=ttyS0 a=b\n"
              "disk = d.img,if=ide,ro\ndisk = e,overlay=f\nserial = null\nserial = pty\nacpi = no"),
        0);
    assert_string_equal(config.name, "test");
    assert_int_equal(config.memory, 1 << 30);
    assert_int_equal(config.cpus, 2);
    assert_string_equal(config.kernel, "/a b");
    assert_int_equal(config.initrd_count, 2);
    assert_string_equal(config.initrd_append[0], "a=b c");
    assert_null(config.initrd_append[1]);
    assert_string_equal(config.append, "console=ttyS0 a=b");
    assert_int_equal(config.disks[0].interface, DISK_IDE);
    assert_true(config.disks[0].read_only);
    assert_string_equal(config.disks[1].overlay, "f");
    assert_string_equal(config.serial[1], "pty");
    assert_false(config.acpi);
    assert_int_equal(config_check(&config, error, sizeof(error)), 0);
    config_free(&config);
}

static void bad_configurations(void **state) {
    static const char *const bad[][2] = {
        {"name = a\nnonsense", "vm.conf:2: must be 'key = value': 'nonsense'"},
        {"nam = a", "vm.conf:1: nam: there is no such key: 'nam'"},
        {"cpus = 0", "vm.conf:1: cpus: must be a number from 1 to 16: '0'"},
        {"cpus = 2x", "vm.conf:1: cpus: must be a number from 1 to 16: '2x'"},
        {"memory = 1T", "vm.conf:1: memory: must be a number with K, M or G: '1T'"},
        {"memory = 1", "vm.conf:1: memory: memory must be from 2 MB to 1 TB: '1'"},
        {"memory = 99999999999G",
         "vm.conf:1: memory: memory must be from 2 MB to 1 TB: '99999999999G'"},
        {"acpi = maybe", "vm.conf:1: acpi: must be yes or no: 'maybe'"},
        {"serial = tty", "vm.conf:1: serial: must be stdio, null, pty or file:PATH: 'tty'"},
        {"display = x", "vm.conf:1: display: must be stdio, null, pty or file:PATH: 'x'"},
        {"initrd-append = x",
         "vm.conf:1: initrd-append: must come after the initrd that it belongs to: 'x'"},
        {"kernel =", "vm.conf:1: kernel: has no value: 'kernel'"},
        {"# all is well\n\ndebug = port",
         "vm.conf:3: debug: must be stdio, null, pty or file:PATH: 'port'"},
        {"console = tty", "vm.conf:1: console: must be stdio, null, pty or file:PATH: 'tty'"},
        {"clock = wall", "vm.conf:1: clock: must be auto, none or host: 'wall'"},
        {"silence = 0", "vm.conf:1: silence: must be a number of seconds: '0'"},
        {"seed = x", "vm.conf:1: seed: must be a number below 2^64: 'x'"},
        {"chaos = 18446744073709551616", // not cut to what fits
         "vm.conf:1: chaos: must be a number below 2^64: '18446744073709551616'"},
        {"until = event:99999999999999999999",
         "vm.conf:1: until: must be a count or event:N: 'event:99999999999999999999'"},
        {"sum-interval = 99999999999999999999",
         "vm.conf:1: sum-interval: must be a number of ticks, below 2^64: '99999999999999999999'"},
        {"chaos = 1x", "vm.conf:1: chaos: must be a number below 2^64: '1x'"},
        {"sums = byte", "vm.conf:1: sums: must be page or region: 'byte'"},
        {"sum-interval = -1",
         "vm.conf:1: sum-interval: must be a number of ticks, below 2^64: '-1'"},
        {"until = event:", "vm.conf:1: until: must be a count or event:N: 'event:'"},
    };
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(parse(bad[i][0]), -EINVAL);
        assert_string_equal(error, bad[i][1]);
    }
    assert_int_equal(config_parse(&config, "vm.conf", "cpus = 1\0", 9, error, sizeof(error)),
                     -EINVAL);
    assert_non_null(strstr(error, "zero byte"));
    assert_int_equal(parse("disk = a,if=floppy"), -EINVAL);
    assert_non_null(strstr(error, "if=floppy"));
    parse("memory = 4M");
    assert_int_equal(config_check(&config, error, sizeof(error)), -EINVAL); // no kernel
    parse("kernel = k\npci = no\ndisk = a");
    assert_int_equal(config_check(&config, error, sizeof(error)), -EINVAL);
    parse("kernel = k\ndisk = a,ro,private");
    assert_int_equal(config_check(&config, error, sizeof(error)), -EINVAL);
    parse("kernel = k\ndisplay = stdio\nserial = stdio");
    assert_int_equal(config_check(&config, error, sizeof(error)), -EINVAL);
    parse("kernel = k\ndisplay = stdio");
    assert_int_equal(config_check(&config, error, sizeof(error)), 0);
    assert_string_equal(config.serial[0], "null");
    config_free(&config);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(wide_accesses_are_split, setup),
        cmocka_unit_test_setup(narrow_and_equal_ones_pass, setup),
        cmocka_unit_test_setup(edges_of_a_range_read_as_ones, setup),
        cmocka_unit_test_setup(overlap_is_refused, setup),
        cmocka_unit_test_setup(ranges_move, setup),
        cmocka_unit_test_setup(timers_fire_in_order, setup),
        cmocka_unit_test_setup(timers_may_arm_themselves, setup),
        cmocka_unit_test_setup(conversions, setup),
        cmocka_unit_test_setup(states, setup),
        cmocka_unit_test_setup(incomplete_devices, setup),
        cmocka_unit_test_setup(guest_memory_bounds, setup),
        cmocka_unit_test(good_configuration),
        cmocka_unit_test(bad_configurations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
