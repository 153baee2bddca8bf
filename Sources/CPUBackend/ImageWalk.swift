import ABNDNNL
import ABNTensors

/// How the steps of an operator walk its images, and with that in which layouts it can have them.
///
/// Blocks are always cut along axis 1, and an image stands in blocks because a convolution takes
/// that axis for its channels. The next operator may see channels elsewhere: `conv2d` in NCHW,
/// then `inplaceABN` in NHWC. Every lowering says here what it does, and `LoweringContext` and
/// `LayoutAssignment` see to the rest: an operator that cannot walk blocks of axis 1 gets, and
/// gives, row-major images.
enum ImageWalk: Sendable, Hashable {
  /// By axes, as the dimensions number them: row-major images alone.
  case rowMajor
  /// Through blocks as well: element by element, wherever an element belongs, or by axes of
  /// `PhysicalLayout.physicalShape`. What axis 1 means to the operator does not matter.
  case anyOrder
  /// Channel by channel, the channels being where this layout has them: through blocks where that
  /// is axis 1.
  case channels(DataLayout)
  /// As the operator's oneDNN primitive asks for: `ConvolutionPrimitives` names the layouts.
  case primitive

  /// Whether images of this rank may stand in blocks.
  func takesBlocks(rank: Int) -> Bool {
    switch self {
    case .rowMajor: false
    case .anyOrder, .primitive: true
    case .channels(let layout): layout.channelAxis(rank: rank) == 1
    }
  }
}
