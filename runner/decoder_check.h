// What a plan with nvJPEG among its decoders asks of a sweep.
#pragma once

#include <string>

#include "runner/plan.h"

namespace squant::runner {

// "nvJPEG 13.3.2": what decodes the data set's pictures where that is not libjpeg; else empty.
std::string other_decoder(const eval::DatasetSpec& spec);

// Throws std::invalid_argument where the plan's pictures cannot be decoded as it says: nvJPEG works
// on the GPU of a worker (`device` is the workers'), and never where images are packed.
void check_decoders(const Plan& plan, const std::string& device, bool packs_images);

// What the user is told before the first picture is decoded; empty: nothing.
std::string decoder_notice(const Plan& plan);

}  // namespace squant::runner
