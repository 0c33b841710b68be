#include "eval/cuda/device_program.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "eval/cuda/device_time.h"
#include "eval/cuda/elements.h"
#include "eval/cuda/launch.h"

namespace squant::eval::cuda {
namespace {

template <class Op>
cudaError_t launch(const Op& op, const Memory& memory, std::int64_t n, cudaStream_t stream) {
  if constexpr (requires { op.tensor_cores; }) {
    if (op.tensor_cores) return launch_tiles(op, memory, n, stream);
  }
  return launch_elements(op, memory, n, stream);
}

void launch_step(const ProgramStep& step, const Memory& memory, std::int64_t n,
                 cudaStream_t stream) {
  SQ_CUDA_CHECK(
      std::visit([&](const auto& op) { return launch(op, memory, n, stream); }, step.operation));
}

// A tensor of the arena: offset and bytes.
struct Region {
  std::int64_t offset;
  std::int64_t size_bytes;
};

std::vector<Region> outputs_of(const Outputs& out, std::int64_t elements,
                               const std::vector<std::byte>& constants) {
  std::vector<Region> regions;
  if (out.values >= 0) regions.push_back({out.values, 4 * elements});
  for (std::int32_t i = 0; i < out.num_codes; ++i) {
    CodeOutput code;
    std::memcpy(&code,
                constants.data() + out.codes + i * static_cast<std::int64_t>(sizeof(CodeOutput)),
                sizeof code);
    regions.push_back({code.tensor, elements});
  }
  return regions;
}

// What a layer's input can be: bytes at `data` in device memory.
struct InputBytes {
  unsigned char* data = nullptr;
  std::int32_t lowest = 0, highest = 255;
};

std::vector<unsigned char> mixed_bytes(const InputBytes& input, std::size_t count) {
  std::vector<unsigned char> bytes(count);
  std::uint32_t state = 1;
  const auto range = static_cast<std::uint32_t>(input.highest - input.lowest + 1);
  for (unsigned char& byte : bytes) {
    state = state * 1664525U + 1013904223U;
    byte =
        static_cast<unsigned char>(input.lowest + static_cast<std::int32_t>((state >> 16) % range));
  }
  return bytes;
}

// One layer of a program, computed in two ways.
template <class Op>
class TileCheck {
 public:
  TileCheck(const Op& op, const std::vector<std::byte>& constants, const Memory& memory,
            std::int64_t n, cudaStream_t stream)
      : op_(op),
        memory_(memory),
        n_(n),
        stream_(stream),
        elements_(n * output_elements(op.shape)),
        outputs_(outputs_of(op.out, elements_, constants)) {}

  bool agrees(const InputBytes& input) const {
    const auto size = static_cast<std::size_t>(n_ * image_elements(op_.shape));
    for (const std::int32_t extreme : {input.lowest, input.highest}) {
      SQ_CUDA_CHECK(cudaMemsetAsync(input.data, extreme & 0xFF, size, stream_));
      if (results(true) != results(false)) return false;
    }
    const std::vector<unsigned char> mixed = mixed_bytes(input, size);
    SQ_CUDA_CHECK(cudaMemcpyAsync(input.data, mixed.data(), size, cudaMemcpyHostToDevice, stream_));
    return results(true) == results(false);
  }

 private:
  std::vector<unsigned char> results(bool in_tiles) const {
    if (op_.out.residual >= 0) {
      fill({op_.out.residual, 4 * elements_}, 0);
    }
    std::size_t total = 0;
    for (const Region& output : outputs_) {
      fill(output, 0xA5);
      total += static_cast<std::size_t>(output.size_bytes);
    }
    SQ_CUDA_CHECK(in_tiles ? launch_tiles(op_, memory_, n_, stream_)
                           : launch_elements(op_, memory_, n_, stream_));
    std::vector<unsigned char> bytes(total);
    unsigned char* to = bytes.data();
    for (const Region& output : outputs_) {
      const auto size = static_cast<std::size_t>(output.size_bytes);
      SQ_CUDA_CHECK(cudaMemcpyAsync(to, memory_.arena + output.offset, size, cudaMemcpyDeviceToHost,
                                    stream_));
      to += size;
    }
    SQ_CUDA_CHECK(cudaStreamSynchronize(stream_));
    return bytes;
  }

  void fill(const Region& region, int byte) const {
    SQ_CUDA_CHECK(cudaMemsetAsync(memory_.arena + region.offset, byte,
                                  static_cast<std::size_t>(region.size_bytes), stream_));
  }

  const Op& op_;
  const Memory memory_;
  const std::int64_t n_;
  const cudaStream_t stream_;
  const std::int64_t elements_;
  const std::vector<Region> outputs_;
};

}  // namespace

DeviceProgram::DeviceProgram(Program program, cudaStream_t stream) : program_(std::move(program)) {
  constants_.reserve(program_.constants.size());
  SQ_CUDA_CHECK(cudaMemcpyAsync(constants_.data(), program_.constants.data(),
                                program_.constants.size(), cudaMemcpyHostToDevice, stream));
  SQ_CUDA_CHECK(cudaStreamSynchronize(stream));
}

const float* DeviceProgram::enqueue(unsigned char* arena, const std::uint8_t* pixels,
                                    const float* input, std::int64_t n, cudaStream_t stream) const {
  Memory where = memory(arena);
  where.pixels = pixels;
  where.input = input;
  for (const ProgramStep& step : program_.steps) {
    if (pixels != nullptr ? step.on_pixels : step.on_input) launch_step(step, where, n, stream);
  }
  return tensor_at<float>(where, program_.logits);
}

std::vector<CudaOperationTime> DeviceProgram::time_operations(unsigned char* arena,
                                                              const std::uint8_t* pixels,
                                                              std::int64_t n, int repeats,
                                                              cudaStream_t stream) const {
  constexpr int kInARow = 5;  // launches between two events: their own time is spread over them
  Memory where = memory(arena);
  where.pixels = pixels;
  std::vector<CudaOperationTime> times;
  for (const ProgramStep& step : program_.steps) {
    if (!step.on_pixels) continue;
    const double elapsed_ms = median_ms(repeats, stream, [&] {
      for (int i = 0; i < kInARow; ++i) launch_step(step, where, n, stream);
    });
    times.push_back({operation_facts(step.operation), step.layer, 1e3 * elapsed_ms / kInARow});
  }
  return times;
}

std::vector<int> DeviceProgram::check_tiles(unsigned char* arena, cudaStream_t stream) {
  // Two images where there is room: tiles then cross from one to the other.
  const std::int64_t n = std::min<std::int64_t>(program_.capacity, 2);
  DeviceBuffer pixels;
  pixels.reserve(static_cast<std::size_t>(n * program_.input.size()));
  Memory where = memory(arena);
  where.pixels = pixels.data();
  std::vector<int> refused;
  for (ProgramStep& step : program_.steps) {
    const auto check = [&](auto& op, const InputBytes& input) {
      if (op.tensor_cores && !TileCheck(op, program_.constants, where, n, stream).agrees(input)) {
        op.tensor_cores = false;
        refused.push_back(step.layer);
      }
    };
    if (auto* conv = std::get_if<ConvOp>(&step.operation)) {
      check(*conv, {arena + conv->input, conv->lowest, conv->highest});
    } else if (auto* pixel = std::get_if<PixelConvOp>(&step.operation)) {
      check(*pixel, {pixels.data(), 0, 255});
    }
  }
  return refused;
}

}  // namespace squant::eval::cuda
