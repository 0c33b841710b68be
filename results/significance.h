// Could chance alone explain that two results differ? Two-sided p-values. Internal to results/.
#pragma once

#include <cstdint>

namespace squant::results {

// McNemar's test on the images that one side alone got right, exact with the mid-p correction:
// twice the binomial(n, 1/2) tail beyond the smaller count, its own probability taken half. For two
// networks on the same images. (Fagerland, Lydersen, Laake: BMC Med. Res. Methodol. 13:91, 2013.)
double mcnemar_mid_p(std::int64_t only_a, std::int64_t only_b);

// Equality of two proportions, z-test with the pooled variance: for different images, or where it
// is not known which images were right. 1 where there is nothing to tell apart.
double two_proportions_p(std::int64_t right_a, std::int64_t num_a, std::int64_t right_b,
                         std::int64_t num_b);

}  // namespace squant::results
