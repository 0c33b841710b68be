// What decides a result, as one hash. Two jobs with one identity give the same counts, on whatever
// machine they run; a job whose identity is in the database is not run again. What decides and what
// does not: docs/experiments.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "eval/graph/graph.h"
#include "quant/squant.h"

namespace squant::runner {

struct IdentityInput {
  std::string model;
  std::string checkpoint_sha256;
  int weight_bits = 0;
  int activation_bits = 0;
  // Of quantized weights; ignored for a float network.
  quant::Mode mode = quant::Mode::kEKC;
  quant::Rounding rounding = quant::Rounding::kCurrent;
  // Of quantized activations; ignored for float ones.
  double sigma = 0;
  std::int64_t calibration_images = 0;
  std::string engine;  // "integer", "float", "simulated"
  int numerics_version = 0;

  // What is evaluated; ignored where only the quantization is timed.
  bool evaluate = true;
  std::string dataset_fingerprint;
  eval::Shape input;
  std::string
      crop;  // "0.875": resized to int(size / 0.875), then cropped; "none": pixels as they are
  std::vector<double> mean, stddev;
  std::string decoder;  // "nvJPEG 13.3.2"; empty: libjpeg, or there is nothing to decode
  std::int64_t num_images = 0;

  int repeats = 0;  // of a timed quantization; ignored where images are evaluated
};

struct Identity {
  std::string config_json;  // what was hashed for `identity`: canonical, keys sorted, floats exact
  std::string identity;     // hex SHA-256
  std::string evaluation;  // the same without num_images: tiles are shared between jobs that differ
                           // in that alone
};

Identity make_identity(const IdentityInput& input);

}  // namespace squant::runner
