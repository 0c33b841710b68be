#include "eval/export/quantize_checkpoint.h"

#include <squant_build_info.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <system_error>
#include <utility>

#include "eval/checkpoint/element_type.h"
#include "eval/checkpoint/quote.h"
#include "eval/checkpoint/safetensors_writer.h"
#include "eval/checkpoint/tensor_file.h"
#include "eval/export/layer_errors.h"
#include "eval/export/quantize_plan.h"
#include "eval/export/quantizer.h"
#include "eval/export/row_threads.h"
#include "eval/export/source_digest.h"

namespace squant::eval {
namespace {

namespace fs = std::filesystem;

// What is in memory at a time: 16 MiB of float32, or one output channel where that is more.
constexpr std::int64_t kChunkWeights = std::int64_t{4} << 20;
constexpr const char* kSourceDigestKey = "squant.source_sha256";
constexpr const char* kShardDigestsKey = "squant.shards_sha256";
const std::string kNoDigestYet(64, '0');

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw std::invalid_argument(where + ": " + what);
}

// Where the output goes: a symbolic link is followed, as every program does that writes a file.
fs::path resolve_output(const std::string& output) {
  std::error_code error;
  fs::path path = output;
  if (fs::is_symlink(path, error)) path = fs::weakly_canonical(path, error);
  if (!path.has_filename()) fail(quote(output), "is no name of a file to write");
  const fs::path folder = path.has_parent_path() ? path.parent_path() : ".";
  if (!fs::is_directory(folder, error))
    fail(output, "cannot be written: there is no folder " + folder.string());
  if (fs::exists(path, error) && !fs::is_regular_file(path, error))
    fail(output, "cannot be written: it is there and no regular file");
  return path;
}

void check_is_no_input(const fs::path& output, const TensorFile& input) {
  for (const std::string& path : input.paths()) {
    std::error_code error;
    if (fs::equivalent(path, output, error) && !error)
      fail(output.string(), "is the input " + path + " itself, which is never overwritten");
  }
}

// The lines of sha256sum.
std::string shard_digests(const std::vector<std::string>& paths,
                          const std::vector<std::string>& digests) {
  std::string lines;
  for (std::size_t i = 1; i < paths.size(); ++i)
    lines += digests[i] + "  " + fs::path(paths[i]).filename().string() + "\n";
  return lines;
}

std::map<std::string, std::string> output_metadata(const TensorFile& input,
                                                   const QuantizePlan& plan,
                                                   const QuantizeRequest& request) {
  std::map<std::string, std::string> metadata = input.metadata();
  std::erase_if(metadata, [](const auto& item) { return item.first.starts_with("squant."); });
  metadata.emplace("format", "pt");  // what transformers asks of a file
  nlohmann::json names = nlohmann::json::array();
  for (std::size_t i = 0; i < plan.quantized.size(); ++i) {
    if (plan.quantized[i]) names.push_back(input.tensors()[i].name);
  }
  std::sort(names.begin(), names.end());
  const auto& paths = input.paths();
  metadata["squant.version"] = SQUANT_VERSION;
  metadata["squant.content"] = request.dequantize ? "dequantized" : "codes";
  metadata["squant.bits"] = std::to_string(request.options.bits);
  metadata["squant.mode"] = quant::mode_name(request.options.mode);
  metadata["squant.rounding"] = quant::rounding_name(request.options.rounding);
  metadata["squant.tensors"] = names.dump();
  metadata["squant.source"] = fs::path(paths[0]).filename().string();
  metadata[kSourceDigestKey] = kNoDigestYet;
  if (paths.size() > 1) {
    metadata[kShardDigestsKey] =
        shard_digests(paths, std::vector<std::string>(paths.size(), kNoDigestYet));
  }
  return metadata;
}

// The first `count` elements of a buffer that never shrinks.
template <typename T>
std::span<T> reserve(std::vector<T>& buffer, std::int64_t count) {
  const auto size = static_cast<std::size_t>(count);
  if (buffer.size() < size) buffer.resize(size);
  return {buffer.data(), size};
}

class Export {
 public:
  Export(TensorFile& input, SafetensorsWriter& output, const QuantizeRequest& request,
         Quantizer& quantizer, const QuantizeProgress& progress)
      : input_(input),
        output_(output),
        request_(request),
        quantizer_(quantizer),
        progress_(progress) {
    for (const StoredTensor& tensor : input.tensors()) total_bytes_ += bytes_of(tensor);
  }

