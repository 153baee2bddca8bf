#ifndef ABN_KERNELS_KERNEL_CALL_H
#define ABN_KERNELS_KERNEL_CALL_H

#include <stdbool.h>
#include <stdint.h>

/// One call of a kernel of the layer, on a range of elements: what `ABNKernels` says to a kernel set. A C struct,
/// because a Swift one would be a type, with functions, of one of the sets.
///
/// Elements come in one of two forms. Runs: `count` runs of `length` contiguous elements, the first elements of two
/// runs `stride` apart, and 16 lanes of parameters that all runs share. Rows (`is_rows`): `count` rows of `length`
/// channels, each lane a channel of its own.
///
/// Pointers that a step does not use may be any valid ones.
typedef struct {
  /// `Step`: what is done with the elements.
  intptr_t step;
  /// 0 float16, 1 bfloat16, 2 float32, 3 float64.
  intptr_t element;
  /// `ActivationCode`.
  intptr_t activation;
  /// What is read: `a`, and of two-operand steps `b`. Written: `out`, which may be one of them.
  const void *_Nonnull a;
  const void *_Nonnull b;
  void *_Nonnull out;
  /// `Slot.count` rows of `lanes` numbers each, in the precision of sums.
  void *_Nonnull parameters;
  /// Of the forward step: `AsideWord`s. Other steps keep no state.
  void *_Nonnull state;
  /// 3 rows of `lanes` float64.
  void *_Nonnull sums;
  /// Lanes of parameters: 16 for runs, or 1 where all lanes are one channel; of rows, their channels, rounded up to a
  /// multiple of 16.
  intptr_t lanes;
  bool is_rows;
  /// Whether a lane of `Slot.keep` is set.
  bool keeps;
  /// Whether the sums, of runs, begin with this call, whatever memory holds.
  bool starts;
  /// Whether the elements come from memory, and are to be prefetched.
  bool prefetches;
  /// Elements from each run to one that is prefetched as well, for the next unit; 0 for none.
  intptr_t next_unit;
  intptr_t count;
  intptr_t stride;
  intptr_t length;
} abn_kernel_call;

#endif
