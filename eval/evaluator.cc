#include "eval/evaluator.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <list>
#include <set>
#include <span>
#include <stdexcept>
#include <utility>

#include "eval/checkpoint/checkpoint.h"
#include "eval/cuda/cuda_device.h"
#include "eval/engine/calibration.h"
#include "eval/engine/engine.h"
#include "eval/engine/torch_cuda.h"
#include "eval/image_outcome.h"
#include "eval/least_recently_used.h"
#include "eval/logits_digest.h"
#include "eval/prepared_engine.h"
#include "eval/weight_quantizer.h"

namespace squant::eval {
namespace {

double elapsed_ms(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - since)
      .count();
}

void check_job(const Job& job) {
  const std::string what = "job " + job.model + " w" + std::to_string(job.weight_bits) + "a" +
                           std::to_string(job.activation_bits) + ": ";
  const auto check_bits = [&](int bits, const char* of) {
    if (bits != 0 && (bits < quant::kMinBits || bits > quant::kMaxBits)) {
      throw std::invalid_argument(
          what + of + " bits must be 0 (float) or in [" + std::to_string(quant::kMinBits) + ", " +
          std::to_string(quant::kMaxBits) + "], got " + std::to_string(bits));
    }
  };
  check_bits(job.weight_bits, "weight");
  check_bits(job.activation_bits, "activation");
  if (job.activation_bits > 0 && job.weight_bits == 0) {
    throw std::invalid_argument(what + "quantized activations need quantized weights");
  }
  if (job.activation_bits > 0 && !(job.sigma > 0 && std::isfinite(job.sigma))) {
    throw std::invalid_argument(what + "sigma must be positive, got " + std::to_string(job.sigma));
  }
}

quant::SquantOptions squant_options(const Job& job, int num_threads) {
  quant::SquantOptions options;
  options.bits = job.weight_bits;
  options.mode = job.mode;
  options.rounding = job.rounding;
  options.num_threads = num_threads;
  return options;
}

std::string text_of(double value) {
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%a", value);
  return text.data();
}

// Everything of a job that decides its engine.
std::string engine_key(const Job& job, const std::vector<quant::ActivationRange>& ranges) {
  std::string key = job.model + '\n' + job.checkpoint + '\n' + job.checkpoint_sha256 + '\n' +
                    std::to_string(job.weight_bits) + ' ' + std::to_string(job.activation_bits) +
                    ' ' + std::to_string(static_cast<int>(job.mode)) + ' ' +
                    std::to_string(static_cast<int>(job.rounding)) + ' ' +
                    std::to_string(static_cast<int>(job.engine));
  for (const quant::ActivationRange& range : ranges) {
    key += ' ' + text_of(range.min) + ' ' + text_of(range.max);
  }
  return key;
}

std::string dataset_key(const DatasetSpec& spec) {
  return spec.format + '\n' + spec.images + '\n' + spec.labels + '\n' + spec.cache + '\n' +
         spec.order + '\n' + spec.decoder;
}

// A GPU reads the pixels of `images` as long as it holds them.
struct LoadedChunk {
  ImageChunk images;
  std::unique_ptr<CudaImages> on_gpu;
};

}  // namespace

struct Evaluator::Impl {
  explicit Impl(const EvaluatorOptions& from)
      : options(from),
        device(from.device == "cuda" ? open_with_torch() : nullptr),
        quantizer(device),
        models(from.memory_budget / 4),
        engines(from.memory_budget - from.memory_budget / 4) {}

  // LibTorch looks for its CUDA part when it first computes, and never again: it has to be there
  // before the first job, of whatever kind.
  static std::shared_ptr<CudaDevice> open_with_torch() {
    auto opened = open_cuda_device();
    load_torch_cuda();
    return opened;
  }

  std::shared_ptr<const Model> model(const Job& job) {
    const std::string key = job.model + '\n' + job.checkpoint + '\n' + job.checkpoint_sha256;
    if (auto known = models.find(key)) {
      return known;
    }
    Checkpoint checkpoint = load_checkpoint(job.checkpoint);
    if (!job.checkpoint_sha256.empty() && checkpoint.sha256 != job.checkpoint_sha256) {
      throw std::invalid_argument("checkpoint " + job.checkpoint + " has the SHA-256 " +
                                  checkpoint.sha256 + ", but the plan was made for " +
                                  job.checkpoint_sha256 +
                                  ": the file was changed, or this machine has another one");
    }
    auto loaded = std::make_shared<const Model>(
        make_model(job.model, std::move(checkpoint.tensors), job.checkpoint));
    models.insert(key, loaded, weight_bytes(*loaded));
    return loaded;
  }

