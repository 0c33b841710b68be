// Times of passes, and what is taken of several.
#pragma once

#include <vector>

namespace squant::bench {

double wall_seconds();
double processor_seconds();  // of all threads of the process

// The values are not empty.
double median(std::vector<double> values);
double least(const std::vector<double>& values);

}  // namespace squant::bench
