#include "eval/images/image_pack.h"

#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "eval/checkpoint/digest.h"
#include "eval/checkpoint/mapped_file.h"
#include "eval/checkpoint/safetensors.h"
#include "eval/checkpoint/safetensors_writer.h"
#include "eval/images/picture.h"

namespace squant::eval {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::int64_t kPiece = 256;  // images that are in memory while they are packed
constexpr const char* kFactsKey = "squant_image_pack";
constexpr int kLayoutVersion = 1;

std::int64_t checksum(std::int64_t index, std::int32_t label, std::uint8_t broken,
                      std::span<const std::byte> pixels) {
  const std::array<std::int64_t, 3> facts{index, label, broken};
  return static_cast<std::int64_t>(
      XXH3_64bits_withSeed(pixels.data(), pixels.size(), XXH3_64bits(facts.data(), sizeof(facts))));
}

std::string facts_of(const Dataset& dataset) {
  return json{{"version", kLayoutVersion},
              {"preprocessing", kPreprocessVersion},
              {"fingerprint", dataset.fingerprint()},
              {"num_classes", dataset.num_classes()},
              {"class_names", dataset.class_names()}}
      .dump();
}

void append(SafetensorsWriter& file, const ImageChunk& chunk) {
  const auto image_bytes = static_cast<std::size_t>(chunk.shape.size());
  const std::span<const std::byte> pixels = std::as_bytes(std::span(chunk.pixels));
  std::vector<std::int64_t> checksums;
  std::vector<std::uint8_t> broken(static_cast<std::size_t>(chunk.count), 0);
  for (const std::int64_t index : chunk.broken)
    broken[static_cast<std::size_t>(index - chunk.first)] = 1;
  for (std::int64_t i = 0; i < chunk.count; ++i) {
    const std::size_t begin = static_cast<std::size_t>(i) * image_bytes;
    const auto at = static_cast<std::size_t>(i);
    checksums.push_back(checksum(chunk.first + i, chunk.labels[at], broken[at],
                                 pixels.subspan(begin, image_bytes)));
  }
  file.append("pixels", pixels);
  file.append("labels", std::as_bytes(std::span(chunk.labels)));
  file.append("broken", std::as_bytes(std::span(broken)));
  file.append("checksums", std::as_bytes(std::span(checksums)));
}

// Of no other process, also where hosts share the folder, and known to the cleaning of the folder.
std::string draft_path(const std::string& folder) {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  return folder + "/images." + host.data() + '.' + std::to_string(::getpid()) + ".new";
}

const SafetensorsEntry& entry(const SafetensorsView& view, const std::string& name,
                              const std::string& dtype, std::size_t rank, const std::string& path) {
  const auto found = view.entries.find(name);
  if (found == view.entries.end() || found->second.dtype != dtype ||
      found->second.shape.size() != rank) {
    throw std::invalid_argument(path + ": no pack of images: it lacks the tensor \"" + name +
                                "\" of type " + dtype + " and rank " + std::to_string(rank));
  }
  return found->second;
}

template <typename T>
std::vector<T> values(const SafetensorsEntry& entry) {
  std::vector<T> values(entry.data.size() / sizeof(T));
  std::memcpy(values.data(), entry.data.data(), values.size() * sizeof(T));
  return values;
}

class PackedImages final : public Dataset {
 public:
  explicit PackedImages(const std::string& path) : path_(path), file_(path) {
    ::stat(path.c_str(), &opened_);
    const SafetensorsView view = parse_safetensors(file_.bytes(), path);
    read_facts(view);
    const SafetensorsEntry& pixels = entry(view, "pixels", "U8", 4, path);
    shape_ = {pixels.shape[3], pixels.shape[1], pixels.shape[2]};
    pixels_ = pixels.data;
    labels_ = values<std::int32_t>(entry(view, "labels", "I32", 1, path));
    broken_ = values<std::uint8_t>(entry(view, "broken", "U8", 1, path));
    checksums_ = values<std::int64_t>(entry(view, "checksums", "I64", 1, path));
    const auto count = static_cast<std::size_t>(pixels.shape[0]);
    if (labels_.size() != count || broken_.size() != count || checksums_.size() != count)
      throw std::invalid_argument(path +
                                  ": no pack of images: its tensors disagree on their number");
    for (const std::int32_t label : labels_) {
      if (label < 0 || label >= num_classes_)
        throw std::invalid_argument(path + ": no pack of images: a label is no class");
    }
  }

  std::int64_t size() const override { return std::ssize(labels_); }
  std::int64_t num_classes() const override { return num_classes_; }
  std::string fingerprint() const override { return fingerprint_; }
  std::vector<std::string> class_names() const override { return class_names_; }
  std::vector<std::int32_t> labels(std::int64_t count) const override {
    check_image_range(*this, 0, count, path_);
    return {labels_.begin(), labels_.begin() + count};
  }

