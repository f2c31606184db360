/* sources: replay/gdb/packet.c replay/gdb/scan.c replay/gdb/debugger.c replay/gdb/resume.c replay/gdb/inspect.c */
/* sources: replay/gdb/points.c replay/gdb/threads.c replay/gdb/query.c replay/gdb/registers.c replay/gdb/description.c */
/* sources: replay/gdb/monitor.c replay/gdb/monitor_travel.c replay/gdb/monitor_show.c replay/gdb/front.c replay/gdb/line.c */
/* sources: tests/unit/timeline_fake.c */
/* libs: -lpthread -lutil */
// Clients that come, break, vanish and come again, on a socket and on a terminal; over a machine of a few lines.
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>
#include "replay/gdb/front.h"
#include "tests/unit/timeline_fake.h"

static char path[64], said[4096];
static int leave[2];
static pthread_t thread;
static struct gdb_front front;
static struct run_result last;
static enum gdb_front_end result;

static void say(const char *sentence) {
    size_t n = strlen(said);
    snprintf(said + n, sizeof(said) - n, "%s\n", sentence);
}

static void *serve(void *opaque) {
    result = gdb_front(&front, (struct remote){.socket = -1}, &last);
    return NULL;
}

static void begin(enum target_kind kind, const char *where, bool wait) {
    fake_reset(kind);
    fake.endless = true;
    fake.patience = 1000;
    said[0] = 0;
    assert_int_equal(pipe(leave), 0);
    front = (struct gdb_front){.path = where, .wait = wait, .leave_fd = leave[0], .say = say};
    assert_int_equal(pthread_create(&thread, NULL, serve, NULL), 0);
}

static enum gdb_front_end finish(void) {
    pthread_join(thread, NULL);
    close(leave[0]);
    close(leave[1]);
    assert_int_equal(fake.freed, 1);
    return result;
}

static enum gdb_front_end leave_it(void) {
    assert_int_equal(write(leave[1], "", 1), 1);
    return finish();
}

// Waits for the socket to be there, too.
static int connect_to(const char *where) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", where);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    for (unsigned i = 0; i < 2000; i++) {
        if (!connect(fd, (struct sockaddr *)&address, sizeof(address)))
            return fd;
        poll(NULL, 0, 5);
    }
    fail_msg("nobody listens at %s", where);
    return -1;
}

static void put(int fd, const char *text) {
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

// Reads until `wanted` has come; what else there was is not looked at.
static void expect(int fd, const char *wanted) {
    char got[8192];
    size_t n = 0;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (n == sizeof(got) - 1 || poll(&p, 1, 10000) <= 0)
            break;
        ssize_t r = read(fd, got + n, sizeof(got) - 1 - n);
        if (r <= 0)
            break;
        n += (size_t)r;
        got[n] = 0;
        if (strstr(got, wanted))
            return;
    }
    got[n] = 0;
    fail_msg("no %s in %s", wanted, got);
}

static int start(void **state) {
    snprintf(path, sizeof(path), "/tmp/test_gdb_front.%d", (int)getpid());
    unlink(path);
    return 0;
}

// ---- sockets ---------------------------------------------------------------------------------------------
static void one_after_the_other(void **state) {
    begin(TARGET_LIVE, path, true);
    int one = connect_to(path);
    put(one, "+$qC#b4$Z0,500,1#3e$c#63"); // runs for it
    expect(one, "$QC1#c5");
    put(one, "\x03");
    expect(one, "$T02thread:1;");
    put(one, "$D#44");
    expect(one, "$OK#9a");
    close(one);
    int two = connect_to(path);
    put(two, "$qC#b4");
    expect(two, "$QC1#c5");
    put(two, "$k#6b");
    assert_int_equal(finish(), GDB_FRONT_KILLED);
    close(two);
    assert_int_not_equal(access(path, F_OK), 0); // the socket is gone
    assert_non_null(strstr(said, "gdb: gone; the VM goes on\n"));
}

static void clients_that_vanish(void **state) {
    static const char *const sent[] = {"",
                                       "+",
                                       "$m80",
                                       "$g#6",
                                       "$c#63",
                                       "$Z0,1010,1#67$c#63",
                                       "\x03\x03\x03",
                                       "$vCont;c#a8\x03$g"};
    begin(TARGET_LIVE, path, false);
    for (unsigned i = 0; i < sizeof(sent) / sizeof(sent[0]); i++) {
        int fd = connect_to(path);
        put(fd, sent[i]);
        close(fd);
    }
    int fd = connect_to(path);
    put(fd, "$qC#b4");
    expect(fd, "$QC1#c5");
    assert_int_equal(fake.point_count, 0);
    close(fd);
    assert_int_equal(leave_it(), GDB_FRONT_LEFT);
}

// One that never reads: its answers fill the socket, then it goes.
static void a_client_that_does_not_read(void **state) {
    begin(TARGET_LIVE, path, true);
    int fd = connect_to(path);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (unsigned i = 0; i < 100000; i++)
        if (write(fd, "$m8000,1000#8b", 14) < 0)
            break;
    close(fd);
    fd = connect_to(path);
    put(fd, "$qC#b4");
    expect(fd, "$QC1#c5");
    close(fd);
    assert_int_equal(leave_it(), GDB_FRONT_LEFT);
}

