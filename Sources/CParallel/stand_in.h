#ifndef ABN_STAND_IN_H
#define ABN_STAND_IN_H

// A forked thread must not share Swift code with other threads. Swift's runtime (6.3, threading on Linux) asks for a
// thread's number once and owns its locks by it; in a forked child the thread has another number, and the kernel
// refuses to take such a lock back where another thread waits for it: both spin for ever. It happens where two
// threads use a type or a global for the first time.
//
// So the teams of a forked thread are those of a stand-in, a thread that the child makes, while the forked one waits.
// oneDNN's own teams need none, as no Swift code runs in them.

/// Runs `work` on the stand-in, which is made for the first one. 0: there is no thread for it, and nothing was run.
/// For the thread that was forked alone.
int abn_stand_in_run(void (*work)(void *context), void *context);

/// In a child: the parent's stand-in is not here.
void abn_stand_in_forget(void);

#endif
