// The engine of a job, and how many images it takes at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "eval/cuda/cuda_device.h"
#include "eval/engine/engine.h"
#include "eval/engine/integer_engine.h"
#include "eval/evaluator.h"

namespace squant::eval {

struct PreparedEngine {
  std::unique_ptr<Engine> engine;
  CudaEngine* on_gpu = nullptr;  // `engine`, where it reads images that a GPU holds
  std::int64_t images_per_call = 1;
  std::int64_t memory_bytes = 0;          // about what keeping it costs
  std::vector<IntegerLayerFacts> layers;  // integer engines only
};

std::int64_t weight_bytes(const Model& model);

// weights: null for float weights. ranges: of the activations, where the job quantizes them.
// device: null for the CPU. batch_size: what the user asks for, 0 for what suits.
// Integer networks run on the device; float ones where LibTorch can use it, too.
PreparedEngine prepare_engine(const Job& job, const Model& model, const QuantizedWeights* weights,
                              std::vector<quant::ActivationRange> ranges, CudaDevice* device,
                              int batch_size);

}  // namespace squant::eval
