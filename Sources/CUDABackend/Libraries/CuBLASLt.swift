import ABNTensors

/// cuBLASLt: matrix products.
///
/// Source of names and numbers: the cuBLAS documentation, 12.0, and cublasLt.h.
final class CuBLASLt: @unchecked Sendable {
  // Sendable: the functions may be called from any thread with one handle.
  typealias Handle = OpaquePointer?
  typealias Make = @convention(c) (UnsafeMutablePointer<Handle>) -> Int32
  typealias Set = @convention(c) (Handle, Int32, UnsafeRawPointer, Int) -> Int32

  let path: String
  let version: Int
  fileprivate let handle: Handle
  fileprivate let makeProduct: @convention(c) (UnsafeMutablePointer<Handle>, Int32, Int32) -> Int32
  fileprivate let setProduct: Set
  fileprivate let destroyProduct: @convention(c) (Handle) -> Int32
  fileprivate let makeLayout:
    @convention(c) (UnsafeMutablePointer<Handle>, Int32, UInt64, UInt64, Int64) -> Int32
  fileprivate let destroyLayout: @convention(c) (Handle) -> Int32
  fileprivate let makePreference: Make
  fileprivate let setPreference: Set
  fileprivate let destroyPreference: @convention(c) (Handle) -> Int32
  fileprivate let heuristic:
    @convention(c) (
      Handle, Handle, Handle, Handle, Handle, Handle, Handle, Int32, UnsafeMutableRawPointer,
      UnsafeMutablePointer<Int32>
    ) -> Int32
  fileprivate let multiply:
    @convention(c) (
      Handle, Handle, UnsafeRawPointer, UnsafeRawPointer, Handle, UnsafeRawPointer, Handle,
      UnsafeRawPointer, UnsafeRawPointer, Handle, UnsafeMutableRawPointer, Handle,
      UnsafeRawPointer, UnsafeMutableRawPointer?, Int, CUDAHandle
    ) -> Int32

  private static func library() throws -> Library {
    try Library(
      ["libcublasLt.so.13", "libcublasLt.so.12"], package: "the Python package nvidia-cublas")
  }

  /// The version and place of the library, without a card.
  static func found() throws -> (version: Int, path: String) {
    let library = try library()
    let ask: @convention(c) () -> Int = try library.function("cublasLtGetVersion")
    return (ask(), library.path)
  }

  /// Looks the library up; a device must be current.
  init() throws {
    let library = try Self.library()
    path = library.path
    makeProduct = try library.function("cublasLtMatmulDescCreate")
    setProduct = try library.function("cublasLtMatmulDescSetAttribute")
    destroyProduct = try library.function("cublasLtMatmulDescDestroy")
    makeLayout = try library.function("cublasLtMatrixLayoutCreate")
    destroyLayout = try library.function("cublasLtMatrixLayoutDestroy")
    makePreference = try library.function("cublasLtMatmulPreferenceCreate")
    setPreference = try library.function("cublasLtMatmulPreferenceSetAttribute")
    destroyPreference = try library.function("cublasLtMatmulPreferenceDestroy")
    heuristic = try library.function("cublasLtMatmulAlgoGetHeuristic")
    multiply = try library.function("cublasLtMatmul")
    let ask: @convention(c) () -> Int = try library.function("cublasLtGetVersion")
    version = ask()
    let create: Make = try library.function("cublasLtCreate")
    var made: Handle = nil
    try Self.check(create(&made), "handle")
    handle = made
  }

  fileprivate static func check(_ status: Int32, _ what: String) throws {
    guard status != 0 else { return }
    throw ABNError(.system, "cuBLASLt, \(what)", got: "status \(status)", wanted: "success")
  }
}

/// out = a b over row-major matrices, either of which may be stored transposed.
final class MatrixProductPlan: @unchecked Sendable {
  // Sendable: nothing changes after init.

  /// Rows of out, the length of the sums, columns of out.
  struct Sizes: Sendable, Hashable {
    let rows, inner, columns: Int
    /// Whether a is stored as [inner, rows], and b as [columns, inner].
    let isATransposed, isBTransposed: Bool
  }

  /// The most scratch memory that a product may take.
  static let workspaceLimit = 32 << 20
  /// cublasLtMatmulHeuristicResult_t: an algorithm of 64 bytes, the workspace's size behind it.
  private static let (resultBytes, workspaceOffset) = (96, 64)

  /// With what it takes to begin at a multiple of 256, which the library asks for.
  var workspaceBytes: Int { needed > 0 ? needed + Self.workspaceAlignment : 0 }
  private static let workspaceAlignment = 256
  private let needed: Int
  private let library: CuBLASLt
  private let product, aLayout, bLayout, outLayout: CuBLASLt.Handle
  private let algorithm: [UInt8]
  private let isDouble: Bool

