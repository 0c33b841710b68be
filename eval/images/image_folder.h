// ImageNet's validation pictures as they lie on a disk.
#pragma once

#include <memory>

#include "eval/images/dataset.h"

namespace squant::eval {

// Format "image_folder": see eval/images/picture_list.h for files and labels, picture.h for the
// pixels, packed_cache.h for the cache. Throws std::invalid_argument naming path and problem.
std::unique_ptr<Dataset> open_image_folder(const DatasetSpec& spec);

}  // namespace squant::eval
