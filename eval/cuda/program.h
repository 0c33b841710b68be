// The list of operations that a GPU runs for one network, with every constant that they read: made
// on the host from what the CPU's integer engine is made of, and the same numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "eval/cuda/operation_facts.h"
#include "eval/cuda/operations.h"
#include "eval/engine/engine.h"
#include "eval/engine/integer_engine.h"

namespace squant::eval::cuda {

using Operation = std::variant<ConvOp, DepthwiseOp, PixelConvOp, FloatConvOp, ElementwiseOp, PoolOp,
                               GlobalAverageOp, CopyOp, ShuffleOp, NormalizeOp, ChannelsLastOp>;

struct ProgramOptions {
  std::int64_t max_images = 256;                     // of a batch
  std::int64_t arena_bytes = std::int64_t{4} << 30;  // fewer images a batch rather than more
  bool tensor_cores = true;
};

// An operation, and whether the network runs it on pixels, on float32 input, or on both.
struct ProgramStep {
  Operation operation;
  bool on_pixels = true;
  bool on_input = true;
  int layer = -1;  // in layer order; -1: no layer
};

struct Program {
  std::vector<std::byte> constants;  // Memory::constants
  std::int64_t capacity = 1;         // images of a batch, at most
  std::int64_t arena_bytes = 0;      // of Memory::arena, for `capacity` images
  std::vector<ProgramStep> steps;    // in order
  std::int64_t logits = -1;          // float tensor [n, num_classes]
  std::int64_t num_classes = 0;
  Shape input;
  std::vector<IntegerLayerFacts> layers;  // what computes each layer on pixels
};

// Throws std::invalid_argument as IntegerEngine does.
Program make_program(const Model& model, const QuantizedWeights& weights,
                     const ActivationSettings& activations, const ProgramOptions& options = {});

// What computes an operation's sums: "mma" (8-bit tensor cores), "depthwise", "float64", "loops";
// empty for an operation without weights.
std::string operation_kernel(const Operation& operation);

OperationFacts operation_facts(const Operation& operation);

}  // namespace squant::eval::cuda
