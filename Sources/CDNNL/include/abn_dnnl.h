#ifndef ABN_DNNL_H
#define ABN_DNNL_H

#include <stddef.h>
#include <stdint.h>

// oneDNN behind handles that look the same for its 2.x and 3.x interfaces.
// A function that returns abn_dnnl_status writes its result only where it returns
// ABN_DNNL_SUCCESS. Pointers are borrowed for the length of the call unless a comment says more.

/// 0 for success, else oneDNN's own status code.
typedef int32_t abn_dnnl_status;
#define ABN_DNNL_SUCCESS 0
/// The library could not be loaded: `abn_dnnl_load_failure` says why.
#define ABN_DNNL_NO_LIBRARY 1000

/// The most dimensions of a descriptor (oneDNN's DNNL_MAX_NDIMS).
#define ABN_DNNL_MAX_RANK 12

/// Element types; the values are this header's own.
#define ABN_DNNL_F16 1
#define ABN_DNNL_BF16 2
#define ABN_DNNL_F32 3
#define ABN_DNNL_S32 4
#define ABN_DNNL_S8 5
#define ABN_DNNL_U8 6
#define ABN_DNNL_F64 7
#define ABN_DNNL_OTHER_TYPE 0

/// Physical formats; ABN_DNNL_STRIDED stands for explicit strides.
#define ABN_DNNL_ANY 0
#define ABN_DNNL_PLAIN 1
#define ABN_DNNL_CHANNELS_LAST 2
#define ABN_DNNL_BLOCKED8 3
#define ABN_DNNL_BLOCKED16 4
#define ABN_DNNL_STRIDED 5

/// Convolution algorithms.
#define ABN_DNNL_DIRECT 0
#define ABN_DNNL_AUTO 1

/// Pooling algorithms.
#define ABN_DNNL_MAX 0
#define ABN_DNNL_AVERAGE_INCLUDING_PADDING 1
#define ABN_DNNL_AVERAGE_EXCLUDING_PADDING 2

/// Arguments of a primitive, by role.
#define ABN_DNNL_SOURCE 0
#define ABN_DNNL_WEIGHTS 1
#define ABN_DNNL_BIAS 2
#define ABN_DNNL_DESTINATION 3
#define ABN_DNNL_DIFF_SOURCE 4
#define ABN_DNNL_DIFF_WEIGHTS 5
#define ABN_DNNL_DIFF_BIAS 6
#define ABN_DNNL_DIFF_DESTINATION 7
#define ABN_DNNL_WORKSPACE 8
#define ABN_DNNL_SCRATCHPAD 9

/// Why the library is not there; NULL where it is.
const char *abn_dnnl_load_failure(void);

/// The version of the library that runs (0.0.0 where it is not there), and of the headers this was
/// compiled against; either pointer may be NULL.
void abn_dnnl_version(int32_t version[3], int32_t compiled[3]);

/// The name that oneDNN gives a status.
const char *abn_dnnl_status_name(abn_dnnl_status status);

// ---- Descriptors: logical dimensions, element type and physical layout; owned, immutable.

typedef struct abn_dnnl_descriptor abn_dnnl_descriptor;

/// What a descriptor says. Strides count elements between outermost blocks.
typedef struct {
  int32_t rank;
  int32_t type;
  /// 1 where the layout is left to the primitive; then strides and blocks are not filled.
  int32_t is_any;
  /// 1 where strides and blocks say all about the layout; 0 for packed or otherwise opaque ones.
  int32_t is_blocked;
  int64_t dims[ABN_DNNL_MAX_RANK];
  int64_t padded_dims[ABN_DNNL_MAX_RANK];
  int64_t strides[ABN_DNNL_MAX_RANK];
  /// Elements before the first one.
  int64_t offset;
  int32_t inner_blocks;
  int64_t inner_sizes[ABN_DNNL_MAX_RANK];
  int64_t inner_axes[ABN_DNNL_MAX_RANK];
  /// Bytes of a buffer that holds the tensor, padding included; 0 where is_any.
  size_t bytes;
} abn_dnnl_layout;

/// Makes a descriptor; `strides` is read for ABN_DNNL_STRIDED only and may be NULL otherwise.
abn_dnnl_status abn_dnnl_descriptor_create(
    int32_t rank, const int64_t *dims, int32_t type, int32_t format, const int64_t *strides,
    abn_dnnl_descriptor **result);
void abn_dnnl_descriptor_destroy(abn_dnnl_descriptor *descriptor);
abn_dnnl_status abn_dnnl_descriptor_layout(
    const abn_dnnl_descriptor *descriptor, abn_dnnl_layout *layout);
/// 1 where a buffer of one can be read as the other.
int32_t abn_dnnl_descriptor_equal(
    const abn_dnnl_descriptor *left, const abn_dnnl_descriptor *right);

// ---- Primitives: always in user-managed scratchpad mode.

typedef struct abn_dnnl_primitive abn_dnnl_primitive;

/// What is done to each element of a result before it is stored.
typedef struct {
  /// 1: what stood in the destination is added first.
  int32_t adds;
  /// 1: then elements below zero are multiplied by `slope`.
  int32_t has_slope;
  float slope;
} abn_dnnl_epilogue;

