// What the output says of the GPU that it was measured on.
#pragma once

#include <string>

namespace squant::bench {

// The GPU with its clocks and versions; says on stderr why there is none, and is empty then.
std::string cuda_description();

// Adds it to the context that Google Benchmark prints; whether there is a GPU.
bool describe_cuda();

}  // namespace squant::bench
