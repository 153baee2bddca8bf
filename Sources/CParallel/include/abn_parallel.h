#ifndef ABN_PARALLEL_H
#define ABN_PARALLEL_H

#include "abn_turns.h"

/// Called once by every member of the team: its index and the size of the team.
typedef void (*abn_team_body)(void *context, int member, int members);

/// Runs `body` on the OpenMP team of the calling thread (the one oneDNN uses), and returns when all
/// members have. The team has at most `members` members and may have fewer: `body` is told. Inside a
/// team it runs with one member.
void abn_team_run(int members, abn_team_body body, void *context);

/// The size of the team that the calling thread gets now, and that oneDNN is told: at least 1. A team
/// never has fewer; work whose threads wait for each other hangs where it believes in more.
///
/// It is the size that was asked for, here or by OMP_NUM_THREADS, else the number of processors, but at
/// most OMP_THREAD_LIMIT, what the system gives, and `abn_team_most`; 1 inside a team or where
/// OMP_MAX_ACTIVE_LEVELS is 0. OMP_DYNAMIC, which lets teams be smaller, is turned off.
int abn_team_size(void);

/// The processors that this process may run on.
int abn_processors(void);

/// Asks for teams of this size, in all threads of the process; values below 1 count as 1.
void abn_team_set_size(int members);

/// The most members a team can be asked for: 4 a processor, and at least 16. More only wait for each
/// other; some more than there are processors repeat the results of another machine.
int abn_team_most(void);

#endif
