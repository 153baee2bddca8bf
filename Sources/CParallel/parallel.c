#include "abn_parallel.h"

// libgomp's own entry points, declared here because clang cannot compile `#pragma omp` for it:
// the ABI that GCC-compiled code (such as oneDNN) calls, stable since GCC 4.9.
extern void GOMP_parallel(void (*fn)(void *), void *data, unsigned num_threads, unsigned flags);
extern int omp_get_thread_num(void);
extern int omp_get_num_threads(void);
extern int omp_get_max_threads(void);
extern int omp_in_parallel(void);
extern void omp_set_num_threads(int n);

struct team_call {
  abn_team_body body;
  void *context;
};

static void member_main(void *data) {
  struct team_call *call = data;
  call->body(call->context, omp_get_thread_num(), omp_get_num_threads());
}

void abn_team_run(int members, abn_team_body body, void *context) {
  if (omp_in_parallel()) {
    body(context, 0, 1);
    return;
  }
  struct team_call call = {body, context};
  GOMP_parallel(member_main, &call, members > 0 ? (unsigned)members : 0, 0);
}

int abn_team_default_size(void) { return omp_get_max_threads(); }

void abn_team_set_default_size(int members) { omp_set_num_threads(members < 1 ? 1 : members); }
