// swift-tools-version: 6.2

import Foundation
import PackageDescription

// A package of its own: whoever uses or tests the library does not fetch the benchmark harness.

// A package at a path goes by the name of its folder, whatever that is here.
let library = URL(fileURLWithPath: Context.packageDirectory)
  .deletingLastPathComponent().lastPathComponent

let package = Package(
  name: "swift-inplace-abn-benchmarks",
  platforms: [.macOS(.v13)],
  dependencies: [
    .package(path: ".."),
    // Without its traits it does not need jemalloc.
    .package(url: "https://github.com/ordo-one/benchmark", from: "1.29.0", traits: []),
  ],
  targets: [
    .executableTarget(
      name: "Layer",
      dependencies: [
        .product(name: "ABNKernels", package: library),
        .product(name: "ABNMeasuring", package: library),
        .product(name: "InPlaceABN", package: library),
        .product(name: "Benchmark", package: "benchmark"),
      ],
      path: "Layer",
      plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")])
  ],
  swiftLanguageModes: [.v6]
)
