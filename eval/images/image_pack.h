// Decoded images of a data set in one file, for machines that do not have the data set itself.
//
// A .safetensors file: "pixels" U8 [N, H, W, C], "labels" I32 [N], "broken" U8 [N] (1: could not be
// decoded; its pixels are 0), "checksums" I64 [N] (XXH3-64 of each image's pixels, seeded with
// that of its position, label and mark); the data set's fingerprint and classes in the metadata.
// The same images give the same bytes, wherever and whenever they are packed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "eval/images/dataset.h"

namespace squant::eval {

// DatasetSpec::format of a pack; DatasetSpec::images is its path.
inline constexpr const char* kImagePackFormat = "image_pack";

struct ImagePack {
  std::string path;
  std::string sha256;
  std::int64_t size_bytes = 0;
  std::vector<std::string> broken;  // path and reason of each image that could not be decoded
};

// Packs the first `count` images, scaled to `shape`, into FOLDER/SHA256; creates the folder. In
// memory are a few hundred of them at a time. `progress` is called now and then with the number
// that is done. Throws std::invalid_argument as Dataset::load() does, std::system_error where the
// file cannot be written.
ImagePack pack_images(Dataset& dataset, std::int64_t count, const Shape& shape, int num_threads,
                      const std::string& folder, const std::function<void(std::int64_t)>& progress);

// Whether this is a pack, with everything that a pack must have; images are not looked at.
bool is_image_pack(const std::string& path);

// The images of a pack, under the fingerprint of the data set that they come from; it gives its own
// shape alone. Every image is checked when it is loaded: a damaged file is removed, so that it can
// be fetched again, and load() throws. Throws std::invalid_argument naming path and problem.
std::unique_ptr<Dataset> open_image_pack(const std::string& path);

}  // namespace squant::eval
