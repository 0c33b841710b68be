// What is reported of quantized weights is the same to the bit whatever instruction set computed
// it.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "quant/lanes/lanes.h"
#include "quant/stage_errors.h"

namespace squant::quant {
namespace {

// Rows of fewer weights than a vector has, of whole vectors, and with something left over; the
// kernels that have loops of their own, and such that have none.
constexpr WeightShape kShapes[] = {{5, 1, 1},   {5, 2, 1},  {5, 3, 1},   {4, 7, 1},    {4, 8, 1},
                                   {4, 9, 1},   {3, 15, 1}, {3, 16, 1},  {3, 17, 1},   {3, 23, 1},
                                   {3, 31, 1},  {3, 33, 1}, {2, 100, 1}, {40, 129, 1}, {2, 999, 1},
                                   {17, 1, 2},  {5, 3, 3},  {33, 1, 9},  {7, 5, 9},    {16, 8, 9},
                                   {3, 11, 25}, {2, 3, 49}, {2, 2, 121}, {70, 1000, 1}};
constexpr int kBits[] = {2, 3, 4, 8};
constexpr Mode kModes[] = {Mode::kE, Mode::kEK, Mode::kEC, Mode::kEKC};
constexpr Rounding kRoundings[] = {Rounding::kCurrent, Rounding::kPaper};
constexpr std::size_t kNumbersACase = 9;
constexpr std::size_t kNumbers = std::size(kShapes) * std::size(kBits) * std::size(kModes) *
                                 std::size(kRoundings) * kNumbersACase;

std::vector<float> weights_of(const WeightShape& shape, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.01F, 0.1F);
  std::vector<float> weights(static_cast<std::size_t>(shape.size()));
  for (float& weight : weights) weight = normal(random);
  return weights;
}

void append(const SquantErrors& errors, std::uint64_t*& to) {
  for (const double number : {errors.squared, errors.max_kernel, errors.max_channel})
    *to++ = std::bit_cast<std::uint64_t>(number);
}

// Every error after every stage, as bits.
void measure_all(std::uint64_t* to) {
  for (std::size_t i = 0; i < std::size(kShapes); ++i) {
    const std::vector<float> weights = weights_of(kShapes[i], static_cast<unsigned>(i));
    const SquantTensor tensor{"w", kShapes[i], weights.data(), nullptr, nullptr, nullptr};
    for (const int bits : kBits) {
      for (const Mode mode : kModes) {
        for (const Rounding rounding : kRoundings) {
          const StageErrors errors = squant_stage_errors(tensor, {bits, mode, rounding, 1});
          append(errors.e, to);
          append(errors.k.value_or(SquantErrors{}), to);
          append(errors.c.value_or(SquantErrors{}), to);
        }
      }
    }
  }
}

// In a process of its own: the instruction set is chosen once a process.
std::vector<std::uint64_t> measured_with(Simd simd) {
  constexpr std::size_t kBytes = kNumbers * sizeof(std::uint64_t);
  void* const shared =
      ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) throw std::bad_alloc();
  auto* const numbers = static_cast<std::uint64_t*>(shared);
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv("SQUANT_SIMD", simd_name(simd), 1);
    if (best_simd() == simd) measure_all(numbers);
    ::_exit(0);
  }
  ::waitpid(child, nullptr, 0);
  std::vector<std::uint64_t> result(numbers, numbers + kNumbers);
  ::munmap(shared, kBytes);
  return result;
}

TEST(SimdErrorsTest, EveryInstructionSetReportsTheSameErrorsToTheBit) {
  const std::vector<std::uint64_t> expected = measured_with(Simd::kScalar);
  EXPECT_GT(std::count_if(expected.begin(), expected.end(), [](auto bits) { return bits != 0; }),
            static_cast<std::ptrdiff_t>(kNumbers / 3));
  std::string compared;
  for (const Simd simd : {Simd::k128, Simd::kAvx2, Simd::kAvx512}) {
    if (lane_loops(simd) == nullptr) continue;
    compared += std::string(" ") + simd_name(simd);
    const std::vector<std::uint64_t> found = measured_with(simd);
    for (std::size_t i = 0; i < kNumbers; ++i) {
      constexpr std::size_t kAShape = kNumbers / std::size(kShapes);
      const WeightShape& shape = kShapes[i / kAShape];
      ASSERT_EQ(found[i], expected[i])
          << simd_name(simd) << ": number " << i % kAShape << " of shape [" << shape.out << ", "
          << shape.in << ", " << shape.kernel << "]: " << std::bit_cast<double>(found[i])
          << ", not " << std::bit_cast<double>(expected[i]);
    }
  }
  std::printf("compared with scalar:%s\n", compared.c_str());
}

}  // namespace
}  // namespace squant::quant