static void the_user_leaves(void **state) {
    begin(TARGET_LIVE, path, true);
    assert_int_equal(leave_it(), GDB_FRONT_LEFT); // while nobody is there
    begin(TARGET_LIVE, path, false);
    assert_int_equal(leave_it(), GDB_FRONT_LEFT); // while it runs alone
    begin(TARGET_LIVE, path, true);
    int fd = connect_to(path);
    put(fd, "$c#63");
    expect(fd, "+");
    assert_int_equal(leave_it(), GDB_FRONT_LEFT); // while it runs for a client
    close(fd);
}

static void the_vm_ends(void **state) {
    begin(TARGET_LIVE, path, false);
    fake.endless = false;
    assert_int_equal(finish(), GDB_FRONT_ENDED); // with nobody there
    assert_int_equal(last.end, RAN_TO_END);
    assert_string_equal(last.text, "powered off");
    begin(TARGET_LIVE, path, true);
    fake.endless = false;
    int fd = connect_to(path);
    put(fd, "$c#63");
    expect(fd, "$T0fthread:1;");
    put(fd, "$c#63");
    expect(fd, "$W00#b7");
    assert_int_equal(finish(), GDB_FRONT_ENDED);
    close(fd);
}

static void a_replay_stands_still(void **state) {
    begin(TARGET_REPLAYING, path, true);
    int fd = connect_to(path);
    put(fd, "$s#73");
    expect(fd, "$T05thread:1;");
    put(fd, "$D#44");
    expect(fd, "$OK#9a");
    close(fd);
    fd = connect_to(path);
    put(fd, "$p1#a1");
    expect(fd, "$e9030*(#"); // one step, not more
    close(fd);
    assert_int_equal(leave_it(), GDB_FRONT_LEFT);
}

static void places_that_cannot_be_used(void **state) {
    begin(TARGET_LIVE, "/nowhere/at/all", true);
    assert_int_equal(finish(), GDB_FRONT_NOT_STARTED);
    assert_string_equal(said, "/nowhere/at/all: No such file or directory\n");
    begin(TARGET_LIVE, path, true);
    int fd = connect_to(path);
    struct gdb_front other = front;
    assert_int_equal(gdb_front(&other, (struct remote){.socket = -1}, &last),
                     GDB_FRONT_NOT_STARTED);
    fake.freed = 0;
    close(fd);
    assert_int_equal(leave_it(), GDB_FRONT_LEFT);
    // A socket that a dead process has left is replaced.
    int stale = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(bind(stale, (struct sockaddr *)&address, sizeof(address)), 0);
    close(stale);
    begin(TARGET_LIVE, path, true);
    close(connect_to(path));
    assert_int_equal(leave_it(), GDB_FRONT_LEFT);
}

// ---- a terminal --------------------------------------------------------------------------------------------
static void a_serial_line(void **state) {
    int master, slave;
    char name[64];
    assert_int_equal(openpty(&master, &slave, name, NULL, NULL), 0);
    begin(TARGET_LIVE, name, false);
    for (unsigned i = 0; i < 2000 && !strstr(said, "waiting"); i++)
        poll(NULL, 0, 5);
    put(master, "+noise$qC#b4"); // from the first packet on it is a client
    expect(master, "$QC1#c5");
    put(master, "$D#44");
    expect(master, "$OK#9a");
    put(master, "+"); // the acknowledgment wakes nobody
    put(master, "$qSupported#37$p1#a1");
    expect(master, "$PacketSize=4000;");
    put(master, "$k#6b");
    assert_int_equal(finish(), GDB_FRONT_KILLED);
    close(master);
    close(slave);
}

static void a_line_that_is_hung_up(void **state) {
    int master, slave;
    char name[64];
    assert_int_equal(openpty(&master, &slave, name, NULL, NULL), 0);
    begin(TARGET_LIVE, name, true);
    for (unsigned i = 0; i < 2000 && !strstr(said, "waiting"); i++)
        poll(NULL, 0, 5);
    put(master, "$c#63");
    expect(master, "+");
    close(slave);
    close(master); // the VM goes on; nobody can come any more
    poll(NULL, 0, 50);
    assert_int_equal(leave_it(), GDB_FRONT_LEFT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(one_after_the_other, start),
        cmocka_unit_test_setup(clients_that_vanish, start),
        cmocka_unit_test_setup(a_client_that_does_not_read, start),
        cmocka_unit_test_setup(the_user_leaves, start),
        cmocka_unit_test_setup(the_vm_ends, start),
        cmocka_unit_test_setup(a_replay_stands_still, start),
        cmocka_unit_test_setup(places_that_cannot_be_used, start),
        cmocka_unit_test_setup(a_serial_line, start),
        cmocka_unit_test_setup(a_line_that_is_hung_up, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
