#include "tests/eval/host_gpu.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <utility>
#include <vector>

struct CUevent_st {
  std::int64_t num_recorded = 0;  // as enqueued
  std::int64_t num_reached = 0;
};

struct CUgraph_st {
  std::vector<std::function<void()>> kernels;
  bool valid = true;
};
struct CUgraphExec_st {
  std::vector<std::function<void()>> kernels;
};

struct CUstream_st {
  struct Work {
    std::function<void()> run;
    CUevent_st* event = nullptr;  // not null: the work may run once it was reached so often
    std::int64_t reached = 0;
  };
  std::deque<Work> queue;
  CUgraph_st* recording = nullptr;
};

namespace squant::host_gpu {
namespace {

struct Gpu {
  State state;
  std::mt19937 random{1};
  unsigned laziness = 1;  // once in so many calls, the GPU gets on with its work unasked
  std::set<CUstream_st*> streams;
  CUstream_st default_stream;
  std::map<void*, std::size_t> memory;
  cudaError_t last_error = cudaSuccess;

  Gpu() { streams.insert(&default_stream); }
};

// Never destroyed: other static objects may still give memory back.
Gpu& gpu() {
  static Gpu* const instance = new Gpu;
  return *instance;
}

cudaError_t fail(cudaError_t error) {
  gpu().last_error = error;
  return error;
}

CUstream_st& stream_of(cudaStream_t stream) {
  return stream == nullptr ? gpu().default_stream : *stream;
}

bool is_ready(const CUstream_st& stream) {
  if (stream.queue.empty()) return false;
  const CUstream_st::Work& work = stream.queue.front();
  return work.event == nullptr || work.event->num_reached >= work.reached;
}

// One piece of work of a stream drawn among those that can go on; false: there is none.
bool step() {
  std::vector<CUstream_st*> ready;
  for (CUstream_st* stream : gpu().streams) {
    if (is_ready(*stream)) ready.push_back(stream);
  }
  if (ready.empty()) return false;
  CUstream_st& stream = *ready[gpu().random() % ready.size()];
  const auto work = std::move(stream.queue.front().run);
  stream.queue.pop_front();
  if (work) work();
  return true;
}

template <class Done>
cudaError_t wait(const Done& done) {
  ++gpu().state.num_waits;
  while (!done()) {
    if (!step()) {
      std::fprintf(stderr, "host_gpu: a wait that nothing ends\n");
      std::abort();
    }
  }
  return cudaSuccess;
}

bool is_idle() {
  return std::all_of(gpu().streams.begin(), gpu().streams.end(),
                     [](const CUstream_st* stream) { return stream->queue.empty(); });
}

// Also lets the GPU get on a little, or not.
cudaError_t enqueue(cudaStream_t stream, CUstream_st::Work work) {
  CUstream_st& to = stream_of(stream);
  if (to.recording != nullptr) {  // nothing but kernels is recorded here
    to.recording->valid = false;
    return fail(cudaErrorStreamCaptureUnsupported);
  }
  to.queue.push_back(std::move(work));
  if (gpu().random() % gpu().laziness == 0) {
    for (unsigned steps = gpu().random() % 4; steps > 0 && step();) --steps;
  }
  return cudaSuccess;
}

cudaError_t enqueue(cudaStream_t stream, std::function<void()> run) {
  return enqueue(stream, {std::move(run), nullptr, 0});
}

bool is_recording() {
  return std::any_of(gpu().streams.begin(), gpu().streams.end(),
                     [](const CUstream_st* stream) { return stream->recording != nullptr; });
}

cudaError_t allocate(void** memory, std::size_t size, bool on_gpu) {
  if (is_recording()) return fail(cudaErrorStreamCaptureUnsupported);
  State& state = gpu().state;
  if (on_gpu &&
      (size > state.largest_allocation || state.allocated_bytes + size > state.memory_bytes)) {
    return fail(cudaErrorMemoryAllocation);
  }
  *memory = std::aligned_alloc(256, (size + 255) / 256 * 256);
  if (*memory == nullptr) return fail(cudaErrorMemoryAllocation);
  std::memset(*memory, 0xA5, size);
  gpu().memory[*memory] = on_gpu ? size : 0;
  state.allocated_bytes += on_gpu ? size : 0;
  return cudaSuccess;
}

cudaError_t give_back(void* memory) {
  if (memory == nullptr) return cudaSuccess;
  wait(is_idle);
  const auto found = gpu().memory.find(memory);
  if (found == gpu().memory.end()) return fail(cudaErrorInvalidValue);
  gpu().state.allocated_bytes -= found->second;
  gpu().memory.erase(found);
  std::free(memory);
  return cudaSuccess;
}

}  // namespace

State& state() { return gpu().state; }

void reset(unsigned seed) {
  wait(is_idle);
  const std::size_t allocated = gpu().state.allocated_bytes;
  gpu().state = State();
  gpu().state.allocated_bytes = allocated;
  gpu().random.seed(seed);
  gpu().laziness = 1U << seed % 8;
  gpu().last_error = cudaSuccess;
}

cudaError_t launch(cudaStream_t stream, std::function<void()> kernel) {
  if (gpu().last_error != cudaSuccess) return cudaGetLastError();  // as after a <<<>>> launch
  if (CUgraph_st* const recording = stream_of(stream).recording; recording != nullptr) {
    recording->kernels.push_back(std::move(kernel));
    ++gpu().state.num_recorded;
    return cudaSuccess;
  }
  ++gpu().state.num_launches;
  return enqueue(stream, std::move(kernel));
}

}  // namespace squant::host_gpu

