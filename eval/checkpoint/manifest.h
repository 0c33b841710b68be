// The published checkpoints that are known by their digests (experiments/checkpoints.json, built
// into the library).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "eval/checkpoint/checkpoint.h"

namespace squant::eval {

struct KnownCheckpoint {
  std::string model;      // "resnet18"
  std::string source;     // "pytorchcv 0.0.51"
  std::string sha1;       // of the .pth file, lower-case hex
  std::string file_name;  // of the .pth file
  std::string url;        // where it is published: the .pth.zip, or a package's page
};

// In the manifest's order. The reference stays valid for the life of the program.
const std::vector<KnownCheckpoint>& known_checkpoints();

// The published file that has this digest.
std::optional<KnownCheckpoint> identify(std::string_view sha1);
std::optional<KnownCheckpoint> identify(const Checkpoint& checkpoint);

// One line for a result: which published file this is; or that it is another than the one published
// for `model`; or that none is known for `model`.
std::string describe_origin(const Checkpoint& checkpoint, std::string_view model);

}  // namespace squant::eval
