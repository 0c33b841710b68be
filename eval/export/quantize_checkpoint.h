// squant-quantize: a checkpoint on disk in, its quantized weights on disk out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "quant/squant.h"

namespace squant::eval {

struct QuantizeRequest {
  std::string input;   // anything that open_tensor_file reads
  std::string output;  // a .safetensors file
  quant::SquantOptions options;
  std::string include;  // ECMAScript regular expression, searched in names; empty: "weight$"
  std::string exclude;  // ... of names that stay as they are; empty: none
  bool dequantize = false;
  bool on_cuda = false;
};

// What quantization did to one tensor.
struct QuantizedLayer {
  std::string name;
  std::string dtype;  // of the input
  std::vector<std::int64_t> shape;
  // Errors in units of one code step (quant::SquantErrors).
  double rms_error = 0;
  double max_kernel_error = 0;
  double max_channel_error = 0;
  // 10 log10(sum of squared weights / sum of squared differences from the restored ones), dB;
  // infinite when every weight is restored exactly.
  double sqnr_db = 0;
};

struct QuantizeReport {
  std::vector<QuantizedLayer> layers;  // by name
  std::size_t num_unchanged = 0;
  std::vector<std::string> notes;  // what a user should know, a line each
  std::string output;              // where the file is: symbolic links resolved
  bool replaced_output = false;    // a file of that name was there
  std::uint64_t input_bytes = 0;
  std::uint64_t output_bytes = 0;
};

// Bytes of the input's tensors that are done, and all of them.
using QuantizeProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

// What `request.output` cannot be: the input itself, no regular file, in no folder. Or: a regular
// expression that is none or that no tensor's name matches, a tensor that cannot be quantized, an
// input that cannot be read or is changed meanwhile. All found before the output appears.
//
// Quantizes every tensor of rank >= 2 and of floats whose name `include` finds and `exclude` does
// not, a few output channels at a time, and copies all others byte for byte. The output, in the
// order that SafetensorsWriter gives it:
//   NAME.codes int8 [shape], NAME.scale and NAME.zero_point float32 [O], instead of NAME; or
//   NAME float32 [shape] = (code + zero_point) / scale, with `dequantize`.
// Metadata: the input's, and settings and digests under "squant." (docs/quantize.md). The same
// input and settings give the same bytes, whatever the device and the number of threads.
//
// Throws std::invalid_argument for the above, std::system_error when the output cannot be written.
// In both cases there is no output, or the old one as it was.
QuantizeReport quantize_checkpoint(const QuantizeRequest& request,
                                   const QuantizeProgress& progress = {});

}  // namespace squant::eval
