#include "stand_in.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct stand_in {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  /// Null: none to do.
  void (*work)(void *context);
  void *context;
};

/// Only the thread that was forked looks at it.
static struct stand_in *current;

static void *serve(void *data) {
  struct stand_in *self = data;
  pthread_mutex_lock(&self->mutex);
  for (;;) {
    while (!self->work) pthread_cond_wait(&self->changed, &self->mutex);
    self->work(self->context);
    self->work = NULL;
    pthread_cond_signal(&self->changed);
  }
}

/// Signals stay with the program's own threads.
static struct stand_in *make(void) {
  struct stand_in *self = calloc(1, sizeof *self);
  if (!self) return NULL;
  pthread_mutex_init(&self->mutex, NULL);
  pthread_cond_init(&self->changed, NULL);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  int code = pthread_create(&thread, NULL, serve, self);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (code == 0) {
    pthread_detach(thread);
    return self;
  }
  free(self);
  return NULL;
}

int abn_stand_in_run(void (*work)(void *context), void *context) {
  if (!current) current = make();
  if (!current) return 0;
  pthread_mutex_lock(&current->mutex);
  current->context = context;
  current->work = work;
  pthread_cond_signal(&current->changed);
  while (current->work) pthread_cond_wait(&current->changed, &current->mutex);
  pthread_mutex_unlock(&current->mutex);
  return 1;
}

// Its memory stays: the parent may have forked while the stand-in held its mutex.
void abn_stand_in_forget(void) { current = NULL; }
