// What an image's logits say of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "eval/evaluator.h"

namespace squant::eval {

// Counts image number `at` of a tile: top-1, top-5, its letter, and its class where predictions are
// kept. `label` is in [0, logits.size()).
void count_image(std::span<const float> logits, std::int32_t label, std::size_t at,
                 TileCounts& counts);

}  // namespace squant::eval
