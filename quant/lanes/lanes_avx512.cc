// Sixteen lanes; compiled with -mavx512f -mavx512bw -mavx512dq -mavx512vl.
#define SQ_LANES 16
#include "quant/lanes/impl.h"

namespace squant::quant {
SQ_DEFINE_LANE_LOOPS(kLaneLoopsAvx512);
}  // namespace squant::quant
