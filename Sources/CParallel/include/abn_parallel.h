#ifndef ABN_PARALLEL_H
#define ABN_PARALLEL_H

#include "abn_math.h"

/// Called once by every member of the team: its index and the size of the team.
typedef void (*abn_team_body)(void *context, int member, int members);

/// Runs `body` on the OpenMP team of this process (the one oneDNN uses), and returns when all
/// members have. `members` <= 0 asks for the default size. Inside a team it runs with one member.
void abn_team_run(int members, abn_team_body body, void *context);

/// The size a team gets by default.
int abn_team_default_size(void);

/// Sets the size a team gets by default, for oneDNN too; values below 1 count as 1.
void abn_team_set_default_size(int members);

#endif
