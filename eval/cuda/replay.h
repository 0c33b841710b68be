// CUDA graphs: the launches of one batch, recorded once and started together from then on.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>

namespace squant::eval::cuda {

// What decides every launch of a network's batch: launches with equal keys are the same launches.
struct BatchKey {
  std::int64_t num_images = 0;
  bool on_pixels = true;
  const void* arena = nullptr;
  const void* input = nullptr;
  bool operator==(const BatchKey&) const = default;
};

// The recorded batches of one network.
class Replay {
 public:
  // Starts on `stream` what enqueue() enqueues there (kernel launches and nothing else), and does
  // not wait. The first batch of a key is enqueued as it is, so that every kernel is loaded before
  // anything is recorded; the second one is recorded. The batches used last are kept. Returns why
  // recording failed; then, and where it did not, the batch was started.
  std::string start(const BatchKey& key, cudaStream_t stream, const std::function<void()>& enqueue);

 private:
  struct Destroy {
    void operator()(cudaGraphExec_t graph) const { cudaGraphExecDestroy(graph); }
  };
  using Graph = std::unique_ptr<CUgraphExec_st, Destroy>;
  struct Batch {
    BatchKey key;
    Graph graph;  // null: seen once
  };
  static Graph record(cudaStream_t stream, const std::function<void()>& enqueue,
                      std::string& why_not);
  // The batch of this key, first in the list; null where it is new.
  Batch* find(const BatchKey& key);

  std::list<Batch> batches_;
};

}  // namespace squant::eval::cuda
