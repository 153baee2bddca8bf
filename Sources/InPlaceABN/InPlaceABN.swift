// The umbrella: everything that a program which builds, trains and saves networks needs.
@_exported import ABNActivations
@_exported import ABNCPUBackend
@_exported import ABNCUDABackend
@_exported import ABNData
@_exported import ABNFormats
@_exported import ABNGraph
@_exported import ABNInspection
@_exported import ABNLayers
@_exported import ABNModelFiles
@_exported import ABNModels
@_exported import ABNOperators
@_exported import ABNOptimizers
@_exported import ABNPasses
@_exported import ABNPlanning
@_exported import ABNRuntime
@_exported import ABNTensors
@_exported import ABNTraining