  std::shared_ptr<PreparedEngine> engine(const Job& job,
                                         const std::vector<quant::ActivationRange>& ranges) {
    const std::string key = engine_key(job, ranges);
    if (auto known = engines.find(key)) {
      return known;
    }
    check_job(job);
    const std::shared_ptr<const Model> of = model(job);
    QuantizedWeights weights;
    if (job.weight_bits > 0) {
      weights = quantizer.quantize(*of, squant_options(job, options.num_threads));
    }
    return insert(key, job, *of, job.weight_bits > 0 ? &weights : nullptr, ranges);
  }

  std::shared_ptr<PreparedEngine> insert(const std::string& key, const Job& job, const Model& of,
                                         const QuantizedWeights* weights,
                                         const std::vector<quant::ActivationRange>& ranges) {
    auto built = std::make_shared<PreparedEngine>(
        prepare_engine(job, of, weights, ranges, device.get(), options.batch_size));
    engines.insert(key, built, built->memory_bytes);
    return built;
  }

  Dataset& dataset(const DatasetSpec& spec) {
    const std::string key = dataset_key(spec);
    if (open_dataset_ == nullptr || key != dataset_key_) {
      chunks_.clear();
      open_dataset_ = open_dataset(spec);
      dataset_key_ = key;
    }
    return *open_dataset_;
  }

  // Decoded once for all jobs with this input shape, and kept for the next call that asks for the
  // same images.
  LoadedChunk& chunk(const DatasetSpec& spec, std::int64_t first, std::int64_t count,
                     const Shape& shape, Tile& tile) {
    Dataset& from = dataset(spec);
    if (!chunks_.empty() &&
        (chunks_.front().images.first != first || chunks_.front().images.count != count)) {
      chunks_.clear();
    }
    for (LoadedChunk& known : chunks_) {
      if (known.images.shape == shape) {
        return known;
      }
    }
    const auto start = std::chrono::steady_clock::now();
    try {
      chunks_.push_back({from.load(first, count, shape, options.num_threads), nullptr});
    } catch (...) {
      open_dataset_.reset();  // its file may be fetched again before the next try
      throw;
    }
    tile.load_ms += elapsed_ms(start);
    return chunks_.back();
  }

  // Held by the GPU from the first job that runs there.
  CudaImages& on_gpu(LoadedChunk& chunk) const {
    if (chunk.on_gpu == nullptr) {
      const ImageChunk& images = chunk.images;
      chunk.on_gpu = device->hold_images(images.pixels.data(), images.count, images.shape.size(),
                                         options.memory_budget);
    }
    return *chunk.on_gpu;
  }

  // Logits of `n` images from number `begin` of the chunk on.
  void run_engine(PreparedEngine& prepared, LoadedChunk& chunk, std::int64_t begin, std::int64_t n,
                  float* logits) const {
    if (prepared.on_gpu != nullptr) {
      prepared.on_gpu->run_images(on_gpu(chunk), begin, n, logits);
    } else {
      prepared.engine->run_pixels(chunk.images.pixels.data() + begin * chunk.images.shape.size(), n,
                                  logits);
    }
  }

  // `progress` is called after each batch.
  TileCounts run(const TileJob& tile_job, LoadedChunk& chunk, const ModelInfo& info,
                 const std::function<void()>& progress) {
    const ImageChunk& images = chunk.images;
    const std::shared_ptr<PreparedEngine> prepared = engine(tile_job.job, tile_job.ranges);
    TileCounts counts;
    counts.num_images = images.count;
    counts.num_broken = static_cast<std::int64_t>(images.broken.size());
    counts.has_digest = prepared->engine->exact();
    const auto classes = static_cast<std::size_t>(info.num_classes);
    counts.outcomes.assign(static_cast<std::size_t>(images.count), 'x');
    if (tile_job.job.keep_predictions)
      counts.predictions.assign(static_cast<std::size_t>(images.count), -1);
    std::vector<bool> broken(static_cast<std::size_t>(images.count), false);
    for (const std::int64_t index : images.broken) {
      broken.at(static_cast<std::size_t>(index - images.first)) = true;
    }
    const std::int64_t batch = std::min(images.count, prepared->images_per_call);
    std::vector<float> logits(static_cast<std::size_t>(batch) * classes);
    for (std::int64_t begin = 0; begin < images.count; begin += batch) {
      const std::int64_t n = std::min(batch, images.count - begin);
      const auto start = std::chrono::steady_clock::now();
      run_engine(*prepared, chunk, begin, n, logits.data());
      counts.compute_ms += elapsed_ms(start);
      progress();
      for (std::int64_t i = 0; i < n; ++i) {
        const auto at = static_cast<std::size_t>(begin + i);
        if (broken[at]) {
          continue;
        }
        const std::int32_t label = images.labels[at];
        if (label < 0 || static_cast<std::size_t>(label) >= classes) {
          throw std::invalid_argument(
              "image " + std::to_string(images.first + begin + i) + " has the label " +
              std::to_string(label) + ", but " + info.name + " knows the classes 0 to " +
              std::to_string(classes - 1) + ": is this the network's data set?");
        }
        const std::span<const float> own(logits.data() + static_cast<std::size_t>(i) * classes,
                                         classes);
        count_image(own, label, at, counts);
        if (counts.has_digest) {
          counts.digest += image_digest(own, images.first + begin + i);
        }
      }
    }
    return counts;
  }

