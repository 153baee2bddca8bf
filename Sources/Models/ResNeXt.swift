extension Model {
  // Xie, Girshick, Dollar, Tu, He, "Aggregated Residual Transformations for Deep Neural Networks"
  // (CVPR 2017, arXiv 1611.05431), table 1: a `ResNet` whose 3 x 3 convolutions have groups.

  /// ResNeXt-50 (32 x 4d): 25,028,904 parameters.
  public static let resnext50 = ResNet(blocks: [3, 4, 6, 3], groups: 32, groupWidth: 4)
    .model("resnext50", "ResNet-50 in 32 groups of 4 channels")
  /// ResNeXt-101 (32 x 8d): 88,791,336 parameters.
  public static let resnext101 = ResNet(blocks: [3, 4, 23, 3], groups: 32, groupWidth: 8)
    .model("resnext101", "ResNet-101 in 32 groups of 8 channels")
  /// ResNeXt-152 (32 x 4d), the blocks of ResNet-152: 59,951,400 parameters.
  public static let resnext152 = ResNet(blocks: [3, 8, 36, 3], groups: 32, groupWidth: 4)
    .model("resnext152", "ResNet-152 in 32 groups of 4 channels")
}
