// Sessions and process groups.
#pragma once

struct process;

// The last thread of p has ended: a session's leader gives up its terminal. May sleep.
void session_leader_exit(struct process *p);
