#include "eval/engine/integer_engine.h"

#include <omp.h>

#include <algorithm>
#include <array>
#include <exception>
#include <stdexcept>

#include "eval/engine/node_kernels.h"

namespace squant::eval {

struct IntegerEngine::Impl {
  // One thread's values and working memory.
  struct Worker {
    AlignedBuffer arena;
    IntegerNetwork::Values values;
    Scratch scratch;
  };

  Impl(const Model& model, const QuantizedWeights& weights, const Forms& forms,
       const IntegerOptions& options)
      : network(model, weights, make_plan(model.graph, forms.of_layer, false), forms.affines.size(),
                options),
        input(model.graph.node(0).shape),
        num_classes(model.graph.node(model.graph.output()).shape.size()),
        arena(place_values(network.plan())),
        table(pixel_normalization(*model.info)) {}

  Worker& worker() {
    Worker& it = workers[static_cast<std::size_t>(omp_get_thread_num())];
    if (it.values.empty()) {
      it.arena.resize(static_cast<std::size_t>(arena.size_bytes));
      for (const std::int64_t offset : arena.offsets) {
        it.values.push_back(it.arena.data() + offset);
      }
    }
    return it;
  }

  float* float_input(const Worker& it) const {
    return reinterpret_cast<float*>(it.values[static_cast<std::size_t>(network.plan().input)]);
  }

  void run_image(Worker& it, const std::uint8_t* pixels, float* logits) const {
    if (pixels != nullptr && network.needs_float_input()) {
      float* to = float_input(it);
      for (std::int64_t i = 0; i < input.size(); ++i) {
        to[i] = table[static_cast<std::size_t>(i % input.channels)][pixels[i]];
      }
    }
    for (std::size_t step = 0; step < network.plan().steps.size(); ++step) {
      network.run_step(step, pixels, it.values, it.scratch);
    }
    const auto* output =
        reinterpret_cast<const float*>(it.values[static_cast<std::size_t>(network.plan().output)]);
    std::copy_n(output, num_classes, logits);
  }

  // Calls image(worker, index) for each of n images: each image by one thread, from first to last
  // step, so that what one step writes is still in that core's cache when the next one reads it.
  template <typename Image>
  void for_each_image(std::int64_t n, const Image& image) {
    const int num_threads =
        static_cast<int>(std::clamp(n, std::int64_t{1}, std::int64_t{omp_get_max_threads()}));
    if (workers.size() < static_cast<std::size_t>(num_threads)) {
      workers.resize(static_cast<std::size_t>(num_threads));
    }
    std::exception_ptr error;
#pragma omp parallel num_threads(num_threads)
    {
      omp_set_num_threads(1);  // of the libraries below, in this region alone
#pragma omp for schedule(dynamic, 1)
      for (std::int64_t i = 0; i < n; ++i) {
        try {
          image(worker(), i);
        } catch (...) {
#pragma omp critical(squant_integer_engine)
          error = std::current_exception();
        }
      }
    }
    if (error) {
      std::rethrow_exception(error);
    }
  }

  IntegerNetwork network;
  Shape input;
  std::int64_t num_classes;
  Arena arena;
  std::vector<std::array<float, 256>> table;
  std::vector<Worker> workers;
};

IntegerEngine::IntegerEngine(const Model& model, const QuantizedWeights& weights,
                             const ActivationSettings& activations, const IntegerOptions& options) {
  const Forms forms = share_forms(layer_affines(model, activations));
  impl_ = std::make_unique<Impl>(model, weights, forms, options);
  for (std::size_t form = 0; form < forms.affines.size(); ++form) {
    impl_->network.set_affine(static_cast<int>(form), forms.affines[form]);
  }
  for (std::size_t step = 0; step < impl_->network.plan().steps.size(); ++step) {
    impl_->network.prepare_step(step, model, weights, true);
  }
}

IntegerEngine::~IntegerEngine() = default;

void IntegerEngine::run_pixels(const std::uint8_t* pixels, std::int64_t n, float* logits) {
  impl_->for_each_image(n, [&](Impl::Worker& worker, std::int64_t i) {
    impl_->run_image(worker, pixels + i * impl_->input.size(), logits + i * impl_->num_classes);
  });
}

void IntegerEngine::run_input(const float* input, std::int64_t n, float* logits) {
  const Shape& shape = impl_->input;
  impl_->for_each_image(n, [&](Impl::Worker& worker, std::int64_t i) {
    to_channels_last(input + i * shape.size(), shape, impl_->float_input(worker));
    impl_->run_image(worker, nullptr, logits + i * impl_->num_classes);
  });
}

std::vector<IntegerLayerFacts> IntegerEngine::layer_facts() const {
  return impl_->network.layer_facts();
}

std::int64_t IntegerEngine::memory_bytes() const {
  return impl_->network.memory_bytes() + impl_->arena.size_bytes * omp_get_max_threads();
}

std::unique_ptr<Engine> make_integer_engine(const Model& model, const QuantizedWeights& weights,
                                            const ActivationSettings& activations) {
  return std::make_unique<IntegerEngine>(model, weights, activations);
}

}  // namespace squant::eval
