// `monitor`: places in the history, and ways between them.
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include "replay/gdb/monitor.h"

static uint64_t hz(struct debugger *d) {
    uint64_t value = timeline_info(d->timeline)->hz;
    return value ? value : 1;
}

static void say_place(struct debugger *d, const char *before, const struct position *p) {
    uint64_t seconds = p->v / hz(d), nanoseconds;
    nanoseconds = (uint64_t)((p->v % hz(d)) * (unsigned __int128)1000000000 / hz(d));
    debugger_say(d,
                 "%scount %" PRIu64 ", event %" PRIu64 ", guest time %" PRIu64 ".%09" PRIu64
                 " s, vCPU %u at 0x%" PRIx64 "%s\n",
                 before, p->count, p->event, seconds, nanoseconds, p->cpu, p->rip,
                 p->deliveries ? ", an interrupt or exception was just delivered" : "");
}

void monitor_when(struct debugger *d, const struct words *w) {
    static const char *const kinds[] = {[TARGET_LIVE] = "live",
                                        [TARGET_RECORDING] = "being recorded",
                                        [TARGET_REPLAYING] = "replayed"};
    const struct target_info *info = timeline_info(d->timeline);
    char cpus[2048];
    say_place(d, "", timeline_now(d->timeline));
    debugger_say(d, "%s: %s%s", info->name, kinds[info->kind], d->over ? ", ended" : "");
    if (info->kind == TARGET_REPLAYING)
        debugger_say(d, ", %" PRIu64 " events", info->events);
    remote_text(timeline_machine(d->timeline), TEXT_CPU, "", cpus, sizeof(cpus));
    debugger_say(d, "\n%s", cpus);
}

// gdb keeps registers and frames that it has read, and is not told that we stand elsewhere now.
static void arrived(struct debugger *d, const struct run_result *r) {
    struct run_result stop = *r;
    if (stop.end == RAN_TO_END && timeline_info(d->timeline)->kind == TARGET_REPLAYING)
        stop.end = RAN_TO_PLACE; // begin or end: where we wanted to go
    resume_set_stop(d, &stop, r->position.cpu, false);
    if (*r->text)
        debugger_say(d, "%s\n", r->text);
    say_place(d, "now at ", &r->position);
    if (d->hints)
        debugger_say(d, "(gdb shows it after: maintenance flush register-cache)\n");
}

static void travelled(struct debugger *d, int error, const struct run_result *r) {
    if (!error)
        arrived(d, r);
    else
        debugger_say(d, "%s\n", error == -EINVAL ? r->text : monitor_error(error));
}

// "+N" and "-N": from here.
static bool relative(struct debugger *d, const char *word, uint64_t *count) {
    uint64_t now = timeline_now(d->timeline)->count, n;
    if (!monitor_number(d, word + 1, &n))
        return false;
    if (*word == '-')
        *count = n < now ? now - n : 0;
    else
        *count = now + n < now ? UINT64_MAX : now + n;
    return true;
}

void monitor_goto(struct debugger *d, const struct words *w) {
    enum timeline_place place = PLACE_COUNT;
    const char *first = w->word[0];
    uint64_t value = 0;
    struct run_result r;
    if (!w->count) {
        debugger_say(d, "goto COUNT, +N, -N, event N, begin or end\n");
        return;
    }
    if (!strcmp(first, "begin") || !strcmp(first, "end"))
        place = *first == 'b' ? PLACE_BEGIN : PLACE_END;
    else if (!strcmp(first, "event"))
        place = PLACE_EVENT;
    bool understood = true;
    if (place == PLACE_EVENT)
        understood = monitor_number(d, w->word[1], &value);
    else if (place == PLACE_COUNT)
        understood = *first == '+' || *first == '-' ? relative(d, first, &value)
                                                    : monitor_number(d, first, &value);
    if (understood && resume_begin(d))
        say_place(d, "interrupted; still at ", timeline_now(d->timeline));
    else if (understood)
        travelled(d, timeline_goto(d->timeline, place, value, &r), &r);
}

void monitor_checkpoint(struct debugger *d, const struct words *w) {
    int number = timeline_checkpoint(d->timeline);
    if (number < 0)
        debugger_say(d, "%s\n", monitor_error(number));
    else
        debugger_say(d, "checkpoint %d\n", number);
}

void monitor_list(struct debugger *d, const struct words *w) {
    struct timeline_entry entries[256];
    unsigned there = timeline_list(d->timeline, entries, 256);
    for (unsigned i = 0; i < there && i < 256; i++) {
        if (entries[i].number)
            debugger_say(d, "%4d  ", entries[i].number);
        else
            debugger_say(d, "      ");
        say_place(d, "", &entries[i].position);
    }
    debugger_say(d, "%u checkpoints\n", there);
}

static bool checkpoint_number(struct debugger *d, const struct words *w, int *number) {
    uint64_t value;
    if (!monitor_number(d, w->word[0], &value))
        return false;
    *number = value <= INT32_MAX ? (int)value : 0;
    return true;
}

static const char *checkpoint_error(int error) {
    return error == -ENOENT ? "there is no such checkpoint; monitor list shows them"
                            : monitor_error(error);
}

void monitor_delete(struct debugger *d, const struct words *w) {
    int number;
    if (!checkpoint_number(d, w, &number))
        return;
    int error = timeline_delete_checkpoint(d->timeline, number);
    if (error)
        debugger_say(d, "%s\n", checkpoint_error(error));
}

void monitor_restart(struct debugger *d, const struct words *w) {
    struct run_result r;
    int number;
    if (!checkpoint_number(d, w, &number))
        return;
    int error = timeline_restart(d->timeline, number, &r);
    if (error)
        debugger_say(d, "%s\n", checkpoint_error(error));
    else
        arrived(d, &r);
}

void monitor_costs(struct debugger *d, const struct words *w) {
    struct timeline_costs costs;
    timeline_get_costs(d->timeline, &costs);
    debugger_say(d,
                 "executed again: %" PRIu64 " instructions by the last travel, %" PRIu64
                 " by all; %u checkpoints taken, the last one in %" PRIu64 " ticks of the host\n",
                 costs.reexecuted, costs.total_reexecuted, costs.checkpoints,
                 costs.checkpoint_ticks);
}

void monitor_go_live(struct debugger *d, const struct words *w) {
    char error[256] = "";
    if (timeline_go_live(d->timeline, w->word[0], error))
        debugger_say(d, "%s\n", error);
    else
        debugger_say(
            d, "live from here on%s%s: registers and memory can be written, the way back is gone\n",
            w->count ? ", recorded into " : "", w->word[0]);
}
