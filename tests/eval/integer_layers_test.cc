// That each layer and each graph of the integer engine computes what the published formula and the
// float engine say.
#include <gtest/gtest.h>

#include "tests/eval/golden_models.h"
#include "tests/eval/quantized_model.h"

namespace squant::eval {
namespace {

class PublishedFormulaTest : public testing::TestWithParam<const char*> {};

TEST_P(PublishedFormulaTest, EveryLayerComputesIt) {
  for (const int bits : {8, 4}) {
    SCOPED_TRACE(bits);
    const QuantizedModel quantized(model_info(GetParam()), bits);
    LayerFormula formula(quantized);
    formula.check(calibration_noise(quantized.model.info->input.size()));
    EXPECT_EQ(formula.num_checked, 40 * static_cast<std::int64_t>(quantized.weights.layers.size()));
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, PublishedFormulaTest,
                         testing::Values("resnet18", "resnet50", "inceptionv3", "sqnxt23_w2",
                                         "shufflenet_g1_w1", "efficientnet_lite0", "fmnist_resnet",
                                         "fmnist_mobilenet"),
                         [](const auto& test) { return std::string(test.param); });

// ---- The first layer on pixels. ----

TEST(PixelLayerTest, PixelsGiveWhatNormalizedInputGives) {
  for (const char* name : {"resnet18", "efficientnet_lite0", "fmnist_resnet"}) {
    SCOPED_TRACE(name);
    const QuantizedModel quantized(model_info(name), 8);
    const ModelInfo& info = *quantized.model.info;
    const Plan plan = make_plan(quantized.model.graph,
                                std::vector<int>(quantized.weights.layers.size(), 0), false);
    const auto step = std::find_if(plan.steps.begin(), plan.steps.end(),
                                   [](const Step& s) { return s.layer == 0; });
    const std::vector<std::uint8_t> pixels = some_pixels(info.input, 1);
    std::vector<float> input;
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      const std::size_t c = i % info.mean.size();
      input.push_back(static_cast<float>((pixels[i] / 255.0 - info.mean[c]) / info.stddev[c]));
    }
    const auto size = static_cast<std::size_t>(quantized.model.graph.node(step->node).shape.size());
    std::vector<float> on_pixels(size), on_floats(size);
    Scratch scratch;
    const QuantizedLayer& layer = quantized.weights.layers[0];
    make_pixel_layer(quantized.model, *step, layer, {})
        ->run(pixels.data(), nullptr, {on_pixels.data(), {}, {}}, scratch);
    make_float_input_layer(quantized.model, *step, layer)
        ->run(input.data(), nullptr, {on_floats.data(), {}, {}}, scratch);
    EXPECT_LT(relative_distance(on_pixels, on_floats), 1e-6);
  }
}

// ---- Graphs that no known network has. ----

struct SmallGraph {
  const char* name;
  Graph (*build)();
};

Graph every_operation() {
  Graph g({3, 13, 11});
  Window pool = Window::square(3, 2, 1);
  pool.ceil_mode = true;
  pool.count_include_pad = false;
  const int first =
      g.relu6(g.batch_norm(g.conv(0, "first", 16, Window::square(3, 1, 1), 1, true), "first.bn"));
  const int unread_norm =
      g.conv(first, "twice", 16, Window::square(1));  // read by its batch norm and by the sum
  const int sum = g.add(g.batch_norm(unread_norm, "twice.bn"), unread_norm);
  const int signed_input =
      g.conv(sum, "signed", 12, Window::square(1), 1, true);  // no ReLU before it
  const int doubled = g.add(signed_input, signed_input);
  const int pooled = g.max_pool(doubled, Window::square(2, 2));
  const int averaged = g.avg_pool(doubled, pool);
  const int depthwise = g.relu(g.conv(pooled, "depthwise", 12, Window::square(3, 1, 1), 12));
  const int residual = g.relu(g.add(pooled, g.conv(depthwise, "project", 12, Window::square(1))));
  const int shuffled = g.channel_shuffle(
      g.concat({residual, g.max_pool(g.relu(averaged), Window::square(2, 1))}), 4);
  const int grouped = g.conv(shuffled, "grouped", 24, Window::square(3, 2), 3);
  const int norm = g.relu(g.batch_norm(g.concat({grouped, grouped}), "standalone"));
  g.linear(g.global_avg_pool(norm), "classifier", 10);
  return g;
}

Graph pool_before_the_first_layer() {
  Graph g({3, 12, 12});
  const int first =
      g.relu(g.conv(g.max_pool(0, Window::square(2, 2)), "first", 8, Window::square(3)));
  g.linear(g.global_avg_pool(g.conv(first, "second", 8, Window::square(1))), "classifier", 5);
  return g;
}

Graph input_read_by_several() {
  Graph g({4, 12, 12});
  const int first = g.relu(g.conv(0, "first", 8, Window::square(3, 2, 1), 2));  // grouped
  const int second = g.relu(g.conv(0, "second", 8, Window::square(1, 2)));  // quantizes the input
  const int pooled = g.avg_pool(0, Window::square(2, 2));
  g.linear(g.global_avg_pool(g.concat({first, second, pooled})), "classifier", 5);
  return g;
}

class SmallGraphTest : public testing::TestWithParam<SmallGraph> {
 protected:
  SmallGraphTest() {
    const Graph graph = GetParam().build();
    info_.name = GetParam().name;
    info_.input = graph.node(0).shape;
    info_.mean.assign(static_cast<std::size_t>(info_.input.channels), 0.45);
    info_.stddev = {0.25, 0.21, 0.3, 0.27};
    info_.stddev.resize(info_.mean.size());
    info_.num_classes = graph.node(graph.output()).shape.size();
  }
  ModelInfo info_;
};

TEST_P(SmallGraphTest, LayersFollowTheFormulaAndKernelsAgree) {
  for (const int bits : {8, 5, 2}) {
    SCOPED_TRACE(bits);
    const QuantizedModel quantized(info_, GetParam().build(), bits);
    LayerFormula(quantized).check(calibration_noise(info_.input.size()));
    const std::vector<std::uint8_t> pixels = some_pixels(info_.input, 9);
    IntegerEngine engine(quantized.model, quantized.weights, quantized.activations);
    const std::vector<float> expected = quantized.run_pixels(engine, pixels, 9);
    for (const SumKernel kernel : {SumKernel::kFloat32, SumKernel::kFloat64}) {
      IntegerEngine forced(quantized.model, quantized.weights, quantized.activations, {kernel});
      EXPECT_EQ(quantized.run_pixels(forced, pixels, 2), expected) << sum_kernel_name(kernel);
    }
    // A few layers only, 8 bits: as near to the published float32 as its rounding lets two
    // computations be.
    if (bits == 8) {
      const auto simulated =
          make_float_engine(quantized.model, &quantized.weights, quantized.activations);
      EXPECT_LT(relative_distance(expected, quantized.run_pixels(*simulated, pixels, 9)), 2e-3);
      const std::vector<float> noise = calibration_noise(2 * info_.input.size());
      EXPECT_LT(relative_distance(quantized.run_input(engine, noise),
                                  quantized.run_input(*simulated, noise)),
                2e-3);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Graphs, SmallGraphTest,
    testing::Values(SmallGraph{"every_operation", every_operation},
                    SmallGraph{"pool_before_the_first_layer", pool_before_the_first_layer},
                    SmallGraph{"input_read_by_several", input_read_by_several}),
    [](const auto& test) { return std::string(test.param.name); });

// Calibration's plan quantizes apart what the engine's plan fuses: the values are the same bits.
TEST(PlanTest, FusedAndSeparateStepsGiveTheSameBits) {
  const QuantizedModel quantized(model_info("shufflenet_g1_w1"), 8);
  const Model& model = quantized.model;
  const std::vector<quant::ActivationAffine> affines = layer_affines(model, quantized.activations);
  std::vector<int> forms(affines.size());
  for (std::size_t i = 0; i < forms.size(); ++i) {
    forms[i] = static_cast<int>(i);
  }
  std::vector<std::vector<float>> logits;
  for (const bool separate : {false, true}) {
    IntegerNetwork network(model, quantized.weights, make_plan(model.graph, forms, separate),
                           forms.size(), {});
    const Arena arena = place_values(network.plan());
    const AlignedBuffer memory(static_cast<std::size_t>(arena.size_bytes));
    IntegerNetwork::Values values;
    for (const std::int64_t offset : arena.offsets) {
      values.push_back(memory.data() + offset);
    }
    for (std::size_t i = 0; i < forms.size(); ++i) {
      network.set_affine(forms[i], affines[i]);
    }
    Scratch scratch;
    to_channels_last(
        calibration_noise(model.info->input.size()).data(), model.info->input,
        reinterpret_cast<float*>(values[static_cast<std::size_t>(network.plan().input)]));
    for (std::size_t step = 0; step < network.plan().steps.size(); ++step) {
      network.prepare_step(step, model, quantized.weights, false);
      network.run_step(step, nullptr, values, scratch);
    }
    const auto* out =
        reinterpret_cast<const float*>(values[static_cast<std::size_t>(network.plan().output)]);
    logits.emplace_back(out, out + model.info->num_classes);
  }
  EXPECT_EQ(logits[0], logits[1]);
}

TEST(PlanTest, ValuesThatLiveAtOnceDoNotOverlap) {
  for (const ModelInfo& info : all_models()) {
    const Graph graph = info.build();
    const Plan plan = make_plan(graph, std::vector<int>(graph.layers().size(), 0), false);
    const Arena arena = place_values(plan);
    for (std::size_t a = 0; a < plan.values.size(); ++a) {
      for (std::size_t b = 0; b < a; ++b) {
        const bool at_once = plan.values[a].first_step <= plan.values[b].last_step &&
                             plan.values[b].first_step <= plan.values[a].last_step;
        const bool overlap = arena.offsets[a] < arena.offsets[b] + plan.values[b].size_bytes &&
                             arena.offsets[b] < arena.offsets[a] + plan.values[a].size_bytes;
        ASSERT_FALSE(at_once && overlap) << info.name << ": values " << a << " and " << b;
      }
    }
  }
}

}  // namespace
}  // namespace squant::eval
