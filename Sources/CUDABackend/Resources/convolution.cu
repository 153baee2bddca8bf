// A convolution as its formula says, one thread an output, for what the library declines; the bias
// and its gradient. The strides of the tensors are those of their elements in memory.

typedef Real<T> R;

struct Convolution {
  i64 x[4], w[4], y[4];           // sizes: N C H W, F C/groups kh kw, N F H W
  i64 xs[4], ws[4], ys[4];        // strides
  i64 stride[2], dilation[2], before[2];
  i64 groups;
};

/// The output places (n, f, i, j) by number, with which element of memory each is.
__device__ __forceinline__ void place(const i64 (&sizes)[4], i64 number, i64 (&at)[4]) {
  for (int d = 3; d >= 0; d--) {
    at[d] = number % sizes[d];
    number /= sizes[d];
  }
}
__device__ __forceinline__ i64 offset(const i64 (&strides)[4], i64 a, i64 b, i64 c, i64 d) {
  return a * strides[0] + b * strides[1] + c * strides[2] + d * strides[3];
}
__device__ __forceinline__ i64 count(const i64 (&sizes)[4]) {
  return sizes[0] * sizes[1] * sizes[2] * sizes[3];
}

extern "C" __global__ void __launch_bounds__(256)
    directForward(const T* x, const T* w, T* y, Convolution p) {
  i64 step = (i64)gridDim.x * blockDim.x, all = count(p.y), inGroup = p.w[1];
  i64 outGroup = p.w[0] / p.groups;
  for (i64 k = (i64)blockIdx.x * blockDim.x + threadIdx.x; k < all; k += step) {
    i64 at[4];
    place(p.y, k, at);
    i64 first = at[1] / outGroup * inGroup;
    R sum = 0;
    for (i64 c = 0; c < inGroup; c++)
      for (i64 i = 0; i < p.w[2]; i++)
        for (i64 j = 0; j < p.w[3]; j++) {
          i64 row = at[2] * p.stride[0] + i * p.dilation[0] - p.before[0];
          i64 column = at[3] * p.stride[1] + j * p.dilation[1] - p.before[1];
          if (row < 0 || column < 0 || row >= p.x[2] || column >= p.x[3]) continue;
          sum += real(x[offset(p.xs, at[0], first + c, row, column)]) *
                 real(w[offset(p.ws, at[1], c, i, j)]);
        }
    y[offset(p.ys, at[0], at[1], at[2], at[3])] = cast<T>(sum);
  }
}

extern "C" __global__ void __launch_bounds__(256)
    directDataGradient(T* x, const T* w, const T* y, Convolution p) {
  i64 step = (i64)gridDim.x * blockDim.x, all = count(p.x), inGroup = p.w[1];
  i64 outGroup = p.w[0] / p.groups;
  for (i64 k = (i64)blockIdx.x * blockDim.x + threadIdx.x; k < all; k += step) {
    i64 at[4];
    place(p.x, k, at);
    i64 group = at[1] / inGroup, c = at[1] % inGroup;
    R sum = 0;
    for (i64 f = group * outGroup; f < (group + 1) * outGroup; f++)
      for (i64 i = 0; i < p.w[2]; i++)
        for (i64 j = 0; j < p.w[3]; j++) {
          i64 row = at[2] + p.before[0] - i * p.dilation[0];
          i64 column = at[3] + p.before[1] - j * p.dilation[1];
          if (row < 0 || column < 0 || row % p.stride[0] || column % p.stride[1]) continue;
          row /= p.stride[0];
          column /= p.stride[1];
          if (row >= p.y[2] || column >= p.y[3]) continue;
          sum += real(y[offset(p.ys, at[0], f, row, column)]) * real(w[offset(p.ws, f, c, i, j)]);
        }
    x[offset(p.xs, at[0], at[1], at[2], at[3])] = cast<T>(sum);
  }
}