  void copy(std::size_t index) {
    const StoredTensor& tensor = input_.tensors()[index];
    for_each_chunk(tensor, [&](std::int64_t first_row, std::int64_t num_rows) {
      output_.append(tensor.name, input_.rows(index, first_row, num_rows));
    });
  }

  QuantizedLayer quantize(std::size_t index) {
    const StoredTensor& tensor = input_.tensors()[index];
    LayerErrors errors(request_.options);
    for_each_chunk(tensor, [&](std::int64_t first_row, std::int64_t num_rows) {
      const quant::SquantTensor chunk = quantize_rows(index, first_row, num_rows);
      errors.add(chunk);
      write(chunk);
    });
    return {tensor.name,        std::string(tensor.type.dtype), tensor.shape,
            errors.rms_error(), errors.max_kernel_error(),      errors.max_channel_error(),
            errors.sqnr_db()};
  }

 private:
  static std::uint64_t bytes_of(const StoredTensor& tensor) {
    return static_cast<std::uint64_t>(tensor.count) * tensor.type.size_bytes;
  }

  template <typename Work>
  void for_each_chunk(const StoredTensor& tensor, Work work) {
    if (tensor.count == 0) return;
    const std::int64_t most = std::max<std::int64_t>(1, kChunkWeights / tensor.row_size());
    for (std::int64_t row = 0; row < tensor.num_rows(); row += most) {
      const std::int64_t num_rows = std::min(most, tensor.num_rows() - row);
      work(row, num_rows);
      done_bytes_ +=
          static_cast<std::uint64_t>(num_rows * tensor.row_size()) * tensor.type.size_bytes;
      if (progress_) progress_(done_bytes_, total_bytes_);
    }
  }

  // In the input's bytes, where it has such floats, or widened into the buffer.
  const float* floats(const StoredTensor& tensor, std::span<const std::byte> bytes,
                      std::int64_t count) {
    if (tensor.type.kind == ElementKind::kFloat32 &&
        reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(float) == 0) {
      return reinterpret_cast<const float*>(bytes.data());
    }
    const std::span<float> weights = reserve(weights_, count);
    to_float32(tensor.type.kind, bytes.data(), count, weights.data());
    return weights.data();
  }

  // The rows as a tensor of their own; its outputs are the buffers.
  quant::SquantTensor quantize_rows(std::size_t index, std::int64_t first_row,
                                    std::int64_t num_rows) {
    const StoredTensor& tensor = input_.tensors()[index];
    quant::WeightShape shape = quant::weight_shape(tensor.shape, tensor.name);
    shape.out = num_rows;
    const quant::SquantTensor chunk{
        tensor.name,
        shape,
        floats(tensor, input_.rows(index, first_row, num_rows), shape.size()),
        reserve(codes_, shape.size()).data(),
        reserve(scale_, num_rows).data(),
        reserve(zero_point_, num_rows).data()};
    try {
      quantizer_.quantize(chunk);
    } catch (const std::invalid_argument&) {
      explain_failure(chunk, first_row);
      throw;
    }
    return chunk;
  }