  ImageChunk load(std::int64_t first, std::int64_t count, const Shape& shape,
                  int /*num_threads*/) override {
    check_image_range(*this, first, count, path_);
    if (shape != shape_)
      throw std::invalid_argument(path_ + ": its images were packed for networks of another input");
    ImageChunk chunk;
    chunk.first = first;
    chunk.count = count;
    chunk.shape = shape;
    chunk.pixels.resize(static_cast<std::size_t>(count * shape.size()));
    chunk.labels.assign(labels_.begin() + first, labels_.begin() + first + count);
    chunk.stats.from_cache = count;
    for (std::int64_t i = 0; i < count; ++i) load_one(first + i, chunk);
    return chunk;
  }

 private:
  void read_facts(const SafetensorsView& view) {
    try {
      const json facts = json::parse(view.metadata.at(kFactsKey));
      if (facts.at("version") != kLayoutVersion || facts.at("preprocessing") != kPreprocessVersion)
        throw std::invalid_argument("another version of this program made it");
      fingerprint_ = facts.at("fingerprint").get<std::string>();
      num_classes_ = facts.at("num_classes").get<std::int64_t>();
      class_names_ = facts.at("class_names").get<std::vector<std::string>>();
    } catch (const std::exception& error) {
      throw std::invalid_argument(path_ + ": no pack of images: " + error.what());
    }
  }

  // Copied first and checked then: what is checked cannot change any more.
  void load_one(std::int64_t index, ImageChunk& chunk) {
    const auto bytes = static_cast<std::size_t>(shape_.size());
    const std::span<std::byte> target =
        std::as_writable_bytes(std::span(chunk.pixels))
            .subspan(static_cast<std::size_t>(index - chunk.first) * bytes, bytes);
    const auto at = static_cast<std::size_t>(index);
    std::memcpy(target.data(), pixels_.data() + at * bytes, bytes);
    if (checksum(index, labels_[at], broken_[at], target) != checksums_[at]) {
      remove_file();
      throw std::invalid_argument(path_ + ": image " + std::to_string(index) +
                                  " was damaged on this disk; the file is removed");
    }
    if (broken_[at] == 0) return;
    chunk.broken.push_back(index);
    chunk.broken_why.push_back("image " + std::to_string(index) + " of " + path_ +
                               ": could not be decoded when it was packed");
  }

  // Unless it is another one by now: perhaps it was fetched again.
  void remove_file() const {
    struct stat now {};
    if (::stat(path_.c_str(), &now) == 0 && now.st_dev == opened_.st_dev &&
        now.st_ino == opened_.st_ino)
      ::unlink(path_.c_str());
  }

  std::string path_;
  MappedFile file_;
  struct stat opened_ {};
  Shape shape_;
  std::span<const std::byte> pixels_;
  std::vector<std::int32_t> labels_;
  std::vector<std::uint8_t> broken_;
  std::vector<std::int64_t> checksums_;
  std::string fingerprint_;
  std::int64_t num_classes_ = 0;
  std::vector<std::string> class_names_;
};

}  // namespace

ImagePack pack_images(Dataset& dataset, std::int64_t count, const Shape& shape, int num_threads,
                      const std::string& folder,
                      const std::function<void(std::int64_t)>& progress) {
  dataset.load(0, 0, shape, num_threads);  // throws for a wrong shape, before anything is written
  fs::create_directories(folder);
  const std::string draft = draft_path(folder);
  ImagePack pack;
  {
    SafetensorsWriter file(draft,
                           {{"pixels", "U8", {count, shape.height, shape.width, shape.channels}},
                            {"labels", "I32", {count}},
                            {"broken", "U8", {count}},
                            {"checksums", "I64", {count}}},
                           {{kFactsKey, facts_of(dataset)}});
    for (std::int64_t first = 0; first < count; first += kPiece) {
      const ImageChunk chunk =
          dataset.load(first, std::min(kPiece, count - first), shape, num_threads);
      append(file, chunk);
      pack.broken.insert(pack.broken.end(), chunk.broken_why.begin(), chunk.broken_why.end());
      if (progress) progress(first + chunk.count);
    }
    file.publish();
    pack.size_bytes = static_cast<std::int64_t>(file.size_bytes());
  }
  pack.sha256 = sha256_file(draft, [&] {  // a pack can be large: it goes on
    if (progress) progress(count);
  });
  pack.path = folder + "/" + pack.sha256;
  fs::rename(draft, pack.path);
  return pack;
}

bool is_image_pack(const std::string& path) {
  try {
    return parse_safetensors(MappedFile(path).bytes(), path).metadata.contains(kFactsKey);
  } catch (const std::invalid_argument&) {
    return false;
  }
}

std::unique_ptr<Dataset> open_image_pack(const std::string& path) {
  return std::make_unique<PackedImages>(path);
}

}  // namespace squant::eval
