import ABNDNNL
@testable import ABNCPUBackend
import ABNTensors
import Testing

@Suite struct DNNLDescriptorTests {
  static let shapes: [[Int]] = [
    [2, 17, 5], [2, 17, 5, 3], [2, 17, 5, 3, 4], [3, 32, 2, 2], [3, 24, 7],
  ]

  @Test(arguments: shapes) func namedFormatsAreRecognised(_ dims: [Int]) throws {
    for (format, layout, block) in [
      (DNNLFormat.plain, DNNLLayout.plain, 1), (.channelsLast, .channelsLast, 1),
      (.blocked(8), .blocked8, 8), (.blocked(16), .blocked16, 16),
    ] {
      let descriptor = try DNNLDescriptor(dims, .float32, format)
      #expect(descriptor.layout == layout)
      #expect(descriptor.layout.format == format)
      #expect(descriptor.dims == dims)
      #expect(descriptor.dtype == .float32)
      #expect(!descriptor.isAny)
      var padded = dims
      padded[1] = (dims[1] + block - 1) / block * block
      #expect(descriptor.paddedDims == padded)
      #expect(descriptor.byteCount == padded.reduce(4, *))
      for other in [DNNLLayout.plain, .channelsLast, .blocked8, .blocked16] {
        #expect(descriptor.matches(other) == (other == layout))
      }
    }
  }

  @Test func stridesAreRecognised() throws {
    func layout(_ dims: [Int], _ strides: [Int]) throws -> DNNLLayout {
      try DNNLDescriptor(dims, .float32, .strides(strides)).layout
    }
    #expect(try layout([2, 3, 4, 5], [60, 20, 5, 1]) == .plain)
    #expect(try layout([2, 3, 4, 5], [60, 1, 15, 3]) == .channelsLast)
    #expect(try layout([2, 3, 4, 5], [60, 1, 3, 12]) == .other)
    #expect(try layout([2, 3, 4, 5], [120, 20, 5, 1]) == .other)
    #expect(try layout([7, 3], [3, 1]) == .plain)
    #expect(try layout([7, 3], [1, 7]) == .other)
  }

  /// Strides of axes of size 1 say nothing, so such tensors have more than one name.
  @Test func unitAxesMatchBoth() throws {
    for dims in [[4, 6, 1, 1], [4, 1, 3, 3], [4, 6]] {
      for format in [DNNLFormat.plain, .channelsLast] {
        let descriptor = try DNNLDescriptor(dims, .float32, format)
        #expect(descriptor.layout == .plain)
        #expect(descriptor.matches(.plain) && descriptor.matches(.channelsLast))
      }
    }
  }

  @Test func anyIsOpen() throws {
    let descriptor = try DNNLDescriptor([2, 16, 3, 3], .bfloat16, .any)
    #expect(descriptor.isAny && descriptor.byteCount == 0 && descriptor.layout == .other)
    #expect(descriptor.dtype == .bfloat16)
    #expect(descriptor.description == "bfloat16 [2, 16, 3, 3] any")
  }

  @Test func equality() throws {
    let dims = [2, 16, 3, 3]
    let plain = try DNNLDescriptor(dims, .float32, .plain)
    #expect(plain == (try DNNLDescriptor(dims, .float32, .strides([144, 9, 3, 1]))))
    #expect(plain != (try DNNLDescriptor(dims, .float32, .channelsLast)))
    #expect(plain != (try DNNLDescriptor(dims, .bfloat16, .plain)))
    #expect(plain != (try DNNLDescriptor([2, 16, 3, 4], .float32, .plain)))
  }

  @Test func describesUnnamedLayoutsInLetters() throws {
    let swapped = try DNNLDescriptor([2, 3, 4], .float32, .strides([1, 8, 2]))
    #expect(swapped.description == "float32 [2, 3, 4] bca")
  }

  @Test func failuresAreTyped() throws {
    func category(_ dims: [Int], _ dtype: DType, _ format: DNNLFormat) -> ABNError.Category? {
      do throws(ABNError) {
        _ = try DNNLDescriptor(dims, dtype, format)
        return nil
      } catch { return error.category }
    }
    #expect(category([2, 3], .int64, .plain) == .unsupported)
    #expect(category([2, 3], .bool, .plain) == .unsupported)
    #expect(category([2, 3, 4, 4], .float32, .blocked(12)) == .unsupported)
    #expect(category([2, 3, 4], .float32, .strides([1, 2])) == .shape)
    #expect(category([2, 3], .float32, .blocked(16)) == .system)
    #expect(category([], .float32, .plain) == .system)
    #expect(category([2, -3], .float32, .plain) == .system)
    #expect(category([2, 3], .float32, .plain) == nil)
  }

  @Test func versionIsThreeNumbers() {
    #expect(DNNL.versionString.split(separator: ".").compactMap { Int($0) }.count == 3)
  }
}
