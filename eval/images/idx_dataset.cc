#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <utility>

#include "eval/checkpoint/checkpoint.h"
#include "eval/images/file_bytes.h"
#include "eval/images/idx.h"
#include "eval/images/image_order.h"

namespace squant::eval {
namespace {

IdxArray read_idx(const std::string& path, std::size_t num_dims, const char* what) {
  std::vector<std::uint8_t> bytes;
  read_file(path, bytes);
  IdxArray array = parse_idx(bytes, path);
  if (array.dims.size() != num_dims) {
    throw std::invalid_argument(path + ": has " + std::to_string(array.dims.size()) +
                                " dimensions, but " + what + " have " + std::to_string(num_dims) +
                                " (are the two files swapped?)");
  }
  return array;
}

std::string shape_text(const Shape& shape) {
  return std::to_string(shape.channels) + " x " + std::to_string(shape.height) + " x " +
         std::to_string(shape.width);
}

// As its makers call them: github.com/zalandoresearch/fashion-mnist, "Labels".
const std::vector<std::string> kFashionClasses{"T-shirt/top", "Trouser",   "Pullover", "Dress",
                                               "Coat",        "Sandal",    "Shirt",    "Sneaker",
                                               "Bag",         "Ankle boot"};

class IdxDataset final : public Dataset {
 public:
  IdxDataset(const std::string& images_path, const std::string& labels_path,
             const std::string& order, std::vector<std::string> class_names = {})
      : class_names_(std::move(class_names)),
        images_path_(images_path),
        images_(read_idx(images_path, 3, "images")),
        labels_(read_idx(labels_path, 1, "labels")) {
    if (images_.dims[0] != labels_.dims[0]) {
      throw std::invalid_argument(images_path + ": holds " + std::to_string(images_.dims[0]) +
                                  " images, but " + labels_path + " holds " +
                                  std::to_string(labels_.dims[0]) + " labels");
    }
    if (images_.values.empty()) throw std::invalid_argument(images_path + ": holds no images");
    // Of the inflated bytes: the same data set compressed by another gzip is the same data set.
    const std::string both = order_tag(order) + digest_of(images_) + digest_of(labels_);
    fingerprint_ = sha256_hex(both.data(), both.size());
    bring_in_order(order);
    num_classes_ = 1 + *std::max_element(labels_.values.begin(), labels_.values.end());
  }

  std::int64_t size() const override { return images_.dims[0]; }
  std::int64_t num_classes() const override { return num_classes_; }
  std::string fingerprint() const override { return fingerprint_; }
  std::vector<std::string> class_names() const override { return class_names_; }
  std::vector<std::int32_t> labels(std::int64_t count) const override {
    check_image_range(*this, 0, count, images_path_);
    return {labels_.values.begin(), labels_.values.begin() + count};
  }

  ImageChunk load(std::int64_t first, std::int64_t count, const Shape& shape,
                  int /*num_threads*/) override {
    check_image_range(*this, first, count, images_path_);
    const Shape own{1, images_.dims[1], images_.dims[2]};
    if (shape != own) {
      throw std::invalid_argument(images_path_ + ": its images are " + shape_text(own) +
                                  ", the network wants " + shape_text(shape) +
                                  " (IDX images are not scaled)");
    }
    ImageChunk chunk;
    chunk.first = first;
    chunk.count = count;
    chunk.shape = own;
    const auto* pixels = images_.values.data() + first * own.size();
    chunk.pixels.assign(pixels, pixels + count * own.size());
    const auto* labels = labels_.values.data() + first;
    chunk.labels.assign(labels, labels + count);
    return chunk;
  }

 private:
  static std::string digest_of(const IdxArray& array) {
    std::string text;
    for (const std::int64_t dim : array.dims) text += std::to_string(dim) + ' ';
    return text + sha256_hex(array.values.data(), array.values.size()) + '\n';
  }

  void bring_in_order(const std::string& order) {
    const std::vector<std::int64_t> positions = image_order(order, size());
    put_in_order(labels_.values, positions);
    const auto pixels = static_cast<std::size_t>(images_.dims[1] * images_.dims[2]);
    std::vector<std::uint8_t> ordered(images_.values.size());
    for (std::size_t i = 0; i < positions.size(); ++i) {
      std::copy_n(images_.values.data() + static_cast<std::size_t>(positions[i]) * pixels, pixels,
                  ordered.data() + i * pixels);
    }
    images_.values = std::move(ordered);
  }

  std::vector<std::string> class_names_;
  std::string images_path_;
  IdxArray images_;
  IdxArray labels_;
  std::int64_t num_classes_ = 0;
  std::string fingerprint_;
};

}  // namespace

std::unique_ptr<Dataset> open_idx(const std::string& images, const std::string& labels,
                                  const std::string& order) {
  if (images.empty() || labels.empty()) {
    throw std::invalid_argument("data set of format \"idx\": give both \"images\" and \"labels\"");
  }
  return std::make_unique<IdxDataset>(images, labels, order);
}

std::unique_ptr<Dataset> open_fashion_mnist(const std::string& part, const std::string& order) {
  if (part != "test" && part != "train") {
    throw std::invalid_argument(
        "data set of format \"fashion-mnist\": images must be \"test\" or \"train\", got \"" +
        part + "\"");
  }
  const std::string prefix = part == "test" ? "/t10k" : "/train";
  std::vector<std::string> places{"/usr/share/datasets/fashion-mnist"};
  if (const std::string cache = user_cache_dir(); !cache.empty())
    places.insert(places.begin(), cache + "/fashion-mnist");
  std::string tried;
  for (const std::string& place : places) {
    const std::string images = place + prefix + "-images-idx3-ubyte.gz";
    if (std::filesystem::exists(images))
      return std::make_unique<IdxDataset>(images, place + prefix + "-labels-idx1-ubyte.gz", order,
                                          kFashionClasses);
    tried += (tried.empty() ? "" : " and ") + images;
  }
  throw std::invalid_argument(
      "Fashion-MNIST is not installed (looked for " + tried +
      "): run `apt install dataset-fashion-mnist` or scripts/fetch-fashion-mnist.sh");
}

}  // namespace squant::eval
