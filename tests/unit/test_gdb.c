/* sources: replay/gdb/packet.c replay/gdb/scan.c replay/gdb/debugger.c replay/gdb/resume.c replay/gdb/inspect.c */
/* sources: replay/gdb/points.c replay/gdb/threads.c replay/gdb/query.c replay/gdb/registers.c replay/gdb/description.c */
/* sources: replay/gdb/monitor.c replay/gdb/monitor_travel.c replay/gdb/monitor_show.c */
/* sources: tests/unit/timeline_fake.c tests/unit/gdb_client.c */
// The debugger's commands, a client's bytes in and its packets out, over a machine of a few lines.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "replay/gdb/registers.h"
#include "tests/unit/gdb_client.h"
#include "tests/unit/timeline_fake.h"

static struct gdb_client client;
static struct debugger *debugger;
static enum debugger_end end;

static int start(void **state) {
    fake_reset(TARGET_REPLAYING);
    gdb_client_init(&client);
    debugger = debugger_create(NULL, GDB_ARCH_X86_64);
    return 0;
}
static int stop(void **state) {
    debugger_free(debugger);
    return 0;
}

// Asked for attention while the guest runs.
static bool attention(void *opaque) {
    return debugger_attention(opaque);
}
static bool (*watcher)(void *opaque) = attention;

// Stop replies without the registers that come along, which stops_bring_registers() looks at.
static bool with_registers;
static void take_out_registers(char *got) {
    for (char *at = got; (at = strstr(at, "06:")) != NULL;) {
        char *end = at + strcspn(at, "\n");
        if (end - at == 3 * (3 + 16 + 1))
            memmove(at, end, strlen(end) + 1);
        else
            at++;
    }
}

// Serves what was sent; then the client is as new.
static const char *serve(void) {
    static char got[sizeof(client.got)];
    const struct debugger_channel channel = gdb_client_channel(&client);
    const struct remote_attention a = {.fd = -1, .readable = watcher, .opaque = debugger};
    timeline_set_attention(NULL, &a);
    end = debugger_serve(debugger, &channel);
    memcpy(got, client.got, sizeof(got));
    if (!with_registers)
        take_out_registers(got);
    gdb_client_init(&client);
    return got;
}

// One session: each packet and its answer. Acknowledgments are switched off first.
struct talk {
    const char *packet, *answer;
};
static void check_talk(const struct talk *talk, unsigned n) {
    char wanted[16384] = "+OK\n";
    gdb_client_send(&client, "QStartNoAckMode");
    for (unsigned i = 0; i < n; i++) {
        gdb_client_send(&client, talk[i].packet);
        size_t used = strlen(wanted);
        snprintf(wanted + used, sizeof(wanted) - used, "%s\n", talk[i].answer);
    }
    assert_string_equal(serve(), wanted);
}
#define TALK(...)                                         \
    do {                                                  \
        static const struct talk talk[] = {__VA_ARGS__};  \
        check_talk(talk, sizeof(talk) / sizeof(talk[0])); \
    } while (0)

// ---- framing in a session ------------------------------------------------------------------------------

static void broken_packets(void **state) {
    gdb_client_send_bytes(&client, "$qC#00", 6); // refused
    gdb_client_send(&client, "qC");
    gdb_client_send_bytes(&client, "-", 1); // wants it again
    gdb_client_send(&client, "QStartNoAckMode");
    gdb_client_send_bytes(&client, "$qC#00", 6); // cannot be refused any more
    assert_string_equal(serve(),
                        "-+QC1\nQC1\n+OK\nE.the packet was broken, or is longer than PacketSize\n");
    assert_int_equal(end, DEBUGGER_GONE);
}

// On a serial line a client may vanish without a word; the next one says hello.
static void second_hello(void **state) {
    gdb_client_send(&client, "QStartNoAckMode");
    gdb_client_send(&client, "Z0,1010,1");
    gdb_client_send(&client, "qSupported:swbreak+");
    gdb_client_send(&client, "bc");
    const char *got = serve();
    assert_non_null(strstr(got, "+OK\nOK\n+PacketSize=4000;"));
    assert_non_null(strstr(got, "\n+T05thread:1;replaylog:begin;\n")); // no breakpoint
}

