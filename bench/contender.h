// The ways to run a network over the same images that `squant-bench evaluate` compares.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "eval/models/models.h"

namespace squant::bench {

struct Images {
  std::vector<std::uint8_t> pixels;  // [count, H, W, C]
  std::int64_t count = 0;
};

// One of them, ready to be timed.
struct Contender {
  std::string engine;       // "float", "torch gpu fp16", "gpu w4a4"
  std::string images_from;  // where they are when a pass begins: "host", or "GPU"
  std::int64_t batch = 0;   // images that are computed at a time
  std::string kernels;      // of the layers, of an integer engine: "20 mma, 1 loops"
  // A pass over all images. It ends with their logits in host memory.
  std::function<void()> run_all;
};

struct ContenderOptions {
  std::vector<int> bits;  // of weights and activations, one quantized network each
  std::string kernel = "auto";
  std::int64_t batch = 0;  // 0: as the program chooses
  bool cpu = true;
  bool gpu = false;
  bool torch_gpu = false;  // after load_torch_cuda()
};

// On generated weights. `images` outlives the result.
std::vector<Contender> make_contenders(const eval::ModelInfo& info, const Images& images,
                                       const ContenderOptions& options);

}  // namespace squant::bench
