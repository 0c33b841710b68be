#include <quant/squant.h>

#include <array>
#include <cstdio>

int main() {
  const std::array<float, 4> weights{-1.0F, -0.3F, 0.4F, 1.0F};
  std::array<std::int8_t, 4> codes{};
  float scale = 0;
  float zero_point = 0;
  const std::array<squant::quant::SquantTensor, 1> tensors{{{"layer",
                                                             {.out = 1, .in = 4, .kernel = 1},
                                                             weights.data(),
                                                             codes.data(),
                                                             &scale,
                                                             &zero_point}}};
  squant::quant::squant_cpu(tensors, {.bits = 2});
  std::printf("%d %d %d %d\n", codes[0], codes[1], codes[2], codes[3]);
}