  EvaluatorOptions options;
  std::shared_ptr<CudaDevice> device;  // null: the CPU
  WeightQuantizer quantizer;
  LeastRecentlyUsed<const Model> models;
  LeastRecentlyUsed<PreparedEngine> engines;

 private:
  std::unique_ptr<Dataset> open_dataset_;
  std::string dataset_key_;
  std::list<LoadedChunk> chunks_;  // one per shape, of the same images
};

Evaluator::Evaluator(const EvaluatorOptions& options) {
  if (options.device != "cpu" && options.device != "cuda") {
    throw std::invalid_argument("evaluator: unknown device \"" + options.device +
                                "\"; known are: cpu, cuda");
  }
  impl_ = std::make_unique<Impl>(options);
  set_engine_threads(options.num_threads);
}

Evaluator::~Evaluator() = default;

Preparation Evaluator::prepare(const Job& job, int repeats) {
  check_job(job);
  const std::shared_ptr<const Model> model = impl_->model(job);
  Preparation result;
  QuantizedWeights weights;
  if (job.weight_bits > 0) {
    const quant::SquantOptions options = squant_options(job, impl_->options.num_threads);
    MeasuredWeights measured = impl_->quantizer.measure(*model, options, std::max(1, repeats));
    weights = std::move(measured.weights);
    result.quantize_ms = measured.model_ms;
    result.quantize_device = measured.device;
    const std::vector<quant::SquantTensor> tensors = squant_tensors(*model, weights);
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      LayerFacts facts;
      facts.quantize_ms = measured.layer_ms[i];
      facts.errors = quant::squant_stage_errors(tensors[i], options);
      result.layers.push_back(std::move(facts));
    }
  }
  Calibration calibration;
  if (job.activation_bits > 0) {
    const auto start = std::chrono::steady_clock::now();
    calibration = calibrate_and_measure(*model, weights, job.activation_bits, job.rounding,
                                        job.sigma, job.calibration_images);
    result.ranges = calibration.ranges;
    result.calibrate_ms = elapsed_ms(start);
  }
  const std::string key = engine_key(job, result.ranges);
  std::shared_ptr<PreparedEngine> engine = impl_->engines.find(key);
  if (engine == nullptr) {
    engine =
        impl_->insert(key, job, *model, job.weight_bits > 0 ? &weights : nullptr, result.ranges);
  }
  result.engine = engine->engine->name();
  result.exact = engine->engine->exact();
  const std::vector<int> layers = model->graph.layers();
  result.layers.resize(layers.size());
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const Node& node = model->graph.node(layers[i]);
    LayerFacts& facts = result.layers[i];
    facts.name = node.name;
    facts.shape =
        quant::weight_shape(model->weights.at(node.name + ".weight").shape, node.name + ".weight");
    facts.input_range = result.ranges.empty() ? quant::ActivationRange{} : result.ranges[i];
    // The first layer's input, the pixels, has no range of its own.
    if (i > 0 && !result.ranges.empty()) facts.saturation = calibration.saturation[i];
    facts.kernel = engine->layers.empty() ? "float" : engine->layers[i].kernel;
    facts.sum_bound = engine->layers.empty() ? 0 : engine->layers[i].sum_bound;
    result.num_weights += facts.shape.size();
  }
  return result;
}

Evaluator::Tile Evaluator::run_tile(const DatasetSpec& dataset, std::int64_t first,
                                    std::int64_t count, const std::vector<TileJob>& jobs,
                                    const std::function<void(std::size_t)>& progress) {
  Tile tile;
  std::set<std::string> broken;
  const auto done = [&](std::size_t num_jobs) {
    if (progress) progress(num_jobs);
  };
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    TileResult result;
    const ModelInfo* info = nullptr;
    try {
      info = &model_info(jobs[i].job.model);
    } catch (const std::invalid_argument& error) {
      result.error = error.what();
    }
    if (info != nullptr) {
      // Images that cannot be loaded are every job's problem: this may throw.
      LoadedChunk& chunk = impl_->chunk(dataset, first, count, info->input, tile);
      broken.insert(chunk.images.broken_why.begin(), chunk.images.broken_why.end());
      try {
        result.counts = impl_->run(jobs[i], chunk, *info, [&] { done(i); });
      } catch (const std::exception& error) {
        result.error = error.what();
      }
    }
    tile.results.push_back(std::move(result));
    done(i + 1);
  }
  tile.broken.assign(broken.begin(), broken.end());
  return tile;
}

std::string Evaluator::device_name() const {
  if (impl_->device != nullptr) {
    return impl_->device->name();
  }
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) {
      return line.substr(colon + 2);
    }
  }
  return "cpu";
}

}  // namespace squant::eval
