#ifndef ABN_KERNELS_FLAT_CALL_H
#define ABN_KERNELS_FLAT_CALL_H

#include <stdbool.h>
#include <stdint.h>

/// What a flat loop reads or writes: `count` elements in rows of `length` (see `abn_flat_call`), column j of row i at
/// base + (i * row_stride + j * stride) elements.
///
/// A stride of 0 is one number for a whole row, a row stride of 0 one row for all rows. Results are contiguous.
typedef struct {
  /// NULL where the operation has no such operand.
  void *_Nullable base;
  /// 0 float16, 1 bfloat16, 2 float32, 3 float64; 4: bits, eight to a byte, the first of them the lowest: 1 where the
  /// number is not 0. Bits are contiguous.
  intptr_t element;
  intptr_t stride;
  intptr_t row_stride;
} abn_flat_operand;

/// One call of a flat loop: an operation on elements of up to four arrays, each of its own type, whose results go to up to
/// three arrays or are added up.
typedef struct {
  /// `FlatCode`.
  intptr_t operation;
  /// Whether the arithmetic is in float64, else in float32.
  bool is_wide;
  /// Whether the results of an activation go past the caches, where they are whole vectors in lines of their own.
  bool streams;
  /// What the operation reads.
  abn_flat_operand a, b, c, d;
  /// What it writes. Each may be an operand of the same element type, as the same array.
  abn_flat_operand out, second, third;
  /// Elements `first` ..< `first + count`, numbered row by row. `first` is a multiple of 16.
  intptr_t first;
  intptr_t count;
  /// Elements of a row.
  intptr_t length;
  /// Numbers of the operation.
  const double *_Nonnull constants;
  /// 16 float64 to which sums are added, one for each lane; of a maximum, with which it is taken.
  double *_Nullable sums;
  /// For each operand `room_stride` bytes: 2176 (256 float64, or 512 float32, and a vector), or, where all
  /// operands are contiguous and of the type that is computed in, 128 (a vector).
  void *_Nonnull room;
  intptr_t room_stride;
} abn_flat_call;

#endif
