#define _GNU_SOURCE
#include "abn_parallel.h"
#include "stand_in.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

// libgomp's own entry points, declared here because clang cannot compile `#pragma omp` for it:
// the ABI that GCC-compiled code (such as oneDNN) calls, stable since GCC 4.9.
static struct {
  void (*parallel)(void (*fn)(void *), void *data, unsigned num_threads, unsigned flags);
  int (*thread_num)(void);
  int (*num_threads)(void);
  int (*max_threads)(void);
  void (*set_num_threads)(int n);
  int (*in_parallel)(void);
  int (*thread_limit)(void);
  int (*max_active_levels)(void);
  int (*dynamic)(void);
  void (*set_dynamic)(int flag);
  /// Absent before GCC 9.
  int (*pause_all)(int kind);
} gomp;

static int forked_in_team;

// ---- Loading

/// How often a waiting thread looks before it sleeps: long enough for the gaps between the operations of
/// a step, short enough to leave the core to others (Documentation/Performance.md, Beside other programs).
#define SPINS "1000"

/// The library with threads that wait as said above, unless the user says otherwise or it is here
/// already. It reads the environment once, while it is loaded: that is why it is not linked. The
/// variable is gone afterwards, so that programs started from this one have the user's environment.
///
/// `setenv` moves the environment to the heap. It is put back to where the system placed it, behind the
/// program's arguments: a Swift runtime that is linked into the program starts later and finds them so.
static void *load_passive(const char *name) {
  int is_ours = !getenv("OMP_WAIT_POLICY") && !getenv("GOMP_SPINCOUNT");
  char **placed = environ;
  if (is_ours) setenv("GOMP_SPINCOUNT", SPINS, 1);
  void *library = dlopen(name, RTLD_NOW | RTLD_GLOBAL);
  if (is_ours) {
    unsetenv("GOMP_SPINCOUNT");
    environ = placed;
  }
  return library;
}

static void before_fork(void);
static void after_fork_in_child(void);

/// Before `main` and before other threads, which may be reading the environment; after this runs the
/// constructor that loads oneDNN.
__attribute__((constructor(101))) static void load(void) {
  void *library = load_passive("libgomp.so.1");
  if (!library) return;
  *(void **)&gomp.thread_num = dlsym(library, "omp_get_thread_num");
  *(void **)&gomp.num_threads = dlsym(library, "omp_get_num_threads");
  *(void **)&gomp.max_threads = dlsym(library, "omp_get_max_threads");
  *(void **)&gomp.set_num_threads = dlsym(library, "omp_set_num_threads");
  *(void **)&gomp.in_parallel = dlsym(library, "omp_in_parallel");
  *(void **)&gomp.thread_limit = dlsym(library, "omp_get_thread_limit");
  *(void **)&gomp.max_active_levels = dlsym(library, "omp_get_max_active_levels");
  *(void **)&gomp.dynamic = dlsym(library, "omp_get_dynamic");
  *(void **)&gomp.set_dynamic = dlsym(library, "omp_set_dynamic");
  *(void **)&gomp.pause_all = dlsym(library, "omp_pause_resource_all");
  *(void **)&gomp.parallel = dlsym(library, "GOMP_parallel");
  if (!gomp.thread_num || !gomp.num_threads || !gomp.max_threads || !gomp.set_num_threads ||
      !gomp.in_parallel || !gomp.thread_limit || !gomp.max_active_levels || !gomp.dynamic ||
      !gomp.set_dynamic)
    gomp.parallel = NULL;
  pthread_atfork(before_fork, NULL, after_fork_in_child);
}

// ---- The size of a team

/// The size that was asked for, 0: none, and how often one was; the library keeps sizes by thread.
static atomic_int asked, asked_times;
static _Thread_local int applied_times;
/// The largest team that this thread has had, and the largest that any could get.
static _Thread_local int proven = 1;
static atomic_int found_limit = INT_MAX;

/// Whether this thread came into this process by a fork. Its teams are its stand-in's then (`stand_in.h`).
static _Thread_local int is_forked;
/// The largest team that the stand-in has had.
static int proven_of_stand_in = 1;

int abn_processors(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  long count = sysconf(_SC_NPROCESSORS_ONLN);
  return count < 1 ? 1 : (int)count;
}

int abn_team_most(void) {
  static atomic_int known;
  int most = atomic_load_explicit(&known, memory_order_relaxed);
  if (most == 0) {
    most = 4 * abn_processors() > 16 ? 4 * abn_processors() : 16;
    atomic_store_explicit(&known, most, memory_order_relaxed);
  }
  return most;
}

static int smaller(int a, int b) { return a < b ? a : b; }