static void abilities(void **state) {
    gdb_client_send(&client, "qSupported:multiprocess+;xmlRegisters=i386");
    assert_non_null(strstr(serve(), ";ReverseStep+;ReverseContinue+\n"));
    fake_reset(TARGET_LIVE);
    gdb_client_send(&client, "qSupported");
    assert_null(strstr(serve(), "Reverse"));
}

static void unknown_packets(void **state) {
    TALK({"vMustReplyEmpty", ""}, {"vFile:setfs:0", ""}, {"qTStatus", ""}, {"QNonStop:1", ""},
         {"qCRC:1,2", ""}, {"!", ""}, {"", ""}, {"vCont?", "vCont;c;C;s;S;t;r"}, {"qAttached", "1"},
         {"qAttached:1", "1"}, {"qOffsets", "Text=0;Data=0;Bss=0"});
}

// ---- registers and memory --------------------------------------------------------------------------------
static void one_register(void **state) {
    TALK({"p10", "e810000000000000"}, {"p1", "e803000000000000"}, {"p11", "00000000"},
         {"pffff", "E.there is no such register"}, {"p", "E.there is no such register"},
         {"Hg2", "OK"}, {"p10", "0020000000000000"}, {"Hg3", "E.there is no such vCPU"},
         {"Hg0", "OK"}, {"p10", "0020000000000000"});
}

// gdb compares the program counter with breakpoints, which are linear addresses.
static void program_counter_of_segments(void **state) {
    fake_reset(TARGET_LIVE);
    fake.registers.mode = TARGET_MODE_16;
    fake.registers.segments[TARGET_CS].base = 0x70000;
    TALK({"p10", "e810070000000000"}, {"P10=0020070000000000", "OK"}, {"p10", "0020070000000000"},
         {"vCont;r710e0,710f0:1", "T05thread:1;"}, {"p10", "f010070000000000"});
    assert_int_equal(fake.now.rip, 0x10f0);
}

static void all_registers(void **state) {
    size_t digits = 0;
    for (unsigned i = 0; i < registers_count(GDB_ARCH_X86_64); i++)
        digits += 2 * registers_size(GDB_ARCH_X86_64, i);
    gdb_client_send(&client, "g");
    assert_int_equal(strlen(serve()), 1 + digits + 1); // "+", newline
}

static void the_past_is_fixed(void **state) {
#define PAST "E.the past cannot be changed: monitor go-live first"
    TALK({"P1=0100000000000000", PAST}, {"M8000,1:ff", PAST}, {"X8000,1:x", PAST},
         {"X8000,0:", "OK"}, {"c1000", PAST}, {"P1=01", "E.a value was expected"},
         {"P1", "E.a value was expected"});
}

static void a_live_vm_is_changed(void **state) {
    fake_reset(TARGET_LIVE);
    TALK({"P0=2a00000000000000", "OK"}, {"p0", "2a00000000000000"}, {"M8010,2:abcd", "OK"},
         {"m8010,3", "abcd12"}, {"X8010,1:z", "OK"}, {"m8010,1", "7a"},
         {"P10=0020000000000000", "OK"}, {"p10", "0020000000000000"},
         {"M500,1:00", "E.there is no memory at the address"},
         {"M8010,2:ab", "E.the packet holds more or fewer bytes than it says"});
}

static void whole_register_sets_are_written(void **state) {
    fake_reset(TARGET_LIVE);
    fake.registers.ftw = 0x80; // x87: one register is used, ST(0) with TOP 7
    fake.registers.fsw = 7 << 11;
    fake.registers.st[0][7] = 0x80;
    fake.registers.st[0][8] = 0xff;
    fake.registers.st[0][9] = 0x3f;
    gdb_client_send(&client, "g");
    char packet[8192];
    snprintf(packet, sizeof(packet), "G%s", serve() + 1);
    packet[strcspn(packet, "\n")] = 0;
    packet[1] = 'f'; // RAX
    struct target_registers before = fake.registers;
    before.rip = fake.now.rip;
    before.general[3] = fake.now.count;
    before.general[0] = 0xf0;
    gdb_client_send(&client, packet);
    assert_string_equal(serve(), "+OK\n");
    assert_memory_equal(&fake.registers, &before,
                        sizeof(before)); // all others come back as they were
    packet[strlen(packet) - 1] = 0;
    gdb_client_send(&client, packet);
    assert_string_equal(serve(), "+E.these are not all registers\n");
}

