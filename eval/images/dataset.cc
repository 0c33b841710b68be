#include "eval/images/dataset.h"

#include <stdexcept>

#include "eval/images/idx.h"
#include "eval/images/image_folder.h"
#include "eval/images/image_pack.h"

namespace squant::eval {

void check_image_range(const Dataset& dataset, std::int64_t first, std::int64_t count,
                       const std::string& where) {
  if (first < 0 || count < 0 || first > dataset.size() || count > dataset.size() - first) {
    throw std::invalid_argument(where + ": images " + std::to_string(first) + " to " +
                                std::to_string(first) + " + " + std::to_string(count) +
                                " asked for, it has " + std::to_string(dataset.size()));
  }
}

std::unique_ptr<Dataset> open_dataset(const DatasetSpec& spec) {
  if (spec.format == "idx") return open_idx(spec.images, spec.labels, spec.order);
  if (spec.format == "fashion-mnist") return open_fashion_mnist(spec.images, spec.order);
  if (spec.format == "image_folder") return open_image_folder(spec);
  if (spec.format == kImagePackFormat) return open_image_pack(spec.images);
  throw std::invalid_argument("data set: unknown format \"" + spec.format +
                              "\", expected \"idx\", \"fashion-mnist\" or \"image_folder\"");
}

}  // namespace squant::eval