extern "C" __global__ void __launch_bounds__(256)
    directWeightGradient(const T* x, T* w, const T* y, Convolution p) {
  i64 step = (i64)gridDim.x * blockDim.x, all = count(p.w), inGroup = p.w[1];
  i64 outGroup = p.w[0] / p.groups;
  for (i64 k = (i64)blockIdx.x * blockDim.x + threadIdx.x; k < all; k += step) {
    i64 at[4];
    place(p.w, k, at);
    i64 c = at[0] / outGroup * inGroup + at[1];
    R sum = 0;
    for (i64 n = 0; n < p.y[0]; n++)
      for (i64 i = 0; i < p.y[2]; i++) {
        i64 row = i * p.stride[0] + at[2] * p.dilation[0] - p.before[0];
        if (row < 0 || row >= p.x[2]) continue;
        for (i64 j = 0; j < p.y[3]; j++) {
          i64 column = j * p.stride[1] + at[3] * p.dilation[1] - p.before[1];
          if (column < 0 || column >= p.x[3]) continue;
          sum += real(x[offset(p.xs, n, c, row, column)]) * real(y[offset(p.ys, n, at[0], i, j)]);
        }
      }
    w[offset(p.ws, at[0], at[1], at[2], at[3])] = cast<T>(sum);
  }
}

/// y = f(y + bias + residual) with the bias of a channel; that of element k is k / inner % channels.
/// f is the identity, or what is below 0 times `slope`; `residual` may be null.
extern "C" __global__ void __launch_bounds__(256)
    finishConvolution(T* y, const T* bias, const T* residual, i64 all, i64 channels, i64 inner,
                      f64 slope) {
  i64 step = (i64)gridDim.x * blockDim.x;
  R factor = (R)slope;
  for (i64 k = (i64)blockIdx.x * blockDim.x + threadIdx.x; k < all; k += step) {
    R value = real(y[k]) + real(bias[k / inner % channels]);
    if (residual) value += real(residual[k]);
    y[k] = cast<T>(value < 0 ? value * factor : value);
  }
}

/// The sums of dy by channel over a part of all [outer, inner] places: parts x channels sums, in an
/// order that hangs on the sizes alone. One block a channel and part.
extern "C" __global__ void __launch_bounds__(256)
    biasPartial(const T* dy, R* partial, i64 outer, i64 channels, i64 inner, i64 parts) {
  __shared__ R shared[256];
  for (i64 b = blockIdx.x; b < channels * parts; b += gridDim.x) {
    i64 c = b % channels, part = b / channels, places = outer * inner;
    i64 lo = places * part / parts, hi = places * (part + 1) / parts;
    R sum = 0;
    for (i64 k = lo + threadIdx.x; k < hi; k += 256)
      sum += real(dy[(k / inner * channels + c) * inner + k % inner]);
    shared[threadIdx.x] = sum;
    __syncthreads();
    for (u32 half = 128; half; half /= 2) {
      if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
      __syncthreads();
    }
    if (threadIdx.x == 0) partial[part * channels + c] = shared[0];
    __syncthreads();
  }
}

/// The same where channels stand beside one another (inner = 1): threads walk along them.
extern "C" __global__ void __launch_bounds__(256)
    biasPartialRows(const T* dy, R* partial, i64 rows, i64 channels, i64 parts) {
  i64 step = (i64)gridDim.x * blockDim.x;
  for (i64 k = (i64)blockIdx.x * blockDim.x + threadIdx.x; k < channels * parts; k += step) {
    i64 c = k % channels, part = k / channels;
    R sum = 0;
    for (i64 row = rows * part / parts; row < rows * (part + 1) / parts; row++)
      sum += real(dy[row * channels + c]);
    partial[k] = sum;
  }
}

/// The sum of the parts.
extern "C" __global__ void __launch_bounds__(256)
    biasGradient(const R* partial, T* gradient, i64 channels, i64 parts) {
  i64 step = (i64)gridDim.x * blockDim.x;
  for (i64 c = (i64)blockIdx.x * blockDim.x + threadIdx.x; c < channels; c += step) {
    R sum = 0;
    for (i64 part = 0; part < parts; part++) sum += partial[part * channels + c];
    gradient[c] = cast<T>(sum);
  }
}
