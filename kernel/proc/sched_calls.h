#pragma once

struct world;

// Gives w the weight that its nice value and its pool ask for. Any context but with w's run queue
// locked.
void sched_update_weight(struct world *w);
