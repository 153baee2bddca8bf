#ifndef ABN_TURNS_H
#define ABN_TURNS_H

// Runs that want all processors take turns, across the processes of a user. Two teams that share the processors
// wait at every barrier for a member that is not scheduled: two trainings of small steps take five times as long at once
// as alone, where in turns they take twice as long.
//
// Turns are advice: whoever gets none in time runs all the same. They change no result.

/// Waits for the turn of the calling thread, if its team takes more than half of the processors. Between
/// `abn_turn_begin` and `abn_turn_end` it has the turn, or goes without.
void abn_turn_begin(void);

/// Between two pieces of work: gives the turn to who waits for it, if this thread has had it for 20 ms,
/// and waits for the next. Two loads from memory where nobody waits.
void abn_turn_next(void);

/// The turn goes on for as long as the caller is soon back; who waits may take it after 0.3 ms.
void abn_turn_end(void);

#endif