static void x87_tags(void **state) {
    // ST(0) = 1.0 (valid), ST(1) = 0, ST(2) = infinity, the rest empty; TOP = 5.
    fake.registers.fsw = 5 << 11;
    fake.registers.ftw = 0xe0;
    memcpy(fake.registers.st[0], "\0\0\0\0\0\0\0\x80\xff\x3f", 10);
    memcpy(fake.registers.st[2], "\0\0\0\0\0\0\0\x80\xff\x7f", 10);
    TALK({"p22", "ff930000"}); // ftag: physical 5 valid (0), 6 zero (1), 7 special (2)
}

static void memory(void **state) {
    TALK({"m8000,8", "3e00000000000000"}, {"m8fff,10", "ff"}, {"m500,4", "E0e"}, {"m8000,0", ""},
         {"m8000", "E.address and length were expected"}, {"mffffffffffffffff,ffffffff", "E0e"},
         {"m,", "E.address and length were expected"});
}

static void search(void **state) {
    TALK({"qSearch:memory:8100;100;\x10\x11", "1,8110"}, {"qSearch:memory:8100;100;\x11\x10", "0"},
         {"qSearch:memory:8f00;1000;\x11\x10", "E0e"}, {"qSearch:memory:8100;1;\x10\x11", "0"},
         {"qSearch:memory:8100;100;", "E16"}, {"qSearch:memory:500;100;a", "E0e"});
}

// ---- running -----------------------------------------------------------------------------------------------
static void steps(void **state) {
    TALK({"?", "T05thread:1;"}, {"s", "T05thread:1;"}, {"vCont;s:1;c", "T05thread:1;"},
         {"p10", "ea10000000000000"}, {"bs", "T05thread:1;"}, {"p10", "e910000000000000"},
         {"vCont;c;s:2", "T05thread:2;"}, {"Hc1", "OK"}, {"S05", "T05thread:1;"},
         {"vCont;S05:1", "T05thread:1;"}, {"vCont;t", "T05thread:1;"});
    assert_int_equal(fake.now.count, 1000 + 5 - 1);
}

static void stops_bring_registers(void **state) {
    fake.registers.general[4] = 0x7ff0;
    fake.registers.general[5] = 0x8000;
    with_registers = true;
    TALK({"s", "T05thread:1;06:0080000000000000;07:f07f000000000000;10:e910000000000000;"});
    with_registers = false;
}

static void steps_and_interrupts(void **state) {
    TALK({"s", "T05thread:1;"});
    assert_false(fake.stepped_over_interrupts); // a replay's step is what was executed
    TALK({"vCont;r10e0,10f0:1", "T05thread:1;"});
    assert_true(fake.stepped_over_interrupts); // through a line
    TALK({"qRcmd,696e74657272757074732073746570"
          "2d6f766572206f6666",
          "OK"}, // interrupts step-over off
         {"vCont;r1000,1002:1", "T05thread:1;"});
    assert_false(fake.stepped_over_interrupts);
    // The client says that its steps are by line; for the next client that is forgotten.
    TALK({"qRcmd,7374657073206c696e6573", "OK"}, {"s", "T05thread:1;"}); // steps lines
    assert_true(fake.stepped_over_interrupts);
    TALK({"bs", "T05thread:1;"});
    assert_false(fake.stepped_over_interrupts);
    TALK({"qRcmd,7374657073206c696e6573", "OK"}, {"bs", "T05thread:1;"});
    assert_true(fake.stepped_over_interrupts);
    TALK({"qRcmd,7374657073206c696e6573", "OK"},
         {"qRcmd,737465707320696e737472756374696f6e73", "OK"}, // steps instructions
         {"bs", "T05thread:1;"});
    assert_false(fake.stepped_over_interrupts);
    fake_reset(TARGET_LIVE);
    TALK({"s", "T05thread:1;"});
    assert_true(fake.stepped_over_interrupts);
}

