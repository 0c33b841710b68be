// Four lanes: SSE2, NEON; no special flags.
#define SQ_LANES 4
#include "quant/lanes/impl.h"

namespace squant::quant {
SQ_DEFINE_LANE_LOOPS(kLaneLoops128);
}  // namespace squant::quant
