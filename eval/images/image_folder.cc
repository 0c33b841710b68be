#include "eval/images/image_folder.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>

#include "eval/checkpoint/checkpoint.h"
#include "eval/images/file_bytes.h"
#include "eval/images/nvjpeg_decoder.h"
#include "eval/images/packed_cache.h"
#include "eval/images/picture.h"
#include "eval/images/picture_list.h"

namespace squant::eval {
namespace {

// Larger ones are refused: [kMaxSize, kMaxSize, 3] is the memory of one picture.
constexpr std::int64_t kMaxSize = 4096;
// Decoding takes milliseconds. Whoever claims a picture for longer is stopped, or its disk is slow.
constexpr std::chrono::seconds kPatience{3};

// nvJPEG as the spec asks for it; null: libjpeg decodes.
std::unique_ptr<NvjpegDevice> device_of(const DatasetSpec& spec) {
  if (spec.decoder == kLibjpeg) return nullptr;
  if (spec.decoder != kNvjpeg) {
    throw std::invalid_argument("data set: unknown decoder \"" + spec.decoder + "\", expected \"" +
                                kLibjpeg + "\" or \"" + kNvjpeg + "\"");
  }
  const NvjpegLibrary& library = nvjpeg();
  if (!spec.decoder_version.empty() && spec.decoder_version != library.version) {
    throw NvjpegUnavailable("decoder nvjpeg: this machine has nvJPEG " + library.version +
                            ", but the plan was made for " + spec.decoder_version +
                            ": their pixels may differ, so every machine needs the same one");
  }
  return std::make_unique<NvjpegDevice>(library);
}

// Of libjpeg nothing is said: it is what fingerprints have always stood for.
std::string decoder_tag(const NvjpegDevice* device) {
  return device == nullptr ? "" : "decoder nvjpeg " + device->library().version + '\n';
}

// Names, sizes and labels; not the bytes, which would mean reading the whole data set before every
// sweep.
std::string fingerprint_of(const PictureList& list, const std::string& order,
                           const NvjpegDevice* device) {
  std::string text = decoder_tag(device) + order_tag(order) + "image_folder 1 " +
                     std::to_string(list.num_classes) + '\n';
  for (const PictureFile& file : list.files) {
    text += file.path;
    text += '\0';
    text += std::to_string(file.size_bytes) + ' ' + std::to_string(file.label) + '\n';
  }
  return sha256_hex(text.data(), text.size());
}

// What a thread decodes with, from chunk to chunk.
struct Desk {
  explicit Desk(NvjpegDevice* device) : reader(device) {}
  PictureReader reader;
  std::vector<std::uint8_t> bytes;  // of the file
};

// Desks that wait for a thread. A GPU's take milliseconds to make.
class Desks {
 public:
  explicit Desks(NvjpegDevice* device) : device_(device) {}
  std::unique_ptr<Desk> take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return std::make_unique<Desk>(device_);
    std::unique_ptr<Desk> desk = std::move(free_.back());
    free_.pop_back();
    return desk;
  }
  void give_back(std::unique_ptr<Desk> desk) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(desk));
  }

 private:
  NvjpegDevice* device_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Desk>> free_;
};

// Calls work(i, desk) for each i in [0, count) from up to `num_threads` threads, each with a desk
// of its own. The first exception is thrown on.
template <typename Work>
void for_each_picture(Desks& desks, std::int64_t count, int num_threads, const Work& work) {
  std::atomic<std::int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr error;
  const auto run = [&] {
    try {
      std::unique_ptr<Desk> desk = desks.take();
      for (std::int64_t i = next++; i < count; i = next++) work(i, *desk);
      desks.give_back(std::move(desk));
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
      next = count;
    }
  };
  std::vector<std::jthread> helpers;
  const std::int64_t num_helpers = std::min<std::int64_t>(num_threads, count) - 1;
  for (std::int64_t i = 0; i < num_helpers; ++i) helpers.emplace_back(run);
  run();
  helpers.clear();
  if (error) std::rethrow_exception(error);
}

// Until nobody else decodes the picture, or one seems to stand still: then nobody is waited for any
// more (`is_patient`), and what others claim is decoded here, too.
void wait_for(PackedCache::Claim& claim, std::atomic<bool>& is_patient) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (is_patient && !claim.try_again()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (std::chrono::steady_clock::now() > deadline) is_patient = false;
  }
}