static void ranges(void **state) {
    TALK({"vCont;r10e0,10f8:1;c", "T05thread:1;"}, {"p10", "f810000000000000"},
         {"vCont;r10f8,10f8:1", "T05thread:1;"}, {"p10", "f910000000000000"}); // at least one step
}

static void bad_actions(void **state) {
#define BAD "E.this vCont is not understood"
    TALK({"vCont", BAD}, {"vCont;", BAD}, {"vCont;x", BAD}, {"vCont;s:9", BAD}, {"vCont;r1", BAD},
         {"vCont;C", BAD}, {"vCont;cc", BAD}, {"c!", "E.an address was expected"});
}

static void breakpoints(void **state) {
    gdb_client_send(&client, "qSupported:swbreak+;hwbreak+");
    assert_true(serve() != NULL);
    TALK({"Z0,10f0,1", "OK"}, {"Z0,10f0,1", "OK"}, {"c", "T05thread:1;"},
         {"p10", "f010000000000000"}, {"z0,10f0,1", "OK"}, {"z0,10f0,1", "OK"}, {"Z1,1005,1", "OK"},
         {"vCont;c", "T05thread:1;"}, {"p10", "0510000000000000"},
         {"Z5,1,1", "E.this breakpoint is not understood"},
         {"Z0,1", "E.this breakpoint is not understood"});
    assert_int_equal(fake.point_count, 0); // none stays behind
}

static void reasons_for_those_who_know_them(void **state) {
    gdb_client_send(&client, "qSupported:swbreak+;hwbreak+");
    gdb_client_send(&client, "QStartNoAckMode");
    gdb_client_send(&client, "Z0,10f0,1");
    gdb_client_send(&client, "c");
    gdb_client_send(&client, "Z1,10f8,1");
    gdb_client_send(&client, "c");
    const char *got = serve();
    assert_non_null(strstr(got, "T05thread:1;swbreak:;\nOK\nT05thread:1;hwbreak:;\n"));
}

static void watchpoints(void **state) {
    TALK({"Z2,8004,4", "OK"}, {"c", "T05thread:1;watch:8004;"}, {"p1", "f003000000000000"},
         {"bc", "T05thread:1;watch:8004;"}, {"p1", "ef03000000000000"}, {"z2,8004,4", "OK"},
         {"Z3,8000,8", "OK"}, {"c", "T05thread:1;rwatch:8000;"}, {"z3,8000,8", "OK"},
         {"Z4,7ffc,8", "OK"}, {"c", "T05thread:1;awatch:8000;"},
         {"Z2,8000,0", "E.a watchpoint has 1 to 4096 bytes"},
         {"Z2,8000,1001", "E.a watchpoint has 1 to 4096 bytes"},
         {"Z2,fffffffffffffff8,10", "E.a watchpoint has 1 to 4096 bytes"});
}

static void too_many_breakpoints(void **state) {
    char packet[32];
    gdb_client_send(&client, "QStartNoAckMode");
    for (unsigned i = 0; i <= BREAKPOINTS_MAX; i++) {
        snprintf(packet, sizeof(packet), "Z0,%x,1", 0x100000 + i);
        gdb_client_send(&client, packet);
    }
    const char *got = serve();
    assert_non_null(strstr(got, "OK\nE.too many breakpoints and watchpoints\n"));
}

static void ends_of_history(void **state) {
    TALK({"c", "O706f7765726564206f66660a\nT05thread:1;replaylog:end;"},
         {"bc", "T05thread:1;replaylog:begin;"}, {"bs", "T05thread:1;replaylog:begin;"});
}

static void end_of_a_live_vm(void **state) {
    struct run_result last;
    fake_reset(TARGET_LIVE);
    assert_false(debugger_over(debugger, &last));
    // It can be looked at; gdb gives it up when it is to go on.
    TALK({"c", "O706f7765726564206f66660a\nT0fthread:1;"}, {"p1", "a086010000000000"},
         {"c", "W00"});
    assert_int_equal(end, DEBUGGER_OVER);
    assert_true(debugger_over(debugger, &last) && last.end == RAN_TO_END);
}

