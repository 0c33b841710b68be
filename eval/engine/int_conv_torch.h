// A float32 convolution of one image by LibTorch: the float units' way where oneDNN is missing.
#pragma once

#include <cstdint>
#include <memory>

namespace squant::eval {

class TorchConv {
 public:
  // weights: [groups, O / groups, I / groups, kh, kw], copied.
  TorchConv(const float* weights, std::int64_t groups, std::int64_t out_channels,
            std::int64_t in_channels, std::int64_t kernel_h, std::int64_t kernel_w,
            std::int64_t stride_h, std::int64_t stride_w);
  ~TorchConv();
  // input: [H, W, I], padding included; output: [OH, OW, O], written. Thread-safe; runs on the
  // calling thread alone when that is part of a parallel region.
  void run(const float* input, std::int64_t height, std::int64_t width, float* output) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace squant::eval
