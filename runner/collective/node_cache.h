// The files that a node has received, in a folder of its disk: FOLDER/SHA256, shared by all ranks
// of the node and found again by later sweeps.
//
// A file appears under its name by a rename, complete and verified. What a killed process leaves
// behind is a draft, removed by later ones when it is a day old. Any file of the folder may be
// deleted at any time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "eval/checkpoint/digest.h"
#include "runner/collective/file_store.h"

namespace squant::runner {

class NodeCache final : public FileStore {
 public:
  // Creates nothing before something is received.
  explicit NodeCache(std::string folder);
  ~NodeCache() override;

  const std::string& folder() const { return folder_; }
  // The root's own file, to be served from where it lies.
  void add_original(const SharedFile& file) { originals_[file.sha256] = file.path; }

  std::optional<std::string> find(const std::string& sha256) override;
  bool can_read(const std::string& path) override;
  void create(const std::string& sha256, std::int64_t size) override;
  void append(const std::string& sha256, std::span<const std::uint8_t> bytes) override;
  std::optional<std::string> finish(const std::string& sha256) override;
  void abandon(const std::string& sha256) override;
  std::optional<std::int64_t> available(const std::string& sha256) override;
  Bytes read(const std::string& sha256, std::int64_t offset, std::int64_t count) override;

 private:
  class Handle;  // an open file
  struct Draft;
  std::string path_of(const std::string& sha256) const { return folder_ + "/" + sha256; }
  Handle* open_whole(const std::string& sha256);

  std::string folder_;
  std::map<std::string, std::string> originals_;  // by SHA-256
  std::map<std::string, std::unique_ptr<Draft>> drafts_;
  std::map<std::string, std::unique_ptr<Handle>> whole_;  // that are being served
};

// What killed processes have left there more than a day ago. Does nothing where it cannot.
void remove_old_drafts(const std::string& folder);

// files/ in the user's cache folder; empty where no variable says where that is.
std::string file_cache_folder();

}  // namespace squant::runner