/// The most members that a team of this thread can have.
static int limit(void) {
  if (gomp.max_active_levels() < 1) return 1;
  int found = smaller(gomp.thread_limit(), atomic_load_explicit(&found_limit, memory_order_relaxed));
  return smaller(found, abn_team_most());
}

static void *wait_for_gate(void *gate) {
  pthread_mutex_lock(gate);
  pthread_mutex_unlock(gate);
  return NULL;
}

/// How many of `count` threads the system gives, all at once. The library ends the process where it gets
/// fewer than it wants.
static int available(int count) {
  pthread_t *threads = calloc((size_t)count, sizeof *threads);
  if (!threads) return 0;
  pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&gate);
  int made = 0;
  while (made < count && pthread_create(&threads[made], NULL, wait_for_gate, &gate) == 0) made += 1;
  pthread_mutex_unlock(&gate);
  for (int i = 0; i < made; ++i) pthread_join(threads[i], NULL);
  free(threads);
  return made;
}

static void count_members(void *size) {
  if (gomp.thread_num() == 0) *(int *)size = gomp.num_threads();
}

/// The size that a team of `size` really has, by having one. There must be room for each member twice, as
/// the library makes new threads before those that a smaller team did not need are gone, and for a thread
/// of the program's own.
static int prove(int size) {
  int spare = 2 * (size - 1) + 1;
  int made = available(spare);
  int real = made == spare ? size : 1 + (made > 0 ? (made - 1) / 2 : 0);
  if (real > 1) gomp.parallel(count_members, &real, (unsigned)real, 0);
  if (real < size) atomic_store_explicit(&found_limit, real, memory_order_relaxed);
  proven = real;
  return real;
}

/// The size of a team of the calling thread's own, which is what oneDNN gets.
static int own_team_size(void) {
  int size = gomp.max_threads();
  if (gomp.in_parallel() || forked_in_team) {
    if (size != 1) gomp.set_num_threads(1);
    return 1;
  }
  int times = atomic_load_explicit(&asked_times, memory_order_acquire);
  if (times != applied_times) {
    applied_times = times;
    size = atomic_load_explicit(&asked, memory_order_relaxed);
    gomp.set_num_threads(size);
  }
  // With it a team may be smaller than any size that could be known before.
  if (gomp.dynamic()) gomp.set_dynamic(0);
  int most = limit();
  if (size > most) gomp.set_num_threads(size = most);
  if (size > proven) {
    int real = prove(size);
    if (real < size) gomp.set_num_threads(size = real);
  }
  return size;
}

static void put_own_team_size(void *size) { *(int *)size = own_team_size(); }

int abn_team_size(void) {
  if (!gomp.parallel) return 1;
  int size = own_team_size();
  if (!is_forked || size <= proven_of_stand_in) return size;
  if (!abn_stand_in_run(put_own_team_size, &proven_of_stand_in)) proven_of_stand_in = 1;
  if (size > proven_of_stand_in) gomp.set_num_threads(size = proven_of_stand_in);
  return size;
}

void abn_team_set_size(int members) {
  atomic_store_explicit(&asked, members < 1 ? 1 : members, memory_order_relaxed);
  atomic_fetch_add_explicit(&asked_times, 1, memory_order_release);
}

// ---- Running

struct team_call {
  abn_team_body body;
  void *context;
  int size;
};

static void member_main(void *data) {
  struct team_call *call = data;
  call->body(call->context, gomp.thread_num(), gomp.num_threads());
}

static void run_call(void *data) {
  struct team_call *call = data;
  gomp.parallel(member_main, call, (unsigned)call->size, 0);
}

void abn_team_run(int members, abn_team_body body, void *context) {
  int size = smaller(members, abn_team_size());
  if (size <= 1) {
    body(context, 0, 1);
    return;
  }
  struct team_call call = {body, context, size};
  if (is_forked) abn_stand_in_run(run_call, &call);
  else run_call(&call);
}

// ---- Forks

/// The threads of a team do not live on in a child, and the library does not notice: the next team would
/// wait for them for ever. So this thread's team ends before the fork, and parent and child make new
/// ones when they need them.
static void before_fork(void) {
  if (!gomp.parallel || gomp.in_parallel()) return;
  // omp_pause_hard
  if (gomp.pause_all) gomp.pause_all(2);
}

static void after_fork_in_child(void) {
  if (!gomp.parallel) return;
  if (gomp.in_parallel() || (!gomp.pause_all && proven > 1)) forked_in_team = 1;
  proven = proven_of_stand_in = 1;
  is_forked = 1;
  abn_stand_in_forget();
}
