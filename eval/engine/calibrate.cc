// Data-free activation ranges: the integer network, run once on noise, layer by layer over the
// whole batch.
#include <omp.h>

#include <algorithm>
#include <exception>
#include <map>
#include <stdexcept>
#include <utility>

#include "eval/engine/calibration.h"
#include "eval/engine/integer_engine.h"
#include "eval/engine/node_kernels.h"

namespace squant::eval {
namespace {

// Layers with the same input and the same bits have the same range, and share its codes.
struct Measured {
  std::vector<int> form_of_layer;
  std::vector<int> bits_of_form;
};

Measured forms_to_measure(const Graph& graph, int activation_bits) {
  const std::vector<int> layers = graph.layers();
  ActivationSettings settings;
  settings.bits = activation_bits;
  Measured measured;
  std::map<std::pair<int, int>, int> known;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const int bits = settings.layer_bits(i, layers.size());
    const int input = graph.node(layers[i]).inputs[0];
    const auto [found, is_new] =
        known.try_emplace({input, bits}, static_cast<int>(measured.bits_of_form.size()));
    if (is_new) {
      measured.bits_of_form.push_back(bits);
    }
    measured.form_of_layer.push_back(found->second);
  }
  return measured;
}

// Each value of the plan, for all images, for as long as it lives.
class BatchValues {
 public:
  BatchValues(const Plan& plan, std::int64_t num_images)
      : plan_(plan), num_images_(num_images), buffers_(plan.values.size()) {}

  void begin_step(int step) {
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
      const PlanValue& value = plan_.values[i];
      if (value.first_step == step && buffers_[i].data() == nullptr) {
        buffers_[i].resize(static_cast<std::size_t>(value.size_bytes * num_images_));
      } else if (value.last_step < step) {
        buffers_[i].release();
      }
    }
  }
  std::byte* data(int value) const { return buffers_[static_cast<std::size_t>(value)].data(); }
  void of_image(std::int64_t image, IntegerNetwork::Values& values) const {
    values.resize(buffers_.size());
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
      std::byte* const base = buffers_[i].data();
      values[i] = base == nullptr ? nullptr : base + plan_.values[i].size_bytes * image;
    }
  }

 private:
  const Plan& plan_;
  std::int64_t num_images_;
  std::vector<AlignedBuffer> buffers_;
};

void run_step_on_batch(const IntegerNetwork& network, std::size_t step, const BatchValues& batch,
                       std::int64_t num_images) {
  const int num_threads =
      static_cast<int>(std::min(num_images, std::int64_t{omp_get_max_threads()}));
  std::exception_ptr error;
#pragma omp parallel num_threads(num_threads)
  {
    omp_set_num_threads(1);
    Scratch scratch;
    IntegerNetwork::Values values;
#pragma omp for schedule(dynamic, 1)
    for (std::int64_t i = 0; i < num_images; ++i) {
      try {
        batch.of_image(i, values);
        network.run_step(step, nullptr, values, scratch);
      } catch (...) {
#pragma omp critical(squant_calibrate)
        error = std::current_exception();
      }
    }
  }
  if (error) {
    std::rethrow_exception(error);
  }
}

void load_noise(const Shape& shape, std::int64_t num_images, float* out) {
  const std::vector<float> noise = calibration_noise(num_images * shape.size());
#pragma omp parallel for
  for (std::int64_t i = 0; i < num_images; ++i) {
    to_channels_last(noise.data() + i * shape.size(), shape, out + i * shape.size());
  }
}

}  // namespace

Calibration calibrate_and_measure(const Model& model, const QuantizedWeights& weights,
                                  int activation_bits, quant::Rounding rounding, double sigma,
                                  std::int64_t num_images) {
  if (num_images < 1) {
    throw std::invalid_argument("calibrate: " + model.info->name +
                                " needs at least one image of noise, got " +
                                std::to_string(num_images));
  }
  const Measured measured = forms_to_measure(model.graph, activation_bits);
  IntegerNetwork network(model, weights, make_plan(model.graph, measured.form_of_layer, true),
                         measured.bits_of_form.size(), {});
  const Plan& plan = network.plan();
  BatchValues batch(plan, num_images);
  batch.begin_step(0);
  load_noise(model.graph.node(0).shape, num_images,
             reinterpret_cast<float*>(batch.data(plan.input)));

  std::vector<quant::ActivationRange> ranges_of_form(measured.bits_of_form.size());
  std::vector<quant::Saturation> saturation_of_form(measured.bits_of_form.size());
  const int last_layer = static_cast<int>(measured.form_of_layer.size()) - 1;
  for (std::size_t step = 0; step < plan.steps.size(); ++step) {
    const Step& it = plan.steps[step];
    if (it.kind == StepKind::kLayer && it.layer == last_layer) {
      break;  // every range is known
    }
    batch.begin_step(static_cast<int>(step));
    if (it.kind == StepKind::kQuantize && !network.has_affine(it.form)) {
      const auto form = static_cast<std::size_t>(it.form);
      const auto* values = reinterpret_cast<const float*>(batch.data(it.inputs[0]));
      const std::int64_t size = num_images * model.graph.node(it.node).shape.size();
      const int bits = measured.bits_of_form[form];
      ranges_of_form[form] =
          quant::activation_range(quant::activation_stats(values, size), bits, sigma, rounding);
      const quant::ActivationAffine affine = quant::activation_affine(ranges_of_form[form], bits);
      network.set_affine(it.form, affine);
      saturation_of_form[form] = quant::activation_saturation(values, size, affine);
    }
    network.prepare_step(step, model, weights, false);
    run_step_on_batch(network, step, batch, num_images);
    network.release_step(step);
  }
  Calibration result;
  result.ranges.resize(measured.form_of_layer.size());
  result.saturation.resize(result.ranges.size());
  for (std::size_t i = 1; i < result.ranges.size(); ++i) {
    const auto form = static_cast<std::size_t>(measured.form_of_layer[i]);
    result.ranges[i] = ranges_of_form[form];
    result.saturation[i] = saturation_of_form[form];
  }
  return result;
}

std::vector<quant::ActivationRange> calibrate(const Model& model, const QuantizedWeights& weights,
                                              int activation_bits, quant::Rounding rounding,
                                              double sigma, std::int64_t num_images) {
  return calibrate_and_measure(model, weights, activation_bits, rounding, sigma, num_images).ranges;
}

}  // namespace squant::eval
