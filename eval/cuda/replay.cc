#include "eval/cuda/replay.h"

#include "quant/cuda_check.h"

namespace squant::eval::cuda {
namespace {

// Full batches, and the last ones of a few lengths of tiles.
constexpr std::size_t kMostBatches = 4;

struct DestroyGraph {
  void operator()(cudaGraph_t graph) const { cudaGraphDestroy(graph); }
};

// Keeps the first problem: those that follow come of it.
void note(cudaError_t status, const char* call, std::string& why_not) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // forgotten, or the next launch would be blamed for it
  if (why_not.empty()) why_not = std::string(call) + ": " + cudaGetErrorString(status);
}

}  // namespace

std::string Replay::start(const BatchKey& key, cudaStream_t stream,
                          const std::function<void()>& enqueue) {
  std::string why_not;
  Batch* const batch = find(key);
  if (batch == nullptr) {
    batches_.push_front({key, nullptr});
    if (batches_.size() > kMostBatches) batches_.pop_back();
  } else if (batch->graph == nullptr) {
    batch->graph = record(stream, enqueue, why_not);
  }
  if (batch != nullptr && batch->graph != nullptr) {
    SQ_CUDA_CHECK(cudaGraphLaunch(batch->graph.get(), stream));
  } else {
    enqueue();
  }
  return why_not;
}

Replay::Batch* Replay::find(const BatchKey& key) {
  for (auto batch = batches_.begin(); batch != batches_.end(); ++batch) {
    if (batch->key == key) {
      batches_.splice(batches_.begin(), batches_, batch);
      return &batches_.front();
    }
  }
  return nullptr;
}

Replay::Graph Replay::record(cudaStream_t stream, const std::function<void()>& enqueue,
                             std::string& why_not) {
  // Thread-local: what other threads do with the GPU meanwhile is allowed, and not recorded.
  note(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture",
       why_not);
  if (!why_not.empty()) return nullptr;
  try {
    enqueue();
  } catch (const quant::CudaError& error) {
    why_not = error.what();
  }
  cudaGraph_t captured = nullptr;
  note(cudaStreamEndCapture(stream, &captured), "cudaStreamEndCapture", why_not);
  const std::unique_ptr<CUgraph_st, DestroyGraph> owner(captured);
  if (!why_not.empty()) return nullptr;
  cudaGraphExec_t graph = nullptr;
  note(cudaGraphInstantiate(&graph, captured, 0), "cudaGraphInstantiate", why_not);
  return Graph(graph);
}

}  // namespace squant::eval::cuda