  init(
    _ sizes: Sizes, _ dtype: DType, allowsTF32: Bool, _ library: CuBLASLt
  ) throws {
    let isDouble = dtype == .float64
    // cudaDataType_t, and cublasComputeType_t: CUBLAS_COMPUTE_32F, _32F_FAST_TF32, _64F.
    guard let type: Int32 = [.float32: 0, .float64: 1, .float16: 2, .bfloat16: 14][dtype] else {
      throw ABNError(
        .dtype, "product of matrices", got: "\(dtype)", wanted: "a floating-point type")
    }
    let compute: Int32 = isDouble ? 70 : dtype == .float32 && allowsTF32 ? 77 : 68
    func made(_ what: String, _ body: (UnsafeMutablePointer<CuBLASLt.Handle>) -> Int32) throws
      -> CuBLASLt.Handle
    {
      var handle: CuBLASLt.Handle = nil
      try CuBLASLt.check(body(&handle), what)
      return handle
    }
    let product = try made("product") { library.makeProduct($0, compute, isDouble ? 1 : 0) }
    // The library's matrices are column-major: it computes the transpose of out as b^T a^T, where a
    // row-major matrix is its own transpose.
    for (attribute, isTransposed) in [(Int32(3), sizes.isBTransposed), (4, sizes.isATransposed)] {
      var op = Int32(isTransposed ? 1 : 0)
      try CuBLASLt.check(library.setProduct(product, attribute, &op, 4), "product")
    }
    let (rows, inner, columns) = (UInt64(sizes.rows), UInt64(sizes.inner), UInt64(sizes.columns))
    func layout(_ rows: UInt64, _ columns: UInt64) throws -> CuBLASLt.Handle {
      try made("matrix") { library.makeLayout($0, type, rows, columns, Int64(rows)) }
    }
    let bLayout = try sizes.isBTransposed ? layout(inner, columns) : layout(columns, inner)
    let aLayout = try sizes.isATransposed ? layout(rows, inner) : layout(inner, rows)
    let outLayout = try layout(columns, rows)
    let preference = try made("preference") { library.makePreference($0) }
    defer { _ = library.destroyPreference(preference) }
    var limit = Self.workspaceLimit
    // CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES.
    try CuBLASLt.check(library.setPreference(preference, 1, &limit, 8), "preference")
    // CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK: parts of a sum that blocks share out are added in
    // the type of the sums (2), not rounded to 16 bits in between (1 and 4).
    var reduction: UInt32 = 2
    try CuBLASLt.check(library.setPreference(preference, 3, &reduction, 4), "preference")
    // CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES to _D_BYTES: what buffers of the arena have.
    for attribute: Int32 in 5...8 {
      var alignment: UInt32 = 64
      try CuBLASLt.check(library.setPreference(preference, attribute, &alignment, 4), "preference")
    }
    var result = [UInt8](repeating: 0, count: Self.resultBytes)
    var count: Int32 = 0
    let status = result.withUnsafeMutableBytes {
      library.heuristic(
        library.handle, product, bLayout, aLayout, outLayout, outLayout, preference, 1,
        $0.baseAddress!, &count)
    }
    guard status == 0, count == 1 else {
      throw ABNError(
        .unsupported, "cuBLASLt", got: "no algorithm for \(sizes) in \(dtype)",
        wanted: "a product of this size")
    }
    needed = result.withUnsafeBytes {
      $0.load(fromByteOffset: Self.workspaceOffset, as: Int.self)
    }
    algorithm = Array(result.prefix(Self.workspaceOffset))
    (self.library, self.isDouble, self.product) = (library, isDouble, product)
    (self.aLayout, self.bLayout, self.outLayout) = (aLayout, bLayout, outLayout)
  }

  deinit {
    _ = library.destroyProduct(product)
    for layout in [aLayout, bLayout, outLayout] { _ = library.destroyLayout(layout) }
  }

  /// Puts the product on a stream.
  func run(
    a: UnsafeRawPointer, b: UnsafeRawPointer, out: UnsafeMutableRawPointer,
    workspace: UnsafeMutableRawPointer?, on stream: CUDAHandle
  ) throws {
    let aligned = workspace.map { start in
      let mask = UInt(Self.workspaceAlignment - 1)
      return UnsafeMutableRawPointer(bitPattern: (UInt(bitPattern: start) + mask) & ~mask)!
    }
    // alpha and beta as the type of the sums.
    let factors: [UInt64] =
      isDouble ? [Double(1).bitPattern, 0] : [UInt64(Float(1).bitPattern), 0]
    let status = factors.withUnsafeBytes { factors in
      algorithm.withUnsafeBytes { algorithm in
        library.multiply(
          library.handle, product, factors.baseAddress!, b, bLayout, a, aLayout,
          factors.baseAddress! + 8, out, outLayout, out, outLayout, algorithm.baseAddress!,
          aligned, needed, stream)
      }
    }
    try CuBLASLt.check(status, "product")
  }
}
