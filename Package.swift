// swift-tools-version: 6.2

import Foundation
import PackageDescription

// One table says every room: module name, folder under Sources, and what it may look at.
// The order is the road that data travels; nothing imports a room below itself
// (Tests/LayoutTests checks it against the imports in the sources).

enum Room {
  case c(String, path: String, link: [String])
  case system(String, path: String, provider: String)
  case swift(String, path: String, needs: [Target.Dependency], resources: [Resource] = [])
  case kernels(String, path: String, flags: [String])
  case command(String, path: String, needs: [Target.Dependency])
}

let numerics = Target.Dependency.product(name: "Numerics", package: "swift-numerics")
let arguments = Target.Dependency.product(
  name: "ArgumentParser", package: "swift-argument-parser")
let yaml = Target.Dependency.product(name: "Yams", package: "Yams")

// Passes of the Swift optimizer that LLVM repeats: without them a set takes two thirds of the time.
let passesOff = [
  "redundant-load-elimination", "licm", "bcopts", "high-level-cse", "dead-store-elimination",
  "arc-sequence-opts", "compute-side-effects",
].flatMap { ["-Xllvm", "-sil-disable-pass=\($0)"] }

// One source, compiled once for each instruction set; ABNKernels picks one when a process starts.
#if arch(x86_64)
let wide = ["-D", "ABN_FMA", "-D", "ABN_F16C"]
let kernelSets: [Room] = [
  .kernels("ABNKernelsBaseline", path: "Baseline", flags: []),
  .kernels("ABNKernelsAVX2", path: "AVX2", flags: ["-Xcc", "-march=x86-64-v3"] + wide),
  .kernels(
    "ABNKernelsAVX512", path: "AVX512",
    flags: ["-Xcc", "-march=x86-64-v4", "-D", "ABN_AVX512"] + wide),
]
let kernelNames: [Target.Dependency] = [
  "ABNKernelsBaseline", "ABNKernelsAVX2", "ABNKernelsAVX512", "CKernels", "CCPUFeatures",
]
#else
let kernelSets: [Room] = [.kernels("ABNKernelsBaseline", path: "Baseline", flags: [])]
let kernelNames: [Target.Dependency] = ["ABNKernelsBaseline", "CKernels", "CCPUFeatures"]
#endif

// The kernels of CUDABackend, as text.
let cudaSources: [Resource] = [
  "accuracy.cu",
  "activations.cuh",
  "broadcast.cu",
  "cells.cu",
  "convolution.cu",
  "copy.cu",
  "counters.cu",
  "device.cuh",
  "dropout.cu",
  "flat.cuh",
  "fold.cu",
  "layer_common.cuh",
  "layer_general.cu",
  "layer_planar.cu",
  "layer_rows.cu",
  "lines.cuh",
  "loss.cu",
  "norm.cu",
  "pool.cu",
  "pool.cuh",
  "pool_gradient.cu",
  "random.cu",
  "reduce.cu",
  "reorder.cu",
  "resize.cu",
  "softmax.cu",
  "walk.cuh",
].map { .embedInCode("Resources/\($0)") }

