// Eight lanes; compiled with -mavx2.
#define SQ_LANES 8
#include "quant/lanes/impl.h"

namespace squant::quant {
SQ_DEFINE_LANE_LOOPS(kLaneLoopsAvx2);
}  // namespace squant::quant
