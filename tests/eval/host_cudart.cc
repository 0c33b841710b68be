// See host_nvjpeg.h.
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#include "eval/images/nvjpeg_abi.h"
#include "tests/eval/host_nvjpeg.h"

namespace squant::eval::nvjpeg_abi {
struct Stream {
  std::vector<std::function<void()>> work;  // done when it is waited for
};
}  // namespace squant::eval::nvjpeg_abi

using namespace squant::eval::nvjpeg_abi;

namespace {

constexpr int kInvalidValue = 1;
std::atomic<int> g_objects{0};

int allocate(void** memory, std::size_t size) {
  *memory = std::malloc(size);
  std::memset(*memory, 0xa5, size);
  ++g_objects;
  return 0;
}

int release(void* memory) {
  std::free(memory);
  --g_objects;
  return 0;
}

}  // namespace

extern "C" {

int host_cudart_objects(void) { return g_objects; }

int cudaMalloc(void** memory, std::size_t size) { return allocate(memory, size); }
int cudaFree(void* memory) { return release(memory); }
int cudaMallocHost(void** memory, std::size_t size) { return allocate(memory, size); }
int cudaFreeHost(void* memory) { return release(memory); }

int cudaMemcpyAsync(void* to, const void* from, std::size_t size, int kind, Stream* stream) {
  if (kind != kMemcpyDeviceToHost || stream == nullptr) return kInvalidValue;
  stream->work.emplace_back([=] { std::memcpy(to, from, size); });
  return 0;
}

int cudaStreamCreateWithFlags(Stream** stream, unsigned flags) {
  if (flags != kStreamNonBlocking) return kInvalidValue;
  *stream = new Stream;
  ++g_objects;
  return 0;
}

int cudaStreamSynchronize(Stream* stream) {
  for (const auto& one : stream->work) one();
  stream->work.clear();
  return 0;
}

int cudaStreamDestroy(Stream* stream) {
  delete stream;
  --g_objects;
  return 0;
}

const char* cudaGetErrorString(int) { return "invalid argument"; }

}  // extern "C"