static void a_live_vm_has_no_past(void **state) {
    fake_reset(TARGET_LIVE);
    TALK({"bs", "E.a live VM has no history: record it and debug its replay"},
         {"bc", "E.a live VM has no history: record it and debug its replay"});
}

static void interrupts(void **state) {
    gdb_client_send(&client, "QStartNoAckMode");
    gdb_client_send(&client, "c");
    gdb_client_send_bytes(&client, "\x03", 1);
    client.hold = 1;
    assert_string_equal(serve(), "+OK\nT02thread:1;\n");
    assert_int_equal(fake.now.count, 1000);    // it was there before the guest ran
    gdb_client_send_bytes(&client, "\x03", 1); // we stand already
    gdb_client_send(&client, "qC");
    assert_string_equal(serve(), "+QC1\n");
}

static void a_command_while_the_guest_runs(void **state) {
    gdb_client_send(&client, "c");
    gdb_client_send(&client, "qC");
    client.hold = 6;
    assert_string_equal(serve(), "+T02thread:1;\n+QC1\n");
}

static void a_client_that_vanishes(void **state) {
    gdb_client_send(&client, "Z0,500,1");
    gdb_client_send(&client, "c");
    client.vanishes = true;
    serve();
    assert_int_equal(end, DEBUGGER_GONE);
    assert_int_equal(fake.point_count, 0);
}

static void leaving(void **state) {
    gdb_client_send(&client, "D;1");
    gdb_client_send(&client, "qC"); // not ours any more
    assert_string_equal(serve(), "+OK\n");
    assert_int_equal(end, DEBUGGER_DETACHED);
    gdb_client_send(&client, "vKill;1");
    assert_string_equal(serve(), "+OK\n");
    assert_int_equal(end, DEBUGGER_KILLED);
    gdb_client_send(&client, "k");
    assert_string_equal(serve(), "+");
    assert_int_equal(end, DEBUGGER_KILLED);
}

// ---- threads and descriptions --------------------------------------------------------------------------------
static void threads(void **state) {
    TALK({"qfThreadInfo", "m1,2"}, {"qsThreadInfo", "l"}, {"T2", "OK"},
         {"T3", "E.there is no such vCPU"}, {"qThreadExtraInfo,2", "74657874203320203120"},
         {"Hc-1", "OK"}, {"Hg2", "OK"}, {"qC", "QC2"}, {"Hx1", "E.Hg or Hc was expected"});
}

static void read_object(const char *object, char *text, size_t n, unsigned piece) {
    size_t used = 0;
    char packet[100];
    for (bool last = false; !last;) {
        snprintf(packet, sizeof(packet), "qXfer:%s:%zx,%x", object, used, piece);
        gdb_client_send(&client, packet);
        const char *got = serve() + 1;
        last = *got == 'l';
        assert_true(last || *got == 'm');
        for (got++; *got && got[1] && used < n - 1; got++)
            text[used++] = *got == '}' ? *++got ^ 0x20 : *got;
    }
    text[used] = 0;
}

static void descriptions(void **state) {
    static const char *const names[] = {"i386:x86-64", "i386", "i8086"};
    char whole[REGISTERS_DESCRIPTION_MAX], pieces[REGISTERS_DESCRIPTION_MAX], arch[64];
    for (enum gdb_arch i = GDB_ARCH_X86_64; i <= GDB_ARCH_I8086; i++) {
        debugger_free(debugger);
        debugger = debugger_create(NULL, i);
        size_t n = registers_description(i, whole, sizeof(whole));
        assert_true(n > 1000 && n < sizeof(whole) - 1); // it fits
        read_object("features:read:target.xml", pieces, sizeof(pieces), 0x333);
        assert_string_equal(whole, pieces);
        snprintf(arch, sizeof(arch), "<architecture>%s</architecture>", names[i]);
        assert_non_null(strstr(whole, arch));
        enum gdb_arch found;
        assert_true(gdb_arch_parse(names[i], &found) && found == i);
    }
    enum gdb_arch found;
    assert_true(gdb_arch_parse("x86-64", &found) && found == GDB_ARCH_X86_64);
    assert_false(gdb_arch_parse("arm", &found));
}

