#include "runner/identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <utility>

#include "eval/checkpoint/checkpoint.h"

namespace squant::runner {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

IdentityInput example() {
  IdentityInput input;
  input.model = "resnet18";
  input.checkpoint_sha256 = std::string(64, 'a');
  input.weight_bits = 4;
  input.activation_bits = 4;
  input.sigma = 12;
  input.calibration_images = 256;
  input.engine = "integer";
  input.numerics_version = 1;
  input.dataset_fingerprint = std::string(64, 'b');
  input.input = {3, 224, 224};
  input.crop = "0.875";
  input.mean = {0.485, 0.456, 0.406};
  input.stddev = {0.229, 0.224, 0.225};
  input.num_images = 50'000;
  return input;
}

using Change = std::function<void(IdentityInput&)>;

const std::pair<const char*, Change> kDeciding[] = {
    {"model", [](IdentityInput& i) { i.model = "resnet50"; }},
    {"checkpoint", [](IdentityInput& i) { i.checkpoint_sha256.back() = 'b'; }},
    {"weight bits", [](IdentityInput& i) { i.weight_bits = 5; }},
    {"activation bits", [](IdentityInput& i) { i.activation_bits = 5; }},
    {"mode", [](IdentityInput& i) { i.mode = quant::Mode::kE; }},
    {"rounding", [](IdentityInput& i) { i.rounding = quant::Rounding::kPaper; }},
    {"sigma", [](IdentityInput& i) { i.sigma = 12.000000000000002; }},
    {"calibration images", [](IdentityInput& i) { i.calibration_images = 255; }},
    {"engine", [](IdentityInput& i) { i.engine = "simulated"; }},
    {"numerics version", [](IdentityInput& i) { i.numerics_version = 2; }},
    {"data set", [](IdentityInput& i) { i.dataset_fingerprint.back() = 'c'; }},
    {"input channels", [](IdentityInput& i) { i.input.channels = 1; }},
    {"input height", [](IdentityInput& i) { i.input.height = 299; }},
    {"input width", [](IdentityInput& i) { i.input.width = 299; }},
    {"crop", [](IdentityInput& i) { i.crop = "none"; }},
    {"mean", [](IdentityInput& i) { i.mean[2] = 0.4060000000000001; }},
    {"decoder", [](IdentityInput& i) { i.decoder = "nvJPEG 13.3.2"; }},
    {"decoder's version", [](IdentityInput& i) { i.decoder = "nvJPEG 13.3.3"; }},
    {"standard deviation", [](IdentityInput& i) { i.stddev[0] = 0.23; }},
};

TEST(IdentityTest, ChangesWithEverythingThatDecides) {
  std::set<std::string> identities{make_identity(example()).identity};
  std::set<std::string> evaluations{make_identity(example()).evaluation};
  for (const auto& [name, change] : kDeciding) {
    IdentityInput input = example();
    change(input);
    EXPECT_TRUE(identities.insert(make_identity(input).identity).second) << name;
    EXPECT_TRUE(evaluations.insert(make_identity(input).evaluation).second) << name;
  }
}

TEST(IdentityTest, TheNumberOfImagesDecidesTheResultButNotItsTiles) {
  IdentityInput input = example();
  input.num_images = 1000;
  EXPECT_NE(make_identity(input).identity, make_identity(example()).identity);
  EXPECT_EQ(make_identity(input).evaluation, make_identity(example()).evaluation);
}

TEST(IdentityTest, WhatDoesNotApplyDoesNotDecide) {
  IdentityInput weights_only = example();
  weights_only.activation_bits = 0;
  const Identity before = make_identity(weights_only);
  weights_only.sigma = 1;
  weights_only.calibration_images = 1;
  weights_only.repeats = 5;
  EXPECT_EQ(make_identity(weights_only).identity, before.identity);

  IdentityInput float_network = weights_only;
  float_network.weight_bits = 0;
  const Identity of_float = make_identity(float_network);
  float_network.mode = quant::Mode::kE;
  float_network.rounding = quant::Rounding::kPaper;
  EXPECT_EQ(make_identity(float_network).identity, of_float.identity);
  EXPECT_NE(of_float.identity, before.identity);
}

TEST(IdentityTest, ATimingDoesNotDependOnImages) {
  IdentityInput timing = example();
  timing.evaluate = false;
  timing.activation_bits = 0;
  timing.repeats = 11;
  const Identity before = make_identity(timing);
  timing.dataset_fingerprint = "another";
  timing.num_images = 1;
  timing.input = {1, 28, 28};
  EXPECT_EQ(make_identity(timing).identity, before.identity);
  timing.repeats = 12;
  EXPECT_NE(make_identity(timing).identity, before.identity);
}

TEST(IdentityTest, IsTheHashOfTheStoredConfiguration) {
  const Identity identity = make_identity(example());
  EXPECT_EQ(
      identity.config_json,
      R"({"activation_bits":4,"calibration_images":256,"checkpoint":")" + std::string(64, 'a') +
          R"(","dataset":")" + std::string(64, 'b') +
          R"(","engine":"integer","mode":"squant","model":"resnet18","num_images":50000,"numerics_version":1,)"
          R"("preprocessing":{"crop":"0.875","input":[3,224,224],"mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225]},)"
          R"("rounding":"current","sigma":12.0,"weight_bits":4})");
  EXPECT_EQ(identity.identity,
            eval::sha256_hex(identity.config_json.data(), identity.config_json.size()));
}

// Identities of before the choice of a decoder: results that are stored are found again.
TEST(IdentityTest, WithLibjpegIsWhatItAlwaysWas) {
  EXPECT_EQ(make_identity(example()).identity,
            "d9bc392872a14f6692856bb578f96f841445d304d9fdb7598a03b3be1e50d9b1");
  EXPECT_EQ(make_identity(example()).evaluation,
            "dd6ffb248ea299089b60bfcb31732d0ae487ecfd48c1fcf52aee77c890b64aa6");
}

}  // namespace
}  // namespace squant::runner
