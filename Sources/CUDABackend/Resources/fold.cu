// A normalization that follows a convolution as part of its weights: w' = w * s and
// bias' = bias + (own - mean) * s with s = scale / sqrt(variance + epsilon), in f64. `own` is the
// convolution's bias, or null. A block makes filter after filter.
extern "C" __global__ void __launch_bounds__(256)
    fold(const T* w, const T* scale, const T* bias, const T* mean, const T* variance, const T* own,
         T* newWeight, T* newBias, i64 filters, i64 count, f64 epsilon) {
  for (i64 filter = blockIdx.x; filter < filters; filter += gridDim.x) {
    f64 s = (f64)real(scale[filter]) / sqrt((f64)real(variance[filter]) + epsilon);
    for (i64 i = filter * count + threadIdx.x; i < (filter + 1) * count; i += 256)
      newWeight[i] = cast<T>((f64)real(w[i]) * s);
    if (threadIdx.x > 0) continue;
    f64 shift = (own ? (f64)real(own[filter]) : 0.0) - (f64)real(mean[filter]);
    newBias[filter] = cast<T>((f64)real(bias[filter]) + shift * s);
  }
}
