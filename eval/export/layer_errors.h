// What quantization did to one tensor, added up while it is quantized a few channels at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "quant/squant.h"

namespace squant::eval {

class LayerErrors {
 public:
  explicit LayerErrors(const quant::SquantOptions& options)
      : options_(options), num_threads_(options.num_threads) {
    options_.num_threads = 1;  // channels share the threads here
  }

  // Channels that are finished: weights, codes, scale and zero_point. What comes out does not
  // depend on the number of threads.
  void add(const quant::SquantTensor& channels);

  // Of all weights so far, in code steps.
  double rms_error() const;
  double max_kernel_error() const { return sums_.max_kernel; }
  double max_channel_error() const { return sums_.max_channel; }
  // 10 log10(sum of squared weights / sum of squared differences from the restored ones), dB;
  // infinite when there is no difference.
  double sqnr_db() const;

 private:
  struct Channel {
    quant::SquantErrors errors;
    double signal = 0;  // sum of squared weights
    double noise = 0;   // sum of squared differences
  };
  Channel measure(const quant::SquantTensor& channels, std::int64_t row) const;

  quant::SquantOptions options_;
  int num_threads_;
  quant::SquantErrors sums_;
  double signal_ = 0;
  double noise_ = 0;
  std::int64_t num_weights_ = 0;
  std::vector<Channel> channels_;
};

}  // namespace squant::eval