static void objects(void **state) {
    char text[4096];
    read_object("threads:read:", text, sizeof(text), 50);
    assert_non_null(
        strstr(text, "<thread id=\"2\" core=\"1\" name=\"vCPU 1\">text 3  1 </thread>"));
    read_object("memory-map:read:", text, sizeof(text), 4096);
    assert_non_null(strstr(text, "<memory type=\"ram\" start=\"0x0\""));
    TALK({"qXfer:features:read:other.xml:0,100", "E00"}, {"qXfer:auxv:read::0,100", ""},
         {"qXfer:features:read:target.xml:x,100", "E00"},
         {"qXfer:features:read:target.xml:fffffff,100", "l"});
}

// ---- monitor -------------------------------------------------------------------------------------------------
// What gdb's user sees; `then` is sent without waiting for the answer.
static const char *monitor_then(const char *line, const char *then) {
    static char text[sizeof(client.got)];
    char packet[1200] = "qRcmd,";
    for (size_t i = 0; i < strlen(line); i++)
        snprintf(packet + strlen(packet), 3, "%02x", (uint8_t)line[i]);
    gdb_client_send(&client, packet);
    gdb_client_send_bytes(&client, then, strlen(then));
    client.hold = strlen(then);
    const char *got = serve();
    client.hold = 0;
    size_t used = 0;
    for (const char *at = strchr(got, 'O'); at && at[1] != 'K'; at = strchr(at + 1, 'O'))
        for (at++; *at != '\n'; at += 2) {
            unsigned byte;
            sscanf(at, "%2x", &byte);
            text[used++] = (char)byte;
        }
    text[used] = 0;
    assert_string_equal(got + strlen(got) - 3, "OK\n");
    return text;
}

static const char *monitor(const char *line) {
    return monitor_then(line, "");
}

static void monitor_texts(void **state) {
    assert_string_equal(monitor("nonsense"),
                        "\"nonsense\" is unknown; monitor help lists what there is\n");
    assert_non_null(strstr(monitor("help"), "goto COUNT | +N | -N | event N | begin | end\n    "));
    assert_string_equal(monitor(""), monitor("help"));
    assert_non_null(strstr(monitor("when"),
                           "count 1000, event 1, guest time 0.002000000 s, vCPU 0 at 0x10e8\n"));
    assert_string_equal(monitor("devices pit"), "text 0 <pit>\n");
    assert_string_equal(monitor("events"), "text 2 <>\n");
    assert_string_equal(monitor("events 0x10"), "text 2 <16>\n");
    assert_string_equal(monitor("events x"),
                        "\"x\" is not a number (decimal, or hexadecimal after 0x)\n");
    assert_string_equal(monitor("xlate 0x5000"), "0x5000 is at guest-physical 0x4000\n");
    assert_string_equal(monitor("xlate 0xffff000000000000"), "0xffff000000000000 is not mapped\n");
    assert_string_equal(monitor("xlate here"),
                        "\"here\" is not a number (decimal, or hexadecimal after 0x)\n");
    assert_string_equal(monitor("xlate -1"),
                        "\"-1\" is not a number (decimal, or hexadecimal after 0x)\n");
    assert_string_equal(
        monitor("mem 0x8010 4"),
        "0000000000008010  10 11 12 13                                      ....\n");
    assert_string_equal(monitor("mem 0x100"), "there is no memory at 0x100\n");
    assert_non_null(strstr(monitor("costs"), "executed again: 7 instructions"));
}

static void monitor_lines_are_whole(void **state) {
    char packet[1100] = "qRcmd,";
    for (unsigned i = 0; i < 512; i++)
        strcat(packet, "61");
    gdb_client_send(&client, packet);
    assert_string_equal(serve(), "+E.the command is too long, or is none\n");
    TALK({"qRcmd,6", "E.the command is too long, or is none"});
}