/// Convolutions. Arrays have one number per spatial dimension; dilation 1 is a dense kernel.
/// Implementations whose names begin with `refused` are passed over; NULL: none is.
/// `bias`, `diff_bias` and `epilogue` may be NULL. Groups show as weights of one rank more than the source.
abn_dnnl_status abn_dnnl_convolution_forward(
    int32_t training, int32_t algorithm, const abn_dnnl_descriptor *source,
    const abn_dnnl_descriptor *weights, const abn_dnnl_descriptor *bias,
    const abn_dnnl_descriptor *destination, const int64_t *strides, const int64_t *dilations,
    const int64_t *padding_low, const int64_t *padding_high, const abn_dnnl_epilogue *epilogue,
    const char *refused, abn_dnnl_primitive **result);
abn_dnnl_status abn_dnnl_convolution_backward_data(
    int32_t algorithm, const abn_dnnl_descriptor *diff_source,
    const abn_dnnl_descriptor *weights, const abn_dnnl_descriptor *diff_destination,
    const int64_t *strides, const int64_t *dilations, const int64_t *padding_low,
    const int64_t *padding_high, const char *refused, abn_dnnl_primitive **result);
abn_dnnl_status abn_dnnl_convolution_backward_weights(
    int32_t algorithm, const abn_dnnl_descriptor *source,
    const abn_dnnl_descriptor *diff_weights, const abn_dnnl_descriptor *diff_bias,
    const abn_dnnl_descriptor *diff_destination, const int64_t *strides,
    const int64_t *dilations, const int64_t *padding_low, const int64_t *padding_high,
    const char *refused, abn_dnnl_primitive **result);

/// destination = source x weights + bias; `bias` may be NULL, and broadcasts over axes of size 1.
abn_dnnl_status abn_dnnl_matmul(
    const abn_dnnl_descriptor *source, const abn_dnnl_descriptor *weights,
    const abn_dnnl_descriptor *bias, const abn_dnnl_descriptor *destination,
    abn_dnnl_primitive **result);

/// Pooling without dilation. The backward one repeats the forward descriptors, from which oneDNN
/// derives the format of the workspace.
abn_dnnl_status abn_dnnl_pooling_forward(
    int32_t training, int32_t algorithm, const abn_dnnl_descriptor *source,
    const abn_dnnl_descriptor *destination, const int64_t *strides, const int64_t *kernel,
    const int64_t *padding_low, const int64_t *padding_high, abn_dnnl_primitive **result);
abn_dnnl_status abn_dnnl_pooling_backward(
    int32_t algorithm, const abn_dnnl_descriptor *source,
    const abn_dnnl_descriptor *destination, const abn_dnnl_descriptor *diff_source,
    const abn_dnnl_descriptor *diff_destination, const int64_t *strides,
    const int64_t *kernel, const int64_t *padding_low, const int64_t *padding_high,
    abn_dnnl_primitive **result);

/// 1 where every number is above the lowest finite one, with which oneDNN's max pooling begins: it passes
/// over NaN, and a window of nothing above that number has no winner.
int32_t abn_dnnl_all_above_lowest(const float *x, int64_t count);
/// 1 where no number is infinite or NaN.
int32_t abn_dnnl_all_finite(const float *x, int64_t count);

/// Copies from one layout or element type into another.
abn_dnnl_status abn_dnnl_reorder(
    const abn_dnnl_descriptor *source, const abn_dnnl_descriptor *destination,
    abn_dnnl_primitive **result);

void abn_dnnl_primitive_destroy(abn_dnnl_primitive *primitive);

/// How many slots `abn_dnnl_primitive_execute` reads.
int32_t abn_dnnl_primitive_slots(const abn_dnnl_primitive *primitive);
/// The role of a slot (ABN_DNNL_SOURCE, ...).
int32_t abn_dnnl_primitive_role(const abn_dnnl_primitive *primitive, int32_t slot);
/// A new descriptor of a slot's buffer, owned by the caller; NULL where the primitive does not
/// use the slot.
abn_dnnl_status abn_dnnl_primitive_descriptor(
    const abn_dnnl_primitive *primitive, int32_t slot, abn_dnnl_descriptor **result);
/// Bytes of the scratchpad that every execution needs; 0 for none.
size_t abn_dnnl_primitive_scratchpad_bytes(const abn_dnnl_primitive *primitive);
/// oneDNN's name of the implementation; lives as long as the primitive.
const char *abn_dnnl_primitive_implementation(const abn_dnnl_primitive *primitive);
/// The name of the first implementation that was passed over as refused; empty where none was.
const char *abn_dnnl_primitive_passed_over(const abn_dnnl_primitive *primitive);

/// Runs the primitive and waits for it. One pointer per slot, in the order that the makers above
/// document in Swift; pointers of unused slots are not read. Executions of one primitive by
/// several threads take turns.
abn_dnnl_status abn_dnnl_primitive_execute(abn_dnnl_primitive *primitive, void *const *pointers);

#endif
