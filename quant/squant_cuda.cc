#include "quant/squant_cuda.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "quant/cuda_check.h"
#include "quant/squant_kernel.h"
#include "quant/validate.h"

namespace squant::quant {
namespace {

constexpr unsigned long long kNoneBroken = ~0ULL;
constexpr int kMostPackedBits = 4;

struct DeviceFree {
  void operator()(void* memory) const { cudaFree(memory); }
};
template <class T>
using DevicePointer = std::unique_ptr<T, DeviceFree>;

template <class T>
DevicePointer<T> device_memory(std::size_t count) {
  void* memory = nullptr;
  SQ_CUDA_CHECK(cudaMalloc(&memory, std::max<std::size_t>(count, 1) * sizeof(T)));
  return DevicePointer<T>(static_cast<T*>(memory));
}

template <class T>
DevicePointer<T> to_device(const std::vector<T>& values) {
  DevicePointer<T> memory = device_memory<T>(values.size());
  SQ_CUDA_CHECK(
      cudaMemcpy(memory.get(), values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
  return memory;
}

void check(const SquantTensor& tensor, CudaOutput output) {
  check_tensor(tensor, "SquantCuda");
  if (tensor.shape.out > std::numeric_limits<std::int32_t>::max()) {
    throw std::invalid_argument("SquantCuda: tensor '" + tensor.name +
                                "' has more than 2^31 - 1 output channels");
  }
  if (output == CudaOutput::kWeights &&
      reinterpret_cast<std::uintptr_t>(tensor.codes) % alignof(float) != 0) {
    throw std::invalid_argument("SquantCuda: tensor '" + tensor.name +
                                "': the output is not aligned for float32");
  }
}

// The blocks of a launch, and the working memory they need.
class WorkList {
 public:
  // fits: elements of a row that fit a block's shared memory.
  WorkList(std::int64_t fits, CudaOutput output) : fits_(fits), output_(output) {}

  void add(const SquantTensor& tensor, std::int32_t index) {
    const std::int64_t row = tensor.shape.row();
    const bool is_long = row > kShortRow;
    const std::int64_t padded = padded_row(row);
    const bool spills = is_long && padded > fits_;
    if (spills) {
      spill_elements = std::max(spill_elements, padded);
    } else if (is_long) {
      shared_elements = std::max(shared_elements, static_cast<std::int32_t>(padded));
    }
    const std::int64_t step = is_long ? 1 : kRowsPerBlock;
    for (std::int64_t first = 0; first < tensor.shape.out; first += step) {
      blocks.push_back(
          {.weights = tensor.weights + first * row,
           .in = static_cast<std::int32_t>(tensor.shape.in),
           .kernel = static_cast<std::int32_t>(tensor.shape.kernel),
           .num_rows = static_cast<std::int32_t>(std::min(step, tensor.shape.out - first)),
           .spill_slot = spills ? spill_slots++ : -1,
           .tensor = index,
           .is_long = is_long,
           .output = tensor.codes + first * output_bytes(output_, row),
           .scale = tensor.scale + first,
           .zero_point = tensor.zero_point + first,
           .first_row = static_cast<std::int32_t>(first)});
    }
  }

  // Long rows would otherwise be the last to finish.
  void sort_by_length() {
    const auto length = [](const BlockWork& work) {
      return static_cast<std::int64_t>(work.in) * work.kernel;
    };
    std::stable_sort(blocks.begin(), blocks.end(),
                     [&](const BlockWork& a, const BlockWork& b) { return length(a) > length(b); });
  }

  std::vector<BlockWork> blocks;
  std::int32_t shared_elements = kRowsPerBlock * kShortRow;
  std::int32_t spill_slots = 0;
  std::int64_t spill_elements = 0;

 private:
  std::int64_t fits_;
  CudaOutput output_;
};

}  // namespace

struct SquantCuda::Impl {
  std::vector<std::string> names;
  DevicePointer<BlockWork> work;
  DevicePointer<unsigned char> spill;
  DevicePointer<unsigned long long> broken;
  SquantLaunch launch{};
};

SquantCuda::SquantCuda(std::span<const SquantTensor> tensors, const SquantOptions& options,
                       CudaOutput output)
    : impl_(std::make_unique<Impl>()) {
  check_bits(options.bits, "SquantCuda");
  if (output == CudaOutput::kPackedCodes && options.bits > kMostPackedBits) {
    throw std::invalid_argument("SquantCuda: packed codes have at most 4 bits, got " +
                                std::to_string(options.bits));
  }
  int device = 0;
  SQ_CUDA_CHECK(cudaGetDevice(&device));
  std::int32_t fits = 0;
  SQ_CUDA_CHECK(max_shared_elements(device, &fits));

  WorkList list(fits, output);
  for (const SquantTensor& tensor : tensors) {
    check(tensor, output);
    list.add(tensor, static_cast<std::int32_t>(impl_->names.size()));
    impl_->names.push_back(tensor.name);
  }
  list.sort_by_length();

  impl_->work = to_device(list.blocks);
  impl_->spill = device_memory<unsigned char>(
      static_cast<std::size_t>(list.spill_slots * list.spill_elements * kBytesPerElement));
  impl_->broken = to_device(std::vector<unsigned long long>{kNoneBroken});
  impl_->launch = {impl_->work.get(),
                   static_cast<std::int32_t>(list.blocks.size()),
                   list.shared_elements,
                   impl_->spill.get(),
                   list.spill_elements,
                   impl_->broken.get(),
                   {options.bits, options.mode, options.rounding, output}};
  // A copy from pageable memory may return before it has arrived, and streams that do not wait for
  // the default stream would read the tables too early.
  SQ_CUDA_CHECK(cudaStreamSynchronize(nullptr));
}

SquantCuda::~SquantCuda() = default;
SquantCuda::SquantCuda(SquantCuda&&) noexcept = default;
SquantCuda& SquantCuda::operator=(SquantCuda&&) noexcept = default;

void SquantCuda::enqueue(cudaStream_t stream) {
  if (impl_->launch.num_blocks == 0) return;
  SQ_CUDA_CHECK(launch_squant(impl_->launch, stream));
}

void SquantCuda::finish(cudaStream_t stream) {
  unsigned long long broken = kNoneBroken;
  SQ_CUDA_CHECK(
      cudaMemcpyAsync(&broken, impl_->broken.get(), sizeof broken, cudaMemcpyDeviceToHost, stream));
  SQ_CUDA_CHECK(cudaStreamSynchronize(stream));
  if (broken == kNoneBroken) return;
  throw std::invalid_argument("SquantCuda: tensor '" + impl_->names[broken >> 32] + "': channel " +
                              std::to_string(broken & 0xffffffffU) +
                              " has a NaN or infinite weight, or weights so large that their scale "
                              "or zero point overflows float32");
}

bool squant_cuda_takes(const WeightShape& shape) {
  constexpr std::int64_t kMostWeights = std::int64_t{1} << 28;
  return shape.row() <= kMaxRow && shape.size() <= kMostWeights;
}

bool cuda_available(std::string* why_not) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess && count > 0) return true;
  if (why_not != nullptr)
    *why_not = status == cudaSuccess ? "no CUDA device" : cudaGetErrorString(status);
  return false;
}

}  // namespace squant::quant
