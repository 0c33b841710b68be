// What quantize_checkpoint is going to do, decided from the names and shapes alone.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "eval/checkpoint/safetensors_writer.h"
#include "eval/checkpoint/tensor_file.h"
#include "eval/export/quantize_checkpoint.h"

namespace squant::eval {

struct QuantizePlan {
  std::vector<bool> quantized;            // of each of the input's tensors
  std::vector<SafetensorsField> outputs;  // all tensors to write
  std::vector<std::string> notes;         // what was left as it is though a name asked for it
};

inline std::string codes_name(const std::string& tensor) { return tensor + ".codes"; }
inline std::string scale_name(const std::string& tensor) { return tensor + ".scale"; }
inline std::string zero_point_name(const std::string& tensor) { return tensor + ".zero_point"; }

// Throws std::invalid_argument: a regular expression that is none or matches no name, nothing to
// quantize, an output channel of more than quant::kMaxRow weights, two output tensors of one name.
QuantizePlan plan_quantization(const TensorFile& input, const QuantizeRequest& request);

}  // namespace squant::eval