let rooms: [Room] =
  kernelSets + [
    .c("CKernels", path: "CKernels", link: []),
    .c("CCPUFeatures", path: "CCPUFeatures", link: []),
    // oneDNN and the OpenMP library are loaded when a program starts: Sources/CParallel/README.md.
    .c("CDNNL", path: "CDNNL", link: ["dl"]),
    .c("CParallel", path: "CParallel", link: ["dl", "pthread"]),
    .c("CJPEG", path: "CJPEG", link: ["jpeg"]),
    .c("CPNG", path: "CPNG", link: ["png16"]),
    .system("CZlib", path: "CZlib", provider: "zlib1g-dev"),
    .swift("ABNTensors", path: "Tensors", needs: []),
    .swift("ABNActivations", path: "Activations", needs: []),
    .swift("ABNKernels", path: "ABNKernels", needs: ["ABNActivations"] + kernelNames),
    .swift("ABNMeasuring", path: "Measuring", needs: ["ABNKernels"] + kernelNames),
    .swift("ABNGraph", path: "Graph", needs: ["ABNTensors"]),
    .swift(
      "ABNOperators", path: "Operators", needs: ["ABNGraph", "ABNActivations", "ABNTensors"]),
    .swift(
      "ABNPasses", path: "Passes",
      needs: ["ABNOperators", "ABNGraph", "ABNActivations", "ABNTensors"]),
    .swift(
      "ABNLayers", path: "Layers",
      needs: ["ABNOperators", "ABNGraph", "ABNActivations", "ABNTensors"]),
    .swift(
      "ABNOptimizers", path: "Optimizers",
      needs: ["ABNLayers", "ABNPasses", "ABNOperators", "ABNGraph", "ABNTensors"]),
    .swift("ABNPlanning", path: "Planning", needs: []),
    .swift(
      "ABNRuntime", path: "Runtime",
      needs: ["ABNPlanning", "ABNGraph", "ABNTensors"]),
    .swift("ABNDNNL", path: "DNNL", needs: ["ABNTensors", "CDNNL"]),
    .swift(
      "ABNCPUBackend", path: "CPUBackend",
      needs: [
        "ABNDNNL", "ABNRuntime", "ABNPlanning", "ABNPasses", "ABNOperators", "ABNGraph",
        "ABNMeasuring", "ABNKernels", "ABNActivations", "ABNTensors", "CParallel", numerics,
      ]),
    .swift("ABNFormats", path: "Formats", needs: ["ABNTensors", "CZlib"]),
    .swift(
      "ABNImages", path: "Images", needs: ["ABNFormats", "ABNTensors", "CJPEG", "CPNG"]),
    // CUDA's libraries are looked for when a card is asked for: Sources/CUDABackend/README.md.
    .swift(
      "ABNCUDABackend", path: "CUDABackend",
      needs: [
        "ABNFormats", "ABNRuntime", "ABNPlanning", "ABNPasses", "ABNOperators", "ABNGraph",
        "ABNActivations", "ABNTensors",
      ],
      resources: cudaSources),
    .swift(
      "ABNData", path: "Data", needs: ["ABNImages", "ABNFormats", "ABNTensors"],
      resources: [.embedInCode("Resources/digits.bin")]),
    .swift(
      "ABNModels", path: "Models",
      needs: ["ABNLayers", "ABNOperators", "ABNGraph", "ABNActivations", "ABNTensors"]),
    .swift(
      "ABNModelFiles", path: "ModelFiles",
      needs: [
        "ABNModels", "ABNFormats", "ABNData", "ABNImages", "ABNRuntime", "ABNLayers",
        "ABNOperators", "ABNGraph", "ABNActivations", "ABNTensors",
      ]),
    .swift(
      "ABNInspection", path: "Inspection",
      needs: [
        "ABNModelFiles", "ABNModels", "ABNFormats", "ABNRuntime", "ABNPlanning", "ABNOptimizers",
        "ABNLayers", "ABNOperators", "ABNGraph", "ABNActivations", "ABNTensors",
      ],
      resources: ["page.css", "timeline.css", "timeline.html", "timeline.js"].map {
        .embedInCode("Resources/\($0)")
      }),
    .swift(
      "ABNTraining", path: "Training",
      needs: [
        "ABNInspection", "ABNModelFiles", "ABNModels", "ABNFormats", "ABNImages", "ABNData",
        "ABNRuntime",
        "ABNOptimizers", "ABNLayers", "ABNOperators", "ABNGraph", "ABNActivations", "ABNTensors",
      ]),
    .swift(
      "ABNReporting", path: "Reporting",
      needs: ["ABNTraining", "ABNInspection", "ABNModelFiles", "ABNFormats", "ABNTensors"],
      resources: [
        "chart.js", "classes.js", "compare.js", "costs.js", "parts.js", "report.css",
        "report.html", "report.js",
      ].map { .embedInCode("Resources/\($0)") }),
    .swift(
      "ABNChecking", path: "Checking",
      needs: [
        "ABNModels", "ABNRuntime", "ABNOptimizers", "ABNPasses", "ABNLayers", "ABNOperators",
        "ABNGraph", "ABNActivations", "ABNTensors",
      ]),
    .swift(
      "InPlaceABN", path: "InPlaceABN",
      needs: [
        "ABNReporting", "ABNTraining", "ABNInspection", "ABNModelFiles", "ABNModels",
        "ABNFormats", "ABNData", "ABNCPUBackend", "ABNCUDABackend", "ABNRuntime", "ABNPlanning",
        "ABNOptimizers",
        "ABNPasses", "ABNLayers", "ABNOperators", "ABNGraph", "ABNActivations", "ABNTensors",
      ]),
    .command(
      "abn", path: "abn",
      needs: [
        "InPlaceABN", "ABNChecking", "ABNMeasuring", "ABNKernels", "ABNImages", arguments, yaml,
      ]),
  ]

/// The READMEs of a room: files that the build is told to leave alone.
func readmes(_ path: String) -> [String] {
  ["README.md", "Resources/README.md"].filter {
    FileManager.default.fileExists(atPath: "\(Context.packageDirectory)/Sources/\(path)/\($0)")
  }
}

