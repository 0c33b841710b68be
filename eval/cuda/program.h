// The list of operations that a GPU runs for one network, with every constant that they read: made
// on the host from what the CPU's integer engine is made of, and the same numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

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

struct Program {
  std::vector<std::byte> constants;  // Memory::constants
  std::int64_t capacity = 1;         // images of a batch, at most
  std::int64_t arena_bytes = 0;      // of Memory::arena, for `capacity` images
  // In order. Both leave the logits, float [n, num_classes], at `logits`.
  std::vector<Operation> on_pixels, on_input;
  std::int64_t logits = -1;
  std::int64_t num_classes = 0;
  Shape input;
  std::vector<std::string> layer_names;   // as for the next two: in layer order
  std::vector<IntegerLayerFacts> layers;  // what computes them on pixels
};

// Throws std::invalid_argument as IntegerEngine does.
Program make_program(const Model& model, const QuantizedWeights& weights,
                     const ActivationSettings& activations, const ProgramOptions& options = {});

// What computes an operation's sums: "mma" (8-bit tensor cores), "depthwise", "pixels", "float64",
// "loops"; empty for an operation without weights.
std::string operation_kernel(const Operation& operation);

}  // namespace squant::eval::cuda
