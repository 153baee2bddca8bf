#define _GNU_SOURCE
#include "abn_turns.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "abn_parallel.h"

/// How long a turn is where others wait: long beside the change of teams (some 0.1 ms), short for a person.
#define TURN_NS 20000000
/// How often who waits looks at last: each look stops a member of the team that has the turn, and with it the team.
#define LOOK_NS 5000000
/// How long the first wait is, which is doubled, and how long the owner must have been idle for its turn to be
/// taken: longer than the gap between two steps of a training.
#define SHORT_NS 300000
/// How long an offered turn is there for others alone.
#define OFFER_NS 1000000
/// How many looks before the owner is looked at: it may have been killed or stopped.
#define LOOKS_BEFORE_OWNER 8
/// Nobody waits longer for one owner: turns are advice.
#define MOST_NS 2000000000

/// What the processes of a user that may run on the same processors share.
struct shared {
  /// 0, or the thread whose turn it is, with one of the marks below or none.
  atomic_uint turn;
  /// Set again at every look of who waits, so that those who die waiting are forgotten.
  atomic_uint someone_waits;
  /// When the owner became idle.
  _Atomic int64_t idle_since;
};

/// The owner is between two runs.
#define IDLE 0x80000000u
/// The owner has had its time.
#define OFFERED 0x40000000u
#define OWNER (~(IDLE | OFFERED))

static struct shared *shared;
/// That this process may run on, as it started.
static int processors;
static pthread_once_t opened = PTHREAD_ONCE_INIT;
static _Thread_local unsigned own_id;
static _Thread_local int64_t turn_start, offered_at;
static _Thread_local int takes_part;

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void forget_id(void) {
  own_id = 0;
  takes_part = 0;
}

/// FNV-1a of the processors that this process may run on: those with others do not wait for each other.
static uint64_t processors_hash(void) {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  uint64_t hash = 14695981039346656037u;
  for (size_t i = 0; i < sizeof set; ++i) hash = (hash ^ ((unsigned char *)&set)[i]) * 1099511628211u;
  return hash;
}

/// Shared memory, private to the user; without it there are no turns.
static void open_shared(void) {
  processors = abn_processors();
  char name[96];
  snprintf(name, sizeof name, "/dev/shm/abn-turns-%u-%016llx", (unsigned)geteuid(),
           (unsigned long long)processors_hash());
  int file = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return;
  struct stat status;
  int is_ours = fstat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_uid == geteuid() &&
                (status.st_mode & 077) == 0;
  if (is_ours && (status.st_size >= 4096 || ftruncate(file, 4096) == 0)) {
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (memory != MAP_FAILED) shared = memory;
  }
  close(file);
  pthread_atfork(NULL, NULL, forget_id);
}

static void wait_for_change(unsigned seen, int64_t ns) {
  struct timespec time = {ns / 1000000000, ns % 1000000000};
  syscall(SYS_futex, &shared->turn, FUTEX_WAIT, seen, &time, NULL, 0);
}

/// Whether a thread runs no more, or is stopped: then nobody need wait for it.
static int is_gone(unsigned id) {
  char name[32], text[512];
  snprintf(name, sizeof name, "/proc/%u/stat", id);
  int file = open(name, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 1;
  ssize_t count = read(file, text, sizeof text - 1);
  close(file);
  // The state stands behind the name, which may hold anything.
  while (count > 0 && text[count - 1] != ')') count -= 1;
  if (count <= 0) return 1;
  text[sizeof text - 1] = 0;
  char state = text[count + 1];
  return state == 'T' || state == 't' || state == 'Z' || state == 'X';
}

static int take(unsigned seen) {
  if (!atomic_compare_exchange_strong(&shared->turn, &seen, own_id)) return 0;
  turn_start = now();
  return 1;
}

static void wait_for_turn(void) {
  int64_t start = now();
  int64_t pause = SHORT_NS;
  unsigned last_owner = 0;
  for (int looks = 1;; ++looks) {
    unsigned seen = atomic_load(&shared->turn);
    unsigned owner = seen & OWNER;
    int64_t time = now();
    if (owner != last_owner) start = time;
    last_owner = owner;
    int is_free = seen == 0 || owner == own_id;
    if (owner == own_id && (seen & OFFERED)) is_free = time - offered_at >= OFFER_NS;
    else if (seen & OFFERED) is_free = 1;
    else if (seen & IDLE) is_free = is_free || time - atomic_load(&shared->idle_since) >= SHORT_NS;
    if (!is_free && looks % LOOKS_BEFORE_OWNER == 0) is_free = is_gone(owner);
    if (!is_free) is_free = time - start >= MOST_NS;
    if (is_free) {
      if (take(seen)) return;
      continue;
    }
    // Who has offered its turn waits for nobody until another has taken it.
    if (owner != own_id) atomic_store(&shared->someone_waits, 1);
    wait_for_change(seen, owner == own_id ? OFFER_NS : pause);
    pause = 2 * pause < LOOK_NS ? 2 * pause : LOOK_NS;
  }
}

static void offer(void) {
  unsigned mine = own_id;
  atomic_store(&shared->someone_waits, 0);
  if (!atomic_compare_exchange_strong(&shared->turn, &mine, own_id | OFFERED)) return;
  offered_at = now();
  syscall(SYS_futex, &shared->turn, FUTEX_WAKE, 1, NULL, NULL, 0);
}

void abn_turn_begin(void) {
  takes_part = 0;
  int size = abn_team_size();
  if (size < 2) return;
  pthread_once(&opened, open_shared);
  if (!shared || 2 * size <= processors) return;
  takes_part = 1;
  if (own_id == 0) own_id = (unsigned)syscall(SYS_gettid);
  unsigned mine = own_id | IDLE;
  // The same turn, which goes on.
  if (atomic_compare_exchange_strong(&shared->turn, &mine, own_id)) return;
  wait_for_turn();
}

void abn_turn_next(void) {
  if (!takes_part || !atomic_load_explicit(&shared->someone_waits, memory_order_relaxed)) return;
  if (now() - turn_start < TURN_NS) return;
  offer();
  wait_for_turn();
}

void abn_turn_end(void) {
  if (!takes_part) return;
  takes_part = 0;
  int is_over = atomic_load_explicit(&shared->someone_waits, memory_order_relaxed) &&
                now() - turn_start >= TURN_NS;
  if (is_over) {
    offer();
    return;
  }
  unsigned mine = own_id;
  atomic_store_explicit(&shared->idle_since, now(), memory_order_relaxed);
  atomic_compare_exchange_strong(&shared->turn, &mine, own_id | IDLE);
}