// Small programs that the README and the documentation quote; the tests run them.
// They see what users see: no declarations of package access.
let examples: [Target] = ["DocumentedExample", "GAN", "OwnNetwork", "OwnOperator"].map { name in
  .executableTarget(
    name: name, dependencies: ["InPlaceABN"], path: "Examples/\(name)", packageAccess: false)
}

func target(_ room: Room) -> Target {
  switch room {
  case .c(let name, let path, let link):
    return .target(
      name: name, path: "Sources/\(path)", exclude: readmes(path),
      linkerSettings: link.map { .linkedLibrary($0) })
  case .system(let name, let path, let provider):
    return .systemLibrary(name: name, path: "Sources/\(path)", providers: [.apt([provider])])
  case .swift(let name, let path, let needs, let resources):
    return .target(
      name: name, dependencies: needs, path: "Sources/\(path)", exclude: readmes(path),
      resources: resources)
  case .kernels(let name, let path, let flags):
    // Optimized as one piece in every configuration: unoptimized, a vector step is a call. Of `Builtin`
    // and of the optimizer's passes, Sources/Kernels/README.md says what and why.
    return .target(
      name: name, dependencies: ["CKernels"], path: "Sources/Kernels/\(path)",
      swiftSettings: [
        .enableExperimentalFeature("BuiltinModule"),
        .unsafeFlags(
          [
            "-O", "-whole-module-optimization", "-num-threads", "2", "-Xfrontend", "-gnone",
          ] + passesOff + flags),
      ])
  case .command(let name, let path, let needs):
    return .executableTarget(
      name: name, dependencies: needs, path: "Sources/\(path)", exclude: readmes(path))
  }
}

// Test rooms mirror the rooms; Support holds what several of them use.
let testRooms = [
  "Command", "CPUBackend", "CUDABackend", "Data", "Formats", "Golden", "Graph", "Images",
  "Inspection",
  "Layer", "Layout",
  "Model", "ModelFiles", "Operator", "Optimizer", "Pass", "Planning", "Reporting", "Runtime",
  "Snapshot",
  "Training",
]
// What some of them run beside the libraries.
let programsTested: [String: [Target.Dependency]] = [
  "Command": ["abn", "ForkedRun", arguments], "Golden": ["DocumentedExample"],
  "Operator": ["OwnOperator"], "Optimizer": ["GAN"], "Training": ["OwnNetwork"],
]

var tests: [Target] = [
  .target(name: "CTestSupport", path: "Tests/CSupport"),
  .executableTarget(
    name: "ForkedRun", dependencies: ["InPlaceABN", "CTestSupport"], path: "Tests/ForkedRun"),
  .target(
    name: "ABNTestSupport", dependencies: ["InPlaceABN", "ABNChecking", "CTestSupport", "CZlib"],
    path: "Tests/Support"),
  // Optimized: the layer that the kernels are held against is a loop over elements.
  .testTarget(
    name: "ABNKernelsTests", dependencies: ["ABNKernels", "ABNMeasuring"],
    path: "Tests/ABNKernelsTests", swiftSettings: [.unsafeFlags(["-O"])]),
]
for room in testRooms {
  var needs: [Target.Dependency] = ["InPlaceABN", "ABNTestSupport", "CTestSupport", "CZlib"]
  needs += programsTested[room] ?? []
  tests.append(
    .testTarget(
      name: "ABN\(room)Tests", dependencies: needs, path: "Tests/\(room)Tests",
      exclude: room == "Snapshot" ? ["Snapshots"] : []))
}

// Programs of libFuzzer: `scripts/fuzz` sets the variable, and the sanitizers for all rooms.
if Context.environment["ABN_FUZZ"] != nil {
  tests.append(
    .executableTarget(
      name: "FuzzWeights", dependencies: ["ABNFormats", "ABNTensors", "CZlib"],
      path: "Tests/Fuzzing/Weights"))
  tests.append(
    .executableTarget(
      name: "FuzzPictures", dependencies: ["ABNImages", "ABNTensors", "CZlib"],
      path: "Tests/Fuzzing/Pictures"))
}

let package = Package(
  name: "swift-inplace-abn",
  products: [
    .library(name: "InPlaceABN", targets: ["InPlaceABN"]),
    .library(name: "ABNKernels", targets: ["ABNKernels"]),
    .library(name: "ABNMeasuring", targets: ["ABNMeasuring"]),
    .executable(name: "abn", targets: ["abn"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
    .package(url: "https://github.com/apple/swift-numerics", from: "1.0.0"),
    .package(url: "https://github.com/jpsim/Yams.git", from: "6.0.0"),
  ],
  targets: rooms.map(target) + examples + tests,
  swiftLanguageModes: [.v6]
)
