#include "eval/images/resample_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>
#define SQ_AVX2 __attribute__((target("avx2")))

namespace squant::eval {
namespace {

// The fast instruction multiplies 16-bit values and adds pairs, a weight has up to 23 bits: it is
// split into high * 2^kLowBits + low, both sums stay apart until the end. Sums wrap modulo 2^32,
// and the true ones fit.
constexpr int kLowBits = 11;
constexpr std::int32_t kLowMask = (1 << kLowBits) - 1;
constexpr int kTapsAtOnce = 4;
constexpr int kPairsAtOnce =
    32;  // int16 values of the table for four taps: 16 low parts, 16 high parts

SQ_AVX2 inline __m256i to_sums(__m256i high, __m256i low) {
  return _mm256_add_epi32(_mm256_slli_epi32(high, kLowBits), low);
}

}  // namespace

bool have_resample_avx2() {
  static const bool have = __builtin_cpu_supports("avx2") > 0;
  return have;
}

void pair_weights_avx2(const AxisWeights& columns, std::vector<std::int16_t>& pairs) {
  const std::size_t num_groups = columns.weights.size() / kTapsAtOnce;
  pairs.assign(num_groups * kPairsAtOnce, 0);
  for (std::size_t group = 0; group < num_groups; ++group) {
    const std::int32_t* weights = columns.weights.data() + group * kTapsAtOnce;
    std::int16_t* low = pairs.data() + group * kPairsAtOnce;
    std::int16_t* high = low + kPairsAtOnce / 2;
    // Each half: red, green and blue times two taps, and two idle places.
    for (int i = 0; i < 16; ++i) {
      if (i % 8 >= 6) continue;
      const std::int32_t weight = weights[2 * (i / 8) + i % 2];
      low[i] = static_cast<std::int16_t>(weight & kLowMask);
      high[i] = static_cast<std::int16_t>(weight >> kLowBits);
    }
  }
}

SQ_AVX2 void resample_row_avx2(const AxisWeights& columns, const std::int16_t* pairs,
                               const std::uint8_t* row, std::uint8_t* out) {
  // From 16 bytes of RGB pixels 0 to 3 to 16-bit r0 r1 g0 g1 b0 b1 - - | r2 r3 g2 g3 b2 b3 - -.
  const __m256i spread =
      _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,  //
                       6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
  const __m128i half = _mm_set1_epi32(1 << (kWeightBits - 1));
  const std::size_t pairs_stride =
      static_cast<std::size_t>(columns.taps / kTapsAtOnce) * kPairsAtOnce;
  for (std::size_t i = 0; i < columns.first.size(); ++i) {
    const std::uint8_t* from = row + columns.first[i] * 3;
    const std::int16_t* weights = pairs + i * pairs_stride;
    __m256i low = _mm256_setzero_si256();
    __m256i high = _mm256_setzero_si256();
    for (int j = 0; j < columns.count[i];
         j += kTapsAtOnce, from += 3 * kTapsAtOnce, weights += kPairsAtOnce) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
      const __m256i pixels = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), spread);
      const auto* table = reinterpret_cast<const __m256i*>(weights);
      low = _mm256_add_epi32(low, _mm256_madd_epi16(pixels, _mm256_loadu_si256(table)));
      high = _mm256_add_epi32(high, _mm256_madd_epi16(pixels, _mm256_loadu_si256(table + 1)));
    }
    const __m256i sums = to_sums(high, low);
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    sum = _mm_srai_epi32(_mm_add_epi32(sum, half), kWeightBits);
    const __m128i words = _mm_packs_epi32(sum, sum);
    const int rgb = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
    std::memcpy(out + 3 * i, &rgb,
                sizeof(rgb));  // the fourth byte is overwritten by the next pixel
  }
}

SQ_AVX2 void resample_column_avx2(const std::int32_t* weights, int count, const std::uint8_t* rows,
                                  std::size_t stride, std::size_t width, std::uint8_t* out) {
  const __m256i half = _mm256_set1_epi32(1 << (kWeightBits - 1));
  for (std::size_t x = 0; x < width; x += 32) {
    __m256i low[4] = {half, half, half, half};
    __m256i high[4] = {};
    const std::uint8_t* row = rows + x;
    for (int j = 0; j < count; j += 2, row += 2 * stride) {
      const std::int32_t next = j + 1 < count ? weights[j + 1] : 0;
      const __m256i low_pair = _mm256_set1_epi32((weights[j] & kLowMask) | (next & kLowMask) << 16);
      const __m256i high_pair =
          _mm256_set1_epi32((weights[j] >> kLowBits) | (next >> kLowBits) << 16);
      const __m256i zero = _mm256_setzero_si256();
      const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row));
      const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + stride));
      const __m256i front = _mm256_unpacklo_epi8(a, b);
      const __m256i back = _mm256_unpackhi_epi8(a, b);
      const __m256i pixels[4] = {
          _mm256_unpacklo_epi8(front, zero), _mm256_unpackhi_epi8(front, zero),
          _mm256_unpacklo_epi8(back, zero), _mm256_unpackhi_epi8(back, zero)};
      for (int i = 0; i < 4; ++i) {
        low[i] = _mm256_add_epi32(low[i], _mm256_madd_epi16(pixels[i], low_pair));
        high[i] = _mm256_add_epi32(high[i], _mm256_madd_epi16(pixels[i], high_pair));
      }
    }
    __m256i sum[4];
    for (int i = 0; i < 4; ++i) sum[i] = _mm256_srai_epi32(to_sums(high[i], low[i]), kWeightBits);
    // Unpacking and packing both work within 128-bit lanes: the order comes back by itself.
    const __m256i words_front = _mm256_packs_epi32(sum[0], sum[1]);
    const __m256i words_back = _mm256_packs_epi32(sum[2], sum[3]);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + x),
                        _mm256_packus_epi16(words_front, words_back));
  }
}

}  // namespace squant::eval

#else

namespace squant::eval {

bool have_resample_avx2() { return false; }
void pair_weights_avx2(const AxisWeights&, std::vector<std::int16_t>&) {}
void resample_row_avx2(const AxisWeights&, const std::int16_t*, const std::uint8_t*,
                       std::uint8_t*) {}
void resample_column_avx2(const std::int32_t*, int, const std::uint8_t*, std::size_t, std::size_t,
                          std::uint8_t*) {}

}  // namespace squant::eval
#endif
