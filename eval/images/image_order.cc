#include "eval/images/image_order.h"

#include <numeric>
#include <random>
#include <stdexcept>

namespace squant::eval {

std::vector<std::int64_t> image_order(const std::string& order, std::int64_t size) {
  std::vector<std::int64_t> positions(static_cast<std::size_t>(size));
  std::iota(positions.begin(), positions.end(), 0);
  if (order == kFileOrder) return positions;
  if (order != kRandomOrder) {
    throw std::invalid_argument("data set: unknown order \"" + order +
                                "\", expected \"random\" or \"files\"");
  }
  // std::shuffle's results differ between standard libraries; those of mt19937_64 do not. The
  // remainder's bias is size / 2^64.
  std::mt19937_64 random(2022);
  for (std::size_t left = positions.size(); left > 1; --left)
    std::swap(positions[left - 1], positions[random() % left]);
  return positions;
}

std::string order_tag(const std::string& order) {
  return order == kFileOrder ? "" : "order " + order + " 1\n";
}

}  // namespace squant::eval
