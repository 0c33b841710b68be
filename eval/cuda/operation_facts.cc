#include "eval/cuda/operation_facts.h"

#include <variant>

#include "eval/cuda/program.h"

namespace squant::eval::cuda {
namespace {

constexpr std::int64_t kFloatBytes = 4;

void set_shape(OperationFacts& facts, const WindowShape& shape) {
  facts.in_h = shape.in_h;
  facts.in_w = shape.in_w;
  facts.in_c = shape.in_c;
  facts.out_h = shape.out_h;
  facts.out_w = shape.out_w;
  facts.out_c = shape.out_c;
  facts.kernel_h = shape.kernel_h;
  facts.kernel_w = shape.kernel_w;
  facts.stride = shape.stride_h;
}

// `positions` in a row, of the same channels before and after.
void set_rows(OperationFacts& facts, std::int64_t positions, std::int64_t channels) {
  facts.in_w = facts.out_w = positions;
  facts.in_c = facts.out_c = channels;
}

std::int64_t inputs(const OperationFacts& facts) { return facts.in_h * facts.in_w * facts.in_c; }
std::int64_t outputs(const OperationFacts& facts) {
  return facts.out_h * facts.out_w * facts.out_c;
}

// What the epilogue adds, and what it writes.
std::int64_t epilogue_bytes(const Outputs& out, std::int64_t elements) {
  const std::int64_t floats = (out.values >= 0 ? 1 : 0) + (out.residual >= 0 ? 1 : 0);
  return elements * (floats * kFloatBytes + out.num_codes);
}

// A layer whose inputs and weights have so many bytes each.
void set_layer(OperationFacts& facts, const WindowShape& shape, std::int64_t groups,
               std::int64_t input_bytes, std::int64_t weight_bytes, const Outputs& out) {
  set_shape(facts, shape);
  facts.groups = groups;
  const std::int64_t row = facts.kernel_h * facts.kernel_w * facts.in_c / groups;
  facts.macs = outputs(facts) * row;
  facts.weight_bytes = weight_bytes * facts.out_c * row;
  facts.image_bytes = inputs(facts) * input_bytes + epilogue_bytes(out, outputs(facts));
}

void describe(const ConvOp& op, OperationFacts& facts) {
  facts.kind = "conv";
  set_layer(facts, op.shape, op.groups, 1, 1, op.out);
}
void describe(const DepthwiseOp& op, OperationFacts& facts) {
  facts.kind = "depthwise";
  set_layer(facts, op.shape, op.shape.in_c, 1, 1, op.out);
}
void describe(const PixelConvOp& op, OperationFacts& facts) {
  facts.kind = "pixel conv";
  set_layer(facts, op.shape, 1, 1, 1, op.out);
}
void describe(const FloatConvOp& op, OperationFacts& facts) {
  facts.kind = "float conv";
  set_layer(facts, op.shape, op.groups, kFloatBytes, sizeof(double), op.out);
}
void describe(const ElementwiseOp& op, OperationFacts& facts) {
  facts.kind = "elementwise";
  set_rows(facts, op.elements / op.channels, op.channels);
  facts.image_bytes = op.elements * kFloatBytes + epilogue_bytes(op.out, op.elements);
}
void describe(const PoolOp& op, OperationFacts& facts) {
  const bool on_codes = op.kind == PoolKind::kMaxUint8 || op.kind == PoolKind::kMaxInt8;
  facts.kind = op.kind == PoolKind::kAverage ? "average pool" : "max pool";
  set_shape(facts, op.shape);
  facts.image_bytes = (inputs(facts) + outputs(facts)) * (on_codes ? 1 : kFloatBytes);
}
void describe(const GlobalAverageOp& op, OperationFacts& facts) {
  facts.kind = "global average";
  set_rows(facts, op.positions, op.channels);
  facts.out_w = 1;
  facts.image_bytes = (inputs(facts) + outputs(facts)) * kFloatBytes;
}
void describe(const CopyOp& op, OperationFacts& facts) {
  facts.kind = "copy";
  set_rows(facts, op.rows, std::int64_t{op.row_words} * op.word_bytes);
  facts.image_bytes = inputs(facts) + outputs(facts);
}
void describe(const ShuffleOp& op, OperationFacts& facts) {
  facts.kind = "shuffle";
  set_rows(facts, op.positions, op.channels);
  facts.groups = op.groups;
  facts.image_bytes = (inputs(facts) + outputs(facts)) * op.element_bytes;
}
void describe(const NormalizeOp& op, OperationFacts& facts) {
  facts.kind = "normalize";
  set_rows(facts, op.elements / op.channels, op.channels);
  facts.image_bytes = inputs(facts) + outputs(facts) * kFloatBytes;
}
void describe(const ChannelsLastOp& op, OperationFacts& facts) {
  facts.kind = "channels last";
  set_rows(facts, op.positions, op.channels);
  facts.image_bytes = (inputs(facts) + outputs(facts)) * kFloatBytes;
}

}  // namespace

OperationFacts operation_facts(const Operation& operation) {
  OperationFacts facts;
  std::visit([&](const auto& op) { describe(op, facts); }, operation);
  facts.kernel = operation_kernel(operation);
  if (facts.kernel.empty()) facts.kernel = "elements";
  return facts;
}

}  // namespace squant::eval::cuda
