// The digest of logits: which bits a job gave, in 128 bits that do not depend on how its images
// were cut into tiles.
#pragma once

#include <cstdint>
#include <span>

#include "eval/evaluator.h"

namespace squant::eval {

// XXH3-128 of one image's logits as little-endian float32, with the image's index in the data set
// as the seed.
Digest image_digest(std::span<const float> logits, std::int64_t image_index);

}  // namespace squant::eval
