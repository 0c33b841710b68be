// Writes .safetensors files tensor by tensor, in any order. (A whole state dict: safetensors.h.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "eval/checkpoint/output_file.h"

namespace squant::eval {

// A tensor of a file to write.
struct SafetensorsField {
  std::string name;
  std::string dtype;  // as the format names it: "F32", "I8", ...
  std::vector<std::int64_t> shape;
};

// A file whose tensors are all known before their bytes are. They lie in the file as the format's
// own library puts them: those of larger elements first, so that each is aligned, and by name.
// The same fields and metadata give the same bytes.
class SafetensorsWriter {
 public:
  // Lays the file out and takes its space on the disk. Throws std::invalid_argument, before
  // anything is created, naming a tensor whose name is reserved, there twice or not UTF-8, whose
  // dtype is unknown or whose shape overflows; std::system_error when the file cannot be created or
  // the disk lacks the room.
  SafetensorsWriter(const std::string& path, std::vector<SafetensorsField> fields,
                    std::map<std::string, std::string> metadata);

  // The next bytes of tensor `name`, in row-major order; tensors may take turns. Throws
  // std::logic_error for more bytes than the tensor has.
  void append(const std::string& name, std::span<const std::byte> bytes);

  // Replaces a value of the metadata by another of the same length, which need not be known before.
  void set_metadata(const std::string& key, const std::string& value);

  // The size of the whole file.
  std::uint64_t size_bytes() const { return size_bytes_; }

  // Renames the file to its path. Throws std::logic_error when a tensor lacks bytes.
  void publish();

 private:
  struct Place {
    SafetensorsField field;
    std::uint64_t begin = 0;  // offsets in the data
    std::uint64_t end = 0;
    std::uint64_t next = 0;  // where its next bytes go
  };
  static std::map<std::string, Place> lay_out(std::vector<SafetensorsField> fields,
                                              const std::string& path);
  std::string header_text() const;

  std::string path_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, Place> places_;
  std::string header_;
  std::uint64_t size_bytes_ = 0;
  OutputFile file_;
};

}  // namespace squant::eval