static void monitor_travels(void **state) {
    assert_non_null(strstr(monitor("goto 5000"), "now at count 5000,"));
    assert_non_null(strstr(monitor("goto -0x10"), "now at count 4984,"));
    assert_non_null(strstr(monitor("goto +16"), "now at count 5000,"));
    assert_non_null(strstr(monitor("goto -9999999"), "now at count 0,"));
    assert_non_null(strstr(monitor("goto event 3"), "now at count 3000,"));
    assert_non_null(strstr(monitor("goto end"), "now at count 100000,"));
    assert_non_null(strstr(monitor("goto begin"), "now at count 0,"));
    assert_non_null(strstr(monitor_then("goto end", "\x03"), "interrupted; still at count 0,"));
    assert_non_null(strstr(monitor("goto"), "goto COUNT,"));
    assert_non_null(strstr(monitor("goto event"), "not a number"));
    assert_string_equal(monitor("checkpoint"), "checkpoint 1\n");
    assert_non_null(strstr(monitor("list"), "   1  count 500,"));
    assert_non_null(strstr(monitor("restart 1"), "now at count 500,"));
    assert_non_null(strstr(monitor("restart 7"), "no such checkpoint"));
    assert_string_equal(monitor("delete 1"), "");
    assert_non_null(strstr(monitor("delete 99999999999"), "no such checkpoint"));
    assert_non_null(strstr(monitor("go-live new.log"), "recorded into new.log"));
    assert_string_equal(fake.live_record, "new.log");
    assert_non_null(strstr(monitor("goto 1"), "a live VM has no history"));
}

static void modes(void **state) {
    assert_string_equal(monitor("arch"),
                        "vCPU 0 is in 64-bit mode; gdb has the registers of i386:x86-64\n");
    fake.registers.mode = TARGET_MODE_16;
    assert_non_null(
        strstr(monitor("arch"), "for code of this mode: monitor arch i8086, disconnect"));
    assert_non_null(strstr(monitor("arch i386"), "when it connects again: those of i386\n"));
    TALK({"p8", "e8100000"}); // EIP, for the next client
    assert_non_null(strstr(monitor("arch arm"), "x86-64, i386 or i8086\n"));
}

static unsigned spaces_checked;
static bool check_spaces(void *opaque) {
    assert_int_equal(fake.point_count, 2);
    assert_int_equal(fake.points[0].address, 0x1010);
    assert_int_equal(fake.points[0].cr3, 0x5000);
    assert_int_equal(fake.points[1].cr3, ANY_CR3);
    spaces_checked++;
    return true;
}

// What is set while a filter is in force keeps it, although gdb takes it out and in at every stop.
static void address_spaces(void **state) {
    static const char *const packets[] = {"QStartNoAckMode",
                                          "qRcmd,6372332063757272656e74", // cr3 current
                                          "Z0,1010,1",
                                          "z0,1010,1",
                                          "qRcmd,63723320616e79", // cr3 any
                                          "Z0,1010,1",
                                          "Z0,1020,1"};
    for (unsigned i = 0; i < sizeof(packets) / sizeof(packets[0]); i++)
        gdb_client_send(&client, packets[i]);
    gdb_client_send(&client, "c");
    fake.patience = 0; // asked for attention before the first step
    watcher = check_spaces;
    serve();
    watcher = attention;
    assert_int_equal(spaces_checked, 1);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(broken_packets),
        TEST(second_hello),
        TEST(abilities),
        TEST(unknown_packets),
        TEST(one_register),
        TEST(program_counter_of_segments),
        TEST(all_registers),
        TEST(the_past_is_fixed),
        TEST(a_live_vm_is_changed),
        TEST(whole_register_sets_are_written),
        TEST(x87_tags),
        TEST(memory),
        TEST(search),
        TEST(steps),
        TEST(stops_bring_registers),
        TEST(steps_and_interrupts),
        TEST(ranges),
        TEST(bad_actions),
        TEST(breakpoints),
        TEST(reasons_for_those_who_know_them),
        TEST(watchpoints),
        TEST(too_many_breakpoints),
        TEST(ends_of_history),
        TEST(end_of_a_live_vm),
        TEST(a_live_vm_has_no_past),
        TEST(interrupts),
        TEST(a_command_while_the_guest_runs),
        TEST(a_client_that_vanishes),
        TEST(leaving),
        TEST(threads),
        TEST(descriptions),
        TEST(objects),
        TEST(monitor_texts),
        TEST(monitor_lines_are_whole),
        TEST(monitor_travels),
        TEST(modes),
        TEST(address_spaces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
