#include "eval/checkpoint/manifest.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "manifest_json.h"

namespace squant::eval {

const std::vector<KnownCheckpoint>& known_checkpoints() {
  static const auto known = [] {
    std::vector<KnownCheckpoint> list;
    const auto manifest = nlohmann::json::parse(kManifestJson);
    for (const auto& entry : manifest.at("checkpoints")) {
      list.push_back({entry.at("model"), entry.at("source"), entry.at("sha1"), entry.at("file"),
                      entry.at("url")});
    }
    return list;
  }();
  return known;
}

std::optional<KnownCheckpoint> identify(std::string_view sha1) {
  const auto& known = known_checkpoints();
  const auto found = std::find_if(known.begin(), known.end(),
                                  [&](const KnownCheckpoint& k) { return k.sha1 == sha1; });
  if (found == known.end()) return std::nullopt;
  return *found;
}

std::optional<KnownCheckpoint> identify(const Checkpoint& checkpoint) {
  return identify(checkpoint.sha1);
}

std::string describe_origin(const Checkpoint& checkpoint, std::string_view model) {
  const auto name = [](const KnownCheckpoint& k) { return k.file_name + " of " + k.source; };
  const auto found = identify(checkpoint);
  if (found && found->model == model) return "published: " + name(*found);
  if (found) return "published for another model, " + found->model + ": " + name(*found);
  const auto& known = known_checkpoints();
  const auto expected = std::find_if(known.begin(), known.end(),
                                     [&](const KnownCheckpoint& k) { return k.model == model; });
  if (expected == known.end()) return "no published checkpoint of this model is known";
  return "not the published " + name(*expected) + " (SHA-1 " + checkpoint.sha1 + ")";
}

}  // namespace squant::eval
