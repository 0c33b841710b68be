// Labelled images, read as uint8 pixels.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "eval/graph/graph.h"
#include "eval/images/image_order.h"

namespace squant::eval {

// DatasetSpec::decoder. What libjpeg gives is equal to Pillow's pixels to the bit; nvJPEG decodes
// on the worker's GPU, and its pixels differ a little.
inline constexpr const char* kLibjpeg = "libjpeg";
inline constexpr const char* kNvjpeg = "nvjpeg";

// Where the images are. Paths are absolute or relative to the working directory.
struct DatasetSpec {
  std::string format;  // "idx", "fashion-mnist", "image_folder" (docs/datasets.md)
  std::string images;  // idx: the images file (.gz or not); fashion-mnist: "test" or "train";
                       // image_folder: the folder
  std::string labels;  // idx: the labels file; image_folder: the list of class names (sorted
                       // WNIDs), or of "file label"
  std::string cache;   // image_folder: folder of the packed cache; empty: the user's cache folder;
                       // "none": no cache
  std::string order = kRandomOrder;  // or kFileOrder (image_order.h)
  std::string sha256{};              // of a pack's file (image_pack.h); empty: of no file
  std::string decoder = kLibjpeg;    // of an image_folder's JPEG files, or kNvjpeg
  std::string decoder_version{};     // of nvJPEG, that the plan was made for; empty: any
};

// Where the pictures of a chunk came from.
struct LoadStats {
  std::int64_t decoded = 0;
  std::int64_t decoded_by_gpu = 0;  // of them
  std::int64_t from_cache = 0;
  std::string cache_problem;  // not empty: why the packed cache is not used, or is read only
};

// A range of images, decoded: pixels [count, H, W, C] as uint8, row-major.
struct ImageChunk {
  std::int64_t first = 0;
  std::int64_t count = 0;
  Shape shape;  // of one image
  std::vector<std::uint8_t> pixels;
  std::vector<std::int32_t> labels;  // in [0, num_classes)
  std::vector<std::int64_t>
      broken;  // indices (of the data set) that could not be decoded: pixels are 0
  std::vector<std::string> broken_why;  // parallel: path and reason
  LoadStats stats;
};

class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual std::int64_t size() const = 0;
  // image_folder: of the class list; idx: the largest label + 1. A network with fewer outputs does
  // not fit.
  virtual std::int64_t num_classes() const = 0;
  // Of the first `count` images, each in [0, num_classes). Throws std::invalid_argument where there
  // are fewer.
  virtual std::vector<std::int32_t> labels(std::int64_t count) const = 0;
  // By class: WNIDs, or what the data set's makers call them. Empty where they are not known.
  virtual std::vector<std::string> class_names() const = 0;
  // Hex SHA-256 over what decides labels and pixels: file names, sizes and labels (idx: the files'
  // inflated bytes), their order, and the decoder where it is nvJPEG.
  virtual std::string fingerprint() const = 0;
  // Images [first, first + count) scaled and cropped to `shape` (same channels). Decodes with up to
  // `num_threads`. A picture that cannot be decoded is no error: it is listed in `broken`. One call
  // at a time. Throws std::invalid_argument for a range outside the data set or a shape this data
  // set cannot give; with nvJPEG also what NvjpegDecoder throws (nvjpeg_decoder.h).
  virtual ImageChunk load(std::int64_t first, std::int64_t count, const Shape& shape,
                          int num_threads) = 0;
};

// Throws std::invalid_argument naming path and problem; where nvJPEG is asked for and not there,
// or there in another version, NvjpegUnavailable (nvjpeg_library.h).
std::unique_ptr<Dataset> open_dataset(const DatasetSpec& spec);

// Throws std::invalid_argument, naming `where`, unless images [first, first + count) are in the
// data set.
void check_image_range(const Dataset& dataset, std::int64_t first, std::int64_t count,
                       const std::string& where);

}  // namespace squant::eval
