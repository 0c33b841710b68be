#include "quant/squant_cuda.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "quant/cuda_check.h"
#include "quant/squant_kernel.h"

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

DeviceTensor device_tensor(const SquantTensor& tensor, CudaOutput output) {
  const WeightShape& shape = tensor.shape;
  const auto fail = [&](const std::string& what) {
    throw std::invalid_argument("SquantCuda: tensor '" + tensor.name + "': " + what);
  };
  if (shape.out < 1 || shape.in < 1 || shape.kernel < 1) fail("empty shape");
  if (tensor.weights == nullptr || tensor.codes == nullptr || tensor.scale == nullptr ||
      tensor.zero_point == nullptr) {
    fail("null pointer");
  }
  if (output == CudaOutput::kWeights &&
      reinterpret_cast<std::uintptr_t>(tensor.codes) % alignof(float) != 0) {
    fail("the output is not aligned for float32");
  }
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  if (shape.out > kMost || shape.in > kMost / shape.kernel)
    fail("a channel has more than 2^31 - 1 elements");
  return {tensor.weights,
          tensor.codes,
          tensor.scale,
          tensor.zero_point,
          static_cast<std::int32_t>(shape.out),
          static_cast<std::int32_t>(shape.in),
          static_cast<std::int32_t>(shape.kernel)};
}

}  // namespace

struct SquantCuda::Impl {
  std::vector<std::string> names;
  DevicePointer<DeviceTensor> tensors;
  DevicePointer<BlockWork> work;
  DevicePointer<unsigned char> spill;
  DevicePointer<unsigned long long> broken;
  SquantLaunch launch{};
};

SquantCuda::SquantCuda(std::span<const SquantTensor> tensors, const SquantOptions& options,
                       CudaOutput output)
    : impl_(std::make_unique<Impl>()) {
  if (options.bits < kMinBits || options.bits > kMaxBits) {
    throw std::invalid_argument("SquantCuda: bits must be in [2, 8], got " +
                                std::to_string(options.bits));
  }
  if (output == CudaOutput::kPackedCodes && options.bits > kMostPackedBits) {
    throw std::invalid_argument("SquantCuda: packed codes have at most 4 bits, got " +
                                std::to_string(options.bits));
  }
  int device = 0;
  SQ_CUDA_CHECK(cudaGetDevice(&device));
  std::int32_t fits = 0;
  SQ_CUDA_CHECK(max_shared_elements(device, &fits));

  std::vector<DeviceTensor> table;
  std::vector<BlockWork> work;
  std::int32_t shared = kRowsPerBlock * kShortRow;
  std::int32_t slots = 0;
  std::int64_t spill_elements = 0;
  for (const SquantTensor& tensor : tensors) {
    const auto index = static_cast<std::int32_t>(table.size());
    table.push_back(device_tensor(tensor, output));
    impl_->names.push_back(tensor.name);
    const DeviceTensor& t = table.back();
    const std::int32_t row = t.in * t.kernel;
    if (row <= kShortRow) {
      for (std::int32_t first = 0; first < t.out; first += kRowsPerBlock)
        work.push_back({index, first, false, -1});
      continue;
    }
    const std::int64_t padded = padded_row(row);
    const bool spills = padded > fits;
    for (std::int32_t first = 0; first < t.out; ++first) {
      work.push_back({index, first, true, spills ? slots++ : -1});
    }
    if (spills) {
      spill_elements = std::max(spill_elements, padded);
    } else {
      shared = std::max(shared, static_cast<std::int32_t>(padded));
    }
  }
  // Long rows first: they would otherwise be the last to finish.
  std::stable_sort(work.begin(), work.end(), [&](const BlockWork& a, const BlockWork& b) {
    const auto length = [&](const BlockWork& w) {
      const DeviceTensor& t = table[static_cast<std::size_t>(w.tensor)];
      return static_cast<std::int64_t>(t.in) * t.kernel;
    };
    return length(a) > length(b);
  });

  impl_->tensors = to_device(table);
  impl_->work = to_device(work);
  impl_->spill = device_memory<unsigned char>(
      static_cast<std::size_t>(slots * spill_elements * kBytesPerElement));
  impl_->broken = to_device(std::vector<unsigned long long>{kNoneBroken});
  impl_->launch = {impl_->tensors.get(),
                   impl_->work.get(),
                   static_cast<std::int32_t>(work.size()),
                   shared,
                   impl_->spill.get(),
                   spill_elements,
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
