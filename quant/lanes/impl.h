// The vector loops of squant_cpu, in GCC's and clang's vector extension: one source for every
// instruction set. A .cc file defines SQ_LANES (4, 8 or 16 floats), includes this file and is
// compiled with the flags of its instruction set. All is in an anonymous namespace and nothing of
// the standard library is called: an inline function compiled here for AVX-512 must never be the
// copy that the linker keeps for the whole program.
#pragma once

#include "quant/lanes/channels.h"
#include "quant/lanes/elements.h"
#include "quant/lanes/kernels.h"
#include "quant/lanes/measure.h"
#include "quant/lanes/ranges.h"

// Defines a LaneLoops from the loops above.
#define SQ_DEFINE_LANE_LOOPS(variable)                                    \
  const LaneLoops variable = {find_ranges,   round_elements, fix_kernels, \
                              sum_residuals, fix_channels,   measure_elements}
