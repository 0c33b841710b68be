// What the operations of a GPU network are said to do, without a GPU.
#include "eval/cuda/operation_facts.h"

#include <gtest/gtest.h>

#include "eval/cuda/program.h"
#include "tests/eval/quantized_model.h"

namespace squant::eval::cuda {
namespace {

Program program_of(const std::string& model) {
  const QuantizedModel quantized(model_info(model), 4);
  return make_program(quantized.model, quantized.weights, quantized.activations);
}

std::int64_t macs_on_pixels(const Program& program) {
  std::int64_t macs = 0;
  for (const ProgramStep& step : program.steps) {
    if (step.on_pixels) macs += operation_facts(step.operation).macs;
  }
  return macs;
}

TEST(OperationFactsTest, NetworksMultiplyAsOftenAsIsPublished) {
  // He et al., "Deep Residual Learning for Image Recognition" (arXiv 1512.03385), table 1, counts
  // 1.8e9 and 3.8e9 multiply-adds.
  EXPECT_NEAR(static_cast<double>(macs_on_pixels(program_of("resnet18"))), 1.8e9, 0.1e9);
  EXPECT_NEAR(static_cast<double>(macs_on_pixels(program_of("resnet50"))), 3.8e9, 0.1e9);
}

TEST(OperationFactsTest, AConvolutionsBytesAreItsTensors) {
  ConvOp op;
  op.shape.in_h = op.shape.in_w = op.shape.out_h = op.shape.out_w = 10;
  op.shape.in_c = 8;
  op.shape.out_c = 12;
  op.shape.kernel_h = op.shape.kernel_w = 3;
  op.groups = 2;
  OperationFacts facts = operation_facts(op);
  EXPECT_EQ(facts.kernel, "loops");
  EXPECT_EQ(facts.macs, 100 * 12 * 9 * 4);
  EXPECT_EQ(facts.weight_bytes, 12 * 9 * 4);
  EXPECT_EQ(facts.image_bytes, 100 * 8);
  op.out.values = 0;
  op.out.residual = 0;
  op.out.num_codes = 2;
  op.tensor_cores = true;
  facts = operation_facts(op);
  EXPECT_EQ(facts.kernel, "mma");
  EXPECT_EQ(facts.image_bytes, 100 * 8 + 100 * 12 * (4 + 4 + 2));
}

TEST(OperationFactsTest, WhatMovesMemoryReadsAndWritesIt) {
  PoolOp pool;
  pool.shape.in_h = pool.shape.in_w = 4;
  pool.shape.out_h = pool.shape.out_w = 2;
  pool.shape.in_c = pool.shape.out_c = 3;
  EXPECT_EQ(operation_facts(pool).image_bytes, 4 * (48 + 12));
  pool.kind = PoolKind::kMaxInt8;
  EXPECT_EQ(operation_facts(pool).image_bytes, 48 + 12);
  CopyOp copy;
  copy.word_bytes = 16;
  copy.rows = 5;
  copy.row_words = 2;
  copy.pitch_words = 7;
  EXPECT_EQ(operation_facts(copy).image_bytes, 2 * 5 * 2 * 16);
  EXPECT_EQ(operation_facts(copy).macs, 0);
  EXPECT_EQ(operation_facts(copy).kernel, "elements");
}

}  // namespace
}  // namespace squant::eval::cuda