  // Says which channel of the whole tensor it was. Returns when it finds none.
  void explain_failure(const quant::SquantTensor& chunk, std::int64_t first_row) {
    const std::int64_t row_size = chunk.shape.row();
    for (std::int64_t row = 0; row < chunk.shape.out; ++row) {
      const std::span<const float> weights(chunk.weights + row * row_size,
                                           static_cast<std::size_t>(row_size));
      const auto bad = std::find_if_not(weights.begin(), weights.end(),
                                        [](float weight) { return std::isfinite(weight); });
      const auto [low, high] = std::minmax_element(weights.begin(), weights.end());
      std::string why;
      if (bad != weights.end()) {
        why = "a weight is " + std::to_string(*bad);
      } else if (!std::isfinite(*high - *low)) {
        why = "the weights' range overflows float32";
      } else {
        continue;
      }
      fail(input_.paths().front(),
           "tensor " + quote(chunk.name) + ", output channel " + std::to_string(first_row + row) +
               " cannot be quantized: " + why + " (--exclude leaves the tensor as it is)");
    }
  }

  void write(const quant::SquantTensor& chunk) {
    if (request_.dequantize) {
      const std::span<float> restored = reserve(restored_, chunk.shape.size());
      for_each_piece(chunk, request_.options.num_threads,
                     [&](std::int64_t row, std::int64_t count) {
                       quant::dequantize(rows_of(chunk, row, count),
                                         restored.data() + row * chunk.shape.row(), 1);
                     });
      output_.append(chunk.name, std::as_bytes(restored));
      return;
    }
    const auto size = static_cast<std::size_t>(chunk.shape.size());
    const auto rows = static_cast<std::size_t>(chunk.shape.out);
    output_.append(codes_name(chunk.name), std::as_bytes(std::span(chunk.codes, size)));
    output_.append(scale_name(chunk.name), std::as_bytes(std::span(chunk.scale, rows)));
    output_.append(zero_point_name(chunk.name), std::as_bytes(std::span(chunk.zero_point, rows)));
  }

  TensorFile& input_;
  SafetensorsWriter& output_;
  const QuantizeRequest& request_;
  Quantizer& quantizer_;
  const QuantizeProgress& progress_;
  std::uint64_t done_bytes_ = 0;
  std::uint64_t total_bytes_ = 0;
  std::vector<float> weights_, restored_, scale_, zero_point_;
  std::vector<std::int8_t> codes_;
};

std::uint64_t size_of(const std::vector<std::string>& paths) {
  std::uint64_t size = 0;
  for (const std::string& path : paths) {
    std::error_code ignored;
    size += fs::file_size(path, ignored);
  }
  return size;
}

}  // namespace

QuantizeReport quantize_checkpoint(const QuantizeRequest& request,
                                   const QuantizeProgress& progress) {
  const fs::path path = resolve_output(request.output);
  const auto quantizer = make_quantizer(request.options, request.on_cuda);
  const auto input =
      open_tensor_file(request.input, path.has_parent_path() ? path.parent_path().string() : ".");
  check_is_no_input(path, *input);
  QuantizePlan plan = plan_quantization(*input, request);

  QuantizeReport report;
  report.output = path.string();
  std::error_code ignored;
  report.replaced_output = fs::exists(path, ignored);
  report.input_bytes = size_of(input->paths());
  report.notes = input->notes();
  report.notes.insert(report.notes.end(), plan.notes.begin(), plan.notes.end());

  SafetensorsWriter output(path.string(), std::move(plan.outputs),
                           output_metadata(*input, plan, request));
  SourceDigest digest(input->paths());
  Export exported(*input, output, request, *quantizer, progress);
  for (std::size_t i = 0; i < plan.quantized.size(); ++i) {
    if (plan.quantized[i]) {
      report.layers.push_back(exported.quantize(i));
    } else {
      ++report.num_unchanged;
      exported.copy(i);
    }
  }
  std::sort(report.layers.begin(), report.layers.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });

  const std::vector<std::string> digests = digest.finish();
  output.set_metadata(kSourceDigestKey, digests[0]);
  if (digests.size() > 1)
    output.set_metadata(kShardDigestsKey, shard_digests(input->paths(), digests));
  output.publish();
  report.output_bytes = output.size_bytes();
  return report;
}

}  // namespace squant::eval