class ImageFolder final : public Dataset {
 public:
  explicit ImageFolder(const DatasetSpec& spec)
      : folder_(spec.images),
        device_(device_of(spec)),
        desks_(device_.get()),
        list_(list_pictures(spec.images, spec.labels)),
        fingerprint_(fingerprint_of(list_, spec.order, device_.get())) {
    put_in_order(list_.files, image_order(spec.order, size()));
    if (spec.cache == "none") {
      cache_problem_ = "switched off";
    } else if (!spec.cache.empty()) {
      cache_folder_ = spec.cache;
    } else if (const std::string user = user_cache_dir(); !user.empty()) {
      cache_folder_ = user + "/images";
    } else {
      give_up_cache("neither XDG_CACHE_HOME nor HOME says where to keep it");
    }
  }

  std::int64_t size() const override { return static_cast<std::int64_t>(list_.files.size()); }
  std::int64_t num_classes() const override { return list_.num_classes; }
  std::string fingerprint() const override { return fingerprint_; }
  std::vector<std::string> class_names() const override { return list_.class_names; }
  std::vector<std::int32_t> labels(std::int64_t count) const override {
    check_image_range(*this, 0, count, folder_);
    return labels_of(0, count);
  }
  ImageChunk load(std::int64_t first, std::int64_t count, const Shape& shape,
                  int num_threads) override;

 private:
  enum class Outcome : std::uint8_t { kFromCache, kDecoded, kDecodedByGpu, kBroken };

  const PictureFile& file(std::int64_t index) const {
    return list_.files[static_cast<std::size_t>(index)];
  }
  FileVersion version_of(std::int64_t index) const {
    return {file(index).size_bytes, file(index).modified_ns};
  }
  std::vector<std::int32_t> labels_of(std::int64_t first, std::int64_t count) const;
  PackedCache* cache_for(std::int64_t size);
  bool is_writable() const;
  Outcome decode(std::int64_t index, const Shape& shape, Desk& desk, std::uint8_t* pixels,
                 std::string& why) const;
  void store(PackedCache& cache, std::int64_t index, const FileVersion& version,
             const std::uint8_t* pixels);
  void give_up_cache(const std::string& why);

  std::string folder_;
  std::unique_ptr<NvjpegDevice> device_;  // null: libjpeg decodes
  Desks desks_;
  PictureList list_;
  std::string fingerprint_;
  std::string cache_folder_;                                     // empty: no cache
  std::map<std::int64_t, std::unique_ptr<PackedCache>> caches_;  // by size
  mutable std::mutex mutex_;  // guards the two below while threads decode
  bool writable_ = true;
  std::string cache_problem_;
};

void ImageFolder::give_up_cache(const std::string& why) {
  writable_ = false;
  cache_problem_ = why;
  spdlog::warn(
      "packed pictures: {}; pictures that are not packed yet are decoded again for every use", why);
}

PackedCache* ImageFolder::cache_for(std::int64_t size) {
  if (cache_folder_.empty()) return nullptr;
  std::unique_ptr<PackedCache>& cache = caches_[size];
  if (cache == nullptr) {
    try {
      cache = std::make_unique<PackedCache>(cache_folder_, fingerprint_, this->size(), size);
    } catch (const CacheError& error) {
      cache_folder_.clear();
      give_up_cache(error.what());
      return nullptr;
    }
    if (cache->read_only()) give_up_cache(cache->path() + " is read only");
  }
  return cache.get();
}

std::vector<std::int32_t> ImageFolder::labels_of(std::int64_t first, std::int64_t count) const {
  std::vector<std::int32_t> labels;
  for (std::int64_t i = 0; i < count; ++i) labels.push_back(file(first + i).label);
  return labels;
}

bool ImageFolder::is_writable() const {
  const std::lock_guard lock(mutex_);
  return writable_;
}

// Black and `why` where it is broken.
ImageFolder::Outcome ImageFolder::decode(std::int64_t index, const Shape& shape, Desk& desk,
                                         std::uint8_t* pixels, std::string& why) const {
  const std::string path = folder_ + "/" + file(index).path;
  try {
    read_file(path, desk.bytes);
    if (static_cast<std::int64_t>(desk.bytes.size()) != file(index).size_bytes)
      throw PictureError("changed during the sweep");
    const DecodedBy by = desk.reader.read(desk.bytes, shape.height, pixels);
    return by == DecodedBy::kGpu ? Outcome::kDecodedByGpu : Outcome::kDecoded;
  } catch (const PictureError& error) {
    why = path + ": " + error.what();
  } catch (const NvjpegUnavailable&) {
    throw;  // no picture is to blame
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(path + ": " + error.what());  // the GPU's, perhaps over this picture
  } catch (const std::invalid_argument& error) {
    why = error.what();
  }
  std::memset(pixels, 0, static_cast<std::size_t>(shape.size()));
  return Outcome::kBroken;
}

