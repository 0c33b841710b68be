#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "quant/lanes/lanes.h"

namespace squant::quant {
namespace {

bool machine_has(Simd simd) {
  switch (simd) {
    case Simd::kScalar:
    case Simd::k128:
      return true;
#if defined(__x86_64__)
    case Simd::kAvx2:
      return __builtin_cpu_supports("avx2") != 0;
    case Simd::kAvx512:
      return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
             __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512vl") != 0;
#else
    default:
      break;
#endif
  }
  return false;
}

Simd find_best_simd() {
  Simd best = Simd::k128;
  const char* const wish = std::getenv("SQUANT_SIMD");
  for (const Simd simd : {Simd::kScalar, Simd::k128, Simd::kAvx2, Simd::kAvx512}) {
    if (!machine_has(simd)) continue;
    if (wish != nullptr && std::strcmp(wish, simd_name(simd)) == 0) return simd;
    if (simd > best) best = simd;
  }
  return best;
}

}  // namespace

const char* simd_name(Simd simd) {
  constexpr const char* kNames[] = {"scalar", "128", "avx2", "avx512"};
  return kNames[static_cast<std::size_t>(simd)];
}

const LaneLoops* lane_loops(Simd simd) {
  if (!machine_has(simd)) return nullptr;
  switch (simd) {
    case Simd::k128:
      return &kLaneLoops128;
#if defined(__x86_64__)
    case Simd::kAvx2:
      return &kLaneLoopsAvx2;
    case Simd::kAvx512:
      return &kLaneLoopsAvx512;
#endif
    default:
      return nullptr;
  }
}

Simd best_simd() {
  static const Simd best = find_best_simd();
  return best;
}

}  // namespace squant::quant
