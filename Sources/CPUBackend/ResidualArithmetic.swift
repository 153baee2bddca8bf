/// The arithmetic of a residual sum over neighbours, 16 at a time.
///
/// Written out for each type: over a generic vector comparisons become calls, and over scalars the
/// compiler cannot tell that a result stands exactly over an operand, and gives up on vectors.
protocol ResidualFloat: CPUFloat {
  /// z[i] = s where s = u[i] + v[i] > 0, else slope * s.
  static func residualSum(
    _ u: UnsafePointer<Self>, _ v: UnsafePointer<Self>, _ z: UnsafeMutablePointer<Self>,
    _ count: Int, _ slope: Self)

  /// u[i] = s - v[i], s = z[i] where that is positive, else inverseSlope * z[i].
  static func residualTerm(
    _ z: UnsafePointer<Self>, _ v: UnsafePointer<Self>, _ u: UnsafeMutablePointer<Self>,
    _ count: Int, _ inverseSlope: Self)
}

extension Float: ResidualFloat {
  static func residualSum(
    _ u: UnsafePointer<Float>, _ v: UnsafePointer<Float>, _ z: UnsafeMutablePointer<Float>,
    _ count: Int, _ slope: Float
  ) {
    var i = 0
    while i + 16 <= count {
      let a = UnsafeRawPointer(u + i).loadUnaligned(as: SIMD16<Float>.self)
      let s = a + UnsafeRawPointer(v + i).loadUnaligned(as: SIMD16<Float>.self)
      let r = s.replacing(with: s * slope, where: s .<= 0)
      UnsafeMutableRawPointer(z + i).storeBytes(of: r, as: SIMD16<Float>.self)
      i += 16
    }
    for j in i..<count {
      let s = u[j] + v[j]
      z[j] = s > 0 ? s : s * slope
    }
  }

  static func residualTerm(
    _ z: UnsafePointer<Float>, _ v: UnsafePointer<Float>, _ u: UnsafeMutablePointer<Float>,
    _ count: Int, _ inverseSlope: Float
  ) {
    var i = 0
    while i + 16 <= count {
      let a = UnsafeRawPointer(z + i).loadUnaligned(as: SIMD16<Float>.self)
      let s = a.replacing(with: a * inverseSlope, where: a .<= 0)
      let r = s - UnsafeRawPointer(v + i).loadUnaligned(as: SIMD16<Float>.self)
      UnsafeMutableRawPointer(u + i).storeBytes(of: r, as: SIMD16<Float>.self)
      i += 16
    }
    for j in i..<count {
      let s = z[j] > 0 ? z[j] : z[j] * inverseSlope
      u[j] = s - v[j]
    }
  }
}

extension Double: ResidualFloat {
  static func residualSum(
    _ u: UnsafePointer<Double>, _ v: UnsafePointer<Double>, _ z: UnsafeMutablePointer<Double>,
    _ count: Int, _ slope: Double
  ) {
    var i = 0
    while i + 16 <= count {
      let a = UnsafeRawPointer(u + i).loadUnaligned(as: SIMD16<Double>.self)
      let s = a + UnsafeRawPointer(v + i).loadUnaligned(as: SIMD16<Double>.self)
      let r = s.replacing(with: s * slope, where: s .<= 0)
      UnsafeMutableRawPointer(z + i).storeBytes(of: r, as: SIMD16<Double>.self)
      i += 16
    }
    for j in i..<count {
      let s = u[j] + v[j]
      z[j] = s > 0 ? s : s * slope
    }
  }

  static func residualTerm(
    _ z: UnsafePointer<Double>, _ v: UnsafePointer<Double>, _ u: UnsafeMutablePointer<Double>,
    _ count: Int, _ inverseSlope: Double
  ) {
    var i = 0
    while i + 16 <= count {
      let a = UnsafeRawPointer(z + i).loadUnaligned(as: SIMD16<Double>.self)
      let s = a.replacing(with: a * inverseSlope, where: a .<= 0)
      let r = s - UnsafeRawPointer(v + i).loadUnaligned(as: SIMD16<Double>.self)
      UnsafeMutableRawPointer(u + i).storeBytes(of: r, as: SIMD16<Double>.self)
      i += 16
    }
    for j in i..<count {
      let s = z[j] > 0 ? z[j] : z[j] * inverseSlope
      u[j] = s - v[j]
    }
  }
}