void ImageFolder::store(PackedCache& cache, std::int64_t index, const FileVersion& version,
                        const std::uint8_t* pixels) {
  if (!is_writable()) return;
  try {
    cache.put(index, version, pixels);
  } catch (const CacheError& error) {
    const std::lock_guard lock(mutex_);
    if (writable_) give_up_cache(error.what());
  }
}

ImageChunk ImageFolder::load(std::int64_t first, std::int64_t count, const Shape& shape,
                             int num_threads) {
  check_image_range(*this, first, count, folder_);
  if (shape.channels != 3 || shape.height != shape.width || shape.height < 1 ||
      shape.height > kMaxSize) {
    throw std::invalid_argument(folder_ + ": pictures are given as 3 x S x S with S up to " +
                                std::to_string(kMaxSize) + ", the network wants " +
                                std::to_string(shape.channels) + " x " +
                                std::to_string(shape.height) + " x " + std::to_string(shape.width));
  }
  // A caller that only asks whether the shape fits leaves nothing behind on the disk.
  PackedCache* cache = count > 0 ? cache_for(shape.height) : nullptr;
  const std::int64_t picture_bytes = shape.size();
  ImageChunk chunk;
  chunk.first = first;
  chunk.count = count;
  chunk.shape = shape;
  chunk.pixels.resize(static_cast<std::size_t>(count * picture_bytes));
  chunk.labels = labels_of(first, count);
  std::vector<Outcome> outcomes(static_cast<std::size_t>(count), Outcome::kFromCache);
  std::vector<std::string> reasons(static_cast<std::size_t>(count));

  std::mutex mutex;
  std::vector<std::int64_t> put_off;  // other processes are at them
  std::atomic<bool> is_patient{true};
  const auto load_one = [&](std::int64_t i, bool may_put_off, Desk& desk) {
    const auto at = static_cast<std::size_t>(i);
    const std::int64_t index = first + i;
    std::uint8_t* pixels = chunk.pixels.data() + i * picture_bytes;
    const FileVersion version = version_of(index);
    if (cache != nullptr && cache->get(index, version, pixels)) return;
    std::optional<PackedCache::Claim> claim;  // not where nobody could take it from the cache
    if (cache != nullptr && is_writable()) claim.emplace(*cache, index);
    if (claim && !claim->is_held() && may_put_off) {
      const std::lock_guard lock(mutex);
      put_off.push_back(i);
      return;
    }
    if (claim && !claim->is_held()) wait_for(*claim, is_patient);
    if (claim && cache->get(index, version, pixels)) return;  // meanwhile, by another process
    outcomes[at] = decode(index, shape, desk, pixels, reasons[at]);
    if (claim && outcomes[at] != Outcome::kBroken) store(*cache, index, version, pixels);
  };
  for_each_picture(desks_, count, num_threads,
                   [&](std::int64_t i, Desk& desk) { load_one(i, true, desk); });
  for_each_picture(desks_, std::ssize(put_off), num_threads, [&](std::int64_t i, Desk& desk) {
    load_one(put_off[static_cast<std::size_t>(i)], false, desk);
  });

  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (outcomes[at] == Outcome::kFromCache) ++chunk.stats.from_cache;
    if (outcomes[at] == Outcome::kDecoded) ++chunk.stats.decoded;
    if (outcomes[at] == Outcome::kDecodedByGpu) {
      ++chunk.stats.decoded;
      ++chunk.stats.decoded_by_gpu;
    }
    if (outcomes[at] != Outcome::kBroken) continue;
    chunk.broken.push_back(first + i);
    chunk.broken_why.push_back(std::move(reasons[at]));
  }
  chunk.stats.cache_problem = cache_problem_;
  return chunk;
}

}  // namespace

std::unique_ptr<Dataset> open_image_folder(const DatasetSpec& spec) {
  if (spec.images.empty())
    throw std::invalid_argument("data set of format \"image_folder\": give \"images\", a folder");
  return std::make_unique<ImageFolder>(spec);
}

}  // namespace squant::eval