using namespace squant::host_gpu;

extern "C" {

const char* cudaGetErrorName(cudaError_t error) {
  return error == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : "cudaError";
}
const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaSuccess                 ? "no error"
         : error == cudaErrorMemoryAllocation ? "out of memory"
                                              : "refused by host_gpu";
}
cudaError_t cudaGetLastError() { return std::exchange(gpu().last_error, cudaSuccess); }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "host_gpu");
  properties->major = 9;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = 0;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
cudaError_t cudaDeviceSynchronize() { return wait(is_idle); }

cudaError_t cudaMalloc(void** memory, std::size_t size) { return allocate(memory, size, true); }
cudaError_t cudaMallocHost(void** memory, std::size_t size) {
  return allocate(memory, size, false);
}
cudaError_t cudaFree(void* memory) { return give_back(memory); }
cudaError_t cudaFreeHost(void* memory) { return give_back(memory); }
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *total = state().memory_bytes;
  *free = *total - std::min(*total, state().allocated_bytes);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t size, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  if (kind == cudaMemcpyHostToDevice) state().uploaded_bytes += static_cast<std::int64_t>(size);
  return enqueue(stream, [=] { std::memcpy(to, from, size); });
}
// To the GPU: comes back when the host's memory was read, as the runtime does for pageable memory.
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t size, cudaMemcpyKind kind) {
  if (kind == cudaMemcpyHostToDevice) {
    state().uploaded_bytes += static_cast<std::int64_t>(size);
    const auto* bytes = static_cast<const unsigned char*>(from);
    return enqueue(nullptr, [=, staged = std::vector<unsigned char>(bytes, bytes + size)] {
      std::copy(staged.begin(), staged.end(), static_cast<unsigned char*>(to));
    });
  }
  const cudaError_t status = cudaMemcpyAsync(to, from, size, kind, nullptr);
  return status == cudaSuccess ? wait(is_idle) : status;
}
cudaError_t cudaMemsetAsync(void* to, int byte, std::size_t size, cudaStream_t stream) {
  return enqueue(stream, [=] { std::memset(to, byte, size); });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st;
  gpu().streams.insert(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  cudaStreamSynchronize(stream);
  gpu().streams.erase(stream);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return wait([=] { return stream_of(stream).queue.empty(); });
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  return enqueue(stream, {nullptr, event, event->num_recorded});
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  wait(is_idle);
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const std::int64_t number = ++event->num_recorded;
  return enqueue(stream, [=] { event->num_reached = std::max(event->num_reached, number); });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const std::int64_t number = event->num_recorded;
  return wait([=] { return event->num_reached >= number; });
}
cudaError_t cudaEventElapsedTime(float* elapsed_ms, cudaEvent_t, cudaEvent_t) {
  *elapsed_ms = 1;
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  stream_of(stream).recording = new CUgraph_st;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = std::exchange(stream_of(stream).recording, nullptr);
  if ((*graph)->valid) return cudaSuccess;
  delete std::exchange(*graph, nullptr);
  return fail(cudaErrorStreamCaptureInvalidated);
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  if (state().refuses_graphs) return fail(cudaErrorNotSupported);
  *exec = new CUgraphExec_st{graph->kernels};
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  ++state().num_replays;
  return enqueue(stream, [kernels = exec->kernels] {
    for (const auto& kernel : kernels) kernel();
  });
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}

}  // extern "C"
