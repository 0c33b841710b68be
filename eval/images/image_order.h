// In which order a data set numbers its images.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace squant::eval {

// "random": the same shuffle everywhere for data sets of the same size. Any first N images are a
// simple random sample of the data set, which is what the intervals of verdicts on subsets assume:
// files lie sorted by class, and the first 500 of ImageNet's would show ten classes.
// "files": as the files name them.
inline constexpr const char* kRandomOrder = "random";
inline constexpr const char* kFileOrder = "files";

// The image at each position: a permutation of [0, size). Throws std::invalid_argument for an
// unknown order.
std::vector<std::int64_t> image_order(const std::string& order, std::int64_t size);

// What a fingerprint says of the order, since tiles are stored by position. Empty for kFileOrder.
std::string order_tag(const std::string& order);

template <class T>
void put_in_order(std::vector<T>& items, const std::vector<std::int64_t>& order) {
  std::vector<T> ordered;
  ordered.reserve(items.size());
  for (const std::int64_t index : order)
    ordered.push_back(std::move(items[static_cast<std::size_t>(index)]));
  items = std::move(ordered);
}

}  // namespace squant::eval
