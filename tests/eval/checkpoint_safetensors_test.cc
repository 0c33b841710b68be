#include <gtest/gtest.h>

#include <filesystem>

#include "eval/checkpoint/checkpoint.h"
#include "eval/checkpoint/safetensors.h"

namespace squant::eval {
namespace {

TEST(SafetensorsTest, WhatIsWrittenIsReadBack) {
  const std::string path = testing::TempDir() + "/round_trip.safetensors";
  const StateDict written = {{"a", {{2, 3}, {1, 2, 3, 4, 5, 6}}}, {"scalar", {{}, {7}}}, {"none", {{0, 4}, {}}}};
  write_safetensors(path, written, {{"maker", "test"}});
  const Checkpoint read = load_checkpoint(path);
  ASSERT_EQ(read.tensors.size(), 3u);
  for (const auto& [name, tensor] : written) {
    EXPECT_EQ(read.tensors.at(name).shape, tensor.shape) << name;
    EXPECT_EQ(read.tensors.at(name).values, tensor.values) << name;
  }
  EXPECT_EQ(read.format, "safetensors");
  EXPECT_EQ(read.sha256, sha256_file(path));
}

}  // namespace
}  // namespace squant::eval
