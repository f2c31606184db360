// The sums in a log say at which of them a replay differs, and where. What lies between two of them nobody wrote
// down; but where a machine leaks something into a run that is not in the log, two replays differ as well. So two
// are run in steps and compared after each, as whole machines. Where they part the step is made finer and both are
// begun again, down to one instruction. This process keeps the machine as it is at power-on and only forks.
#include "vmm/machine/bisect.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "replay/inputs.h"
#include "vmm/machine/bisect_pair.h"
#include "vmm/machine/debug.h"
#include "vmm/machine/life.h"

#define FIRST_STEP (1ull << 26) // ticks
#define FINER      64           // of a step, the next round's

#define LL(x) (unsigned long long)(x)

static void print_found(struct machine *m, const struct bisect_found *f) {
    switch (f->outcome) {
    case BISECT_PARTED:
        machine_log(
            m,
            "two replays of this log part after V %llu (count %llu), at V %llu (count %llu) at the "
            "latest:\n%s",
            LL(f->before.v), LL(f->before.count), LL(f->after.v), LL(f->after.count), f->text);
        break;
    case BISECT_SAME_DIFFERENCE:
        machine_log(
            m,
            "two replays differ from the recording alike: %s. What happens between two sums of the log "
            "cannot be seen in it; record with a shorter -sum-interval to narrow it down",
            f->text);
        break;
    case BISECT_SAME:
        machine_log(m, "two replays agree with the recording and with each other in everything");
        break;
    default: machine_log(m, "bisecting failed: %s", f->text);
    }
}

// Both replays, from power-on; what they find.
static struct bisect_found one_round(struct machine *m, const struct bisect_round *round) {
    struct bisect_found f = {.outcome = BISECT_FAILED, .text = "a replay ended without an answer"};
    int ends[2], answer[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0 || pipe(answer) < 0) {
        snprintf(f.text, sizeof(f.text), "%s", strerror(errno));
        return f; // vmx ends: nothing need be closed
    }
    pid_t reference = fork(), suspect = reference > 0 ? fork() : -1;
    if (reference < 0 || (reference > 0 && suspect < 0))
        snprintf(f.text, sizeof(f.text), "no second process: %s", strerror(errno));
    if (reference == 0) {
        close(ends[0]);
        bisect_reference(m, round, ends[1]);
        _exit(0);
    }
    if (suspect == 0) {
        close(ends[1]);
        f = bisect_suspect(m, round, ends[0]);
        _exit(write(answer[1], &f, sizeof(f)) == sizeof(f) ? 0 : 1);
    }
    close(ends[0]);
    close(ends[1]);
    close(answer[1]);
    struct bisect_found got;
    if (reference > 0 && suspect > 0 && read(answer[0], &got, sizeof(got)) == sizeof(got))
        f = got;
    close(answer[0]);
    if (reference > 0)
        waitpid(reference, NULL, 0);
    if (suspect > 0)
        waitpid(suspect, NULL, 0);
    return f;
}

int bisect_run(struct machine *m) {
    struct bisect_round round = {.from = 0, .step = FIRST_STEP};
    int status = EXIT_NOT_STARTED;
    if (debug_create(m, &status))
        return status;
    struct bisect_found best = one_round(m, &round);
    while (best.outcome == BISECT_PARTED && round.step > 1) {
        round.from = best.before.v;
        round.step = round.step > FINER ? round.step / FINER : 1;
        struct bisect_found finer = one_round(m, &round);
        if (finer.outcome != BISECT_PARTED)
            break; // it does not happen each time: what is known stays
        best = finer;
    }
    print_found(m, &best);
    return best.outcome == BISECT_SAME     ? 0
           : best.outcome == BISECT_FAILED ? EXIT_FAILED
                                           : EXIT_DIFFERS;
}
