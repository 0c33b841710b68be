#include "eval/graph/graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <stdexcept>

namespace squant::eval {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

TEST(GraphTest, ConvolutionShapeFollowsStrideAndPadding) {
  Graph graph({3, 224, 224});
  const int x = graph.conv(graph.input(), "a", 64, Window::square(7, 2, 3));
  EXPECT_EQ(graph.node(x).shape, (Shape{64, 112, 112}));
  EXPECT_EQ(graph.node(graph.max_pool(x, Window::square(3, 2, 1))).shape, (Shape{64, 56, 56}));
}

TEST(GraphTest, PaddingMayDifferBySide) {
  Graph graph({1, 7, 8});
  Window window = Window::square(3, 2);
  window.padding = {0, 0, 1, 1};
  EXPECT_EQ(graph.node(graph.conv(graph.input(), "a", 2, window)).shape, (Shape{2, 3, 4}));
  window.padding = {0, 1, 2, 0};
  EXPECT_EQ(graph.node(graph.conv(graph.input(), "b", 2, window)).shape, (Shape{2, 4, 4}));
}

TEST(GraphTest, CeilModeAddsAWindowUnlessItSeesOnlyPadding) {
  Window window = Window::square(3, 2);
  window.ceil_mode = true;
  Graph sqnxt({1, 110, 110});
  EXPECT_EQ(sqnxt.node(sqnxt.max_pool(0, window)).shape.height, 55);
  window.ceil_mode = false;
  EXPECT_EQ(sqnxt.node(sqnxt.max_pool(0, window)).shape.height, 54);

  // Size 5 between paddings of 1, kernel 2, stride 3: a third window would start at 6, where the
  // padding begins.
  Window padded = Window::square(2, 3, 1);
  padded.ceil_mode = true;
  Graph graph({1, 5, 5});
  EXPECT_EQ(graph.node(graph.max_pool(0, padded)).shape.height, 2);
}

TEST(GraphTest, ConcatAddsChannelsAndShuffleKeepsThem) {
  Graph graph({6, 4, 4});
  const int a = graph.conv(0, "a", 10, Window::square(1));
  const int b = graph.concat({a, 0, a});
  EXPECT_EQ(graph.node(b).shape, (Shape{26, 4, 4}));
  EXPECT_EQ(graph.node(graph.channel_shuffle(b, 2)).shape, (Shape{26, 4, 4}));
  EXPECT_EQ(graph.node(graph.global_avg_pool(b)).shape, (Shape{26, 1, 1}));
}

Graph small_network() {
  Graph graph({4, 8, 8});
  const int a =
      graph.relu(graph.batch_norm(graph.conv(0, "a", 6, {3, 1, 1, 1, {1, 0, 1, 0}}, 2, true), "n"));
  graph.linear(graph.global_avg_pool(graph.add(a, a)), "out", 5);
  return graph;
}

TEST(GraphTest, ParametersHaveStateDictNamesAndShapesInNodeOrder) {
  EXPECT_THAT(
      small_network().parameters(),
      ElementsAre(Pair("a.weight", ElementsAre(6, 2, 3, 1)), Pair("a.bias", ElementsAre(6)),
                  Pair("n.weight", ElementsAre(6)), Pair("n.bias", ElementsAre(6)),
                  Pair("n.running_mean", ElementsAre(6)), Pair("n.running_var", ElementsAre(6)),
                  Pair("out.weight", ElementsAre(5, 6)), Pair("out.bias", ElementsAre(5))));
}

TEST(GraphTest, LayersAndConsumersAreFound) {
  const Graph graph = small_network();
  EXPECT_THAT(graph.layers(), ElementsAre(1, 6));
  EXPECT_THAT(graph.consumers(),
              ElementsAre(ElementsAre(1), ElementsAre(2), ElementsAre(3), ElementsAre(4, 4),
                          ElementsAre(5), ElementsAre(6), ElementsAre()));
  EXPECT_EQ(graph.output(), 6);
}

TEST(GraphTest, WhatDoesNotFitIsALogicError) {
  Graph graph({4, 8, 8});
  const int a = graph.conv(0, "a", 6, Window::square(3));
  EXPECT_THROW(graph.add(0, a), std::logic_error);
  EXPECT_THROW(graph.concat({0, a}), std::logic_error);
  EXPECT_THROW(graph.concat({}), std::logic_error);
  EXPECT_THROW(graph.linear(a, "l", 3), std::logic_error);
  EXPECT_THROW(graph.conv(a, "b", 6, Window::square(7)), std::logic_error);
  EXPECT_THROW(graph.conv(0, "b", 6, Window::square(1), 4), std::logic_error);
  EXPECT_THROW(graph.channel_shuffle(a, 4), std::logic_error);
  EXPECT_THROW(graph.avg_pool(a, Window::square(3, 0)), std::logic_error);
  EXPECT_THROW(Graph({0, 1, 1}), std::logic_error);
}

StateDict fitting_weights(const Graph& graph) {
  StateDict result;
  for (const auto& [name, shape] : graph.parameters()) {
    std::size_t size = 1;
    for (const std::int64_t side : shape) {
      size *= static_cast<std::size_t>(side);
    }
    result[name] = {shape, std::vector<float>(size, 1)};
  }
  return result;
}

std::string complaint(const Graph& graph, const StateDict& weights) {
  try {
    check_state_dict(graph, weights, "some/file.pth");
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

TEST(CheckStateDictTest, AcceptsWhatFits) {
  const Graph graph = small_network();
  EXPECT_EQ(complaint(graph, fitting_weights(graph)), "");
}

TEST(CheckStateDictTest, NamesEveryKindOfProblemAtOnce) {
  const Graph graph = small_network();
  StateDict weights = fitting_weights(graph);
  weights.erase("n.bias");
  weights["aux.weight"] = {{2, 2}, {1, 2, 3, 4}};
  weights["a.weight"].shape = {6, 2, 1, 3};
  weights["out.bias"].values[3] = std::numeric_limits<float>::quiet_NaN();
  weights["n.running_var"].values[2] = -1;
  const std::string what = complaint(graph, weights);
  EXPECT_THAT(what, HasSubstr("some/file.pth"));
  EXPECT_THAT(what, HasSubstr("missing: n.bias [6]\n"));
  EXPECT_THAT(what, HasSubstr("not of this network: aux.weight [2, 2]\n"));
  EXPECT_THAT(what, HasSubstr("wrong shape: a.weight [6, 2, 1, 3] instead of [6, 2, 3, 1]\n"));
  EXPECT_THAT(what, HasSubstr("out.bias (element 3 is nan)"));
  EXPECT_THAT(what, HasSubstr("n.running_var (element 2 is -1"));
}

TEST(CheckStateDictTest, TensorWithTooFewValuesIsRefused) {
  const Graph graph = small_network();
  StateDict weights = fitting_weights(graph);
  weights["out.weight"].values.pop_back();
  EXPECT_THAT(complaint(graph, weights), HasSubstr("out.weight"));
}

TEST(CheckStateDictTest, ACheckpointOfAnotherNetworkGivesAShortMessage) {
  const Graph graph = small_network();
  StateDict weights;
  for (int i = 0; i < 500; ++i) {
    weights["other." + std::to_string(1000 + i)] = {{1}, {0}};
  }
  const std::string what = complaint(graph, weights);
  EXPECT_THAT(what, HasSubstr("other.1009 [1] and 490 more"));
  EXPECT_THAT(what, Not(HasSubstr("other.1010")));
  EXPECT_THAT(what, HasSubstr("out.bias [5]\n"));
}

}  // namespace
}  // namespace squant::eval
