// Conversions lane by lane: each becomes one or a few vector instructions, and no library function
// is called that the linker could take from another instruction set's copy.

@inline(__always) func widened(_ v: SIMD16<UInt16>) -> SIMD16<UInt32> {
  SIMD16<UInt32>(
    UInt32(v[0]), UInt32(v[1]), UInt32(v[2]), UInt32(v[3]),
    UInt32(v[4]), UInt32(v[5]), UInt32(v[6]), UInt32(v[7]),
    UInt32(v[8]), UInt32(v[9]), UInt32(v[10]), UInt32(v[11]),
    UInt32(v[12]), UInt32(v[13]), UInt32(v[14]), UInt32(v[15]))
}

@inline(__always) func widened(_ v: SIMD16<Float>) -> SIMD16<Double> {
  SIMD16<Double>(
    Double(v[0]), Double(v[1]), Double(v[2]), Double(v[3]),
    Double(v[4]), Double(v[5]), Double(v[6]), Double(v[7]),
    Double(v[8]), Double(v[9]), Double(v[10]), Double(v[11]),
    Double(v[12]), Double(v[13]), Double(v[14]), Double(v[15]))
}

@inline(__always) func converted(_ v: SIMD16<Int32>) -> SIMD16<Float> {
  SIMD16<Float>(
    Float(v[0]), Float(v[1]), Float(v[2]), Float(v[3]),
    Float(v[4]), Float(v[5]), Float(v[6]), Float(v[7]),
    Float(v[8]), Float(v[9]), Float(v[10]), Float(v[11]),
    Float(v[12]), Float(v[13]), Float(v[14]), Float(v[15]))
}

@inline(__always) func narrowed(_ v: SIMD16<UInt32>) -> SIMD16<UInt16> {
  SIMD16<UInt16>(
    UInt16(truncatingIfNeeded: v[0]), UInt16(truncatingIfNeeded: v[1]),
    UInt16(truncatingIfNeeded: v[2]), UInt16(truncatingIfNeeded: v[3]),
    UInt16(truncatingIfNeeded: v[4]), UInt16(truncatingIfNeeded: v[5]),
    UInt16(truncatingIfNeeded: v[6]), UInt16(truncatingIfNeeded: v[7]),
    UInt16(truncatingIfNeeded: v[8]), UInt16(truncatingIfNeeded: v[9]),
    UInt16(truncatingIfNeeded: v[10]), UInt16(truncatingIfNeeded: v[11]),
    UInt16(truncatingIfNeeded: v[12]), UInt16(truncatingIfNeeded: v[13]),
    UInt16(truncatingIfNeeded: v[14]), UInt16(truncatingIfNeeded: v[15]))
}

@inline(__always) private func sign(_ v: UInt16) -> UInt16 {
  UInt16(bitPattern: Int16(bitPattern: v) &>> 15)
}

/// All bits of a lane are its highest one. The compiler makes loops over the lanes of comparisons of 16-bit ones,
/// but for equality.
@inline(__always) func signs(_ v: SIMD16<UInt16>) -> SIMD16<UInt16> {
  SIMD16<UInt16>(
    sign(v[0]), sign(v[1]), sign(v[2]), sign(v[3]),
    sign(v[4]), sign(v[5]), sign(v[6]), sign(v[7]),
    sign(v[8]), sign(v[9]), sign(v[10]), sign(v[11]),
    sign(v[12]), sign(v[13]), sign(v[14]), sign(v[15]))
}

#if ABN_F16C || arch(arm64)
@inline(__always) func widened(_ v: SIMD16<Float16>) -> SIMD16<Float> {
  SIMD16<Float>(
    Float(v[0]), Float(v[1]), Float(v[2]), Float(v[3]),
    Float(v[4]), Float(v[5]), Float(v[6]), Float(v[7]),
    Float(v[8]), Float(v[9]), Float(v[10]), Float(v[11]),
    Float(v[12]), Float(v[13]), Float(v[14]), Float(v[15]))
}

@inline(__always) func narrowed(_ v: SIMD16<Float>) -> SIMD16<Float16> {
  SIMD16<Float16>(
    Float16(v[0]), Float16(v[1]), Float16(v[2]), Float16(v[3]),
    Float16(v[4]), Float16(v[5]), Float16(v[6]), Float16(v[7]),
    Float16(v[8]), Float16(v[9]), Float16(v[10]), Float16(v[11]),
    Float16(v[12]), Float16(v[13]), Float16(v[14]), Float16(v[15]))
}
#endif
