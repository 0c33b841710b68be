// How many images an engine is given at a time where the user does not say.
#pragma once

#include <cstdint>

#include "eval/models/models.h"

namespace squant::eval {

// Exact engines take images one by one, whatever the batch: many, so that threads stay busy. For
// LibTorch's operators: as many as keep the largest activation in the caches, 4 to 64.
std::int64_t default_batch_size(const ModelInfo& info, bool exact);

}  // namespace squant::eval
