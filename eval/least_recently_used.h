// A cache with a budget in bytes.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <utility>

namespace squant::eval {

// What was used last stays, up to a number of bytes; the entry just asked for always does.
template <typename Value>
class LeastRecentlyUsed {
 public:
  explicit LeastRecentlyUsed(std::int64_t budget_bytes) : budget_(budget_bytes) {}

  std::shared_ptr<Value> find(const std::string& key) {
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (entry->key == key) {
        entries_.splice(entries_.begin(), entries_, entry);
        return entries_.front().value;
      }
    }
    return nullptr;
  }
  void insert(const std::string& key, std::shared_ptr<Value> value, std::int64_t bytes) {
    entries_.push_front({key, std::move(value), bytes});
    used_ += bytes;
    while (used_ > budget_ && entries_.size() > 1) {
      used_ -= entries_.back().bytes;
      entries_.pop_back();
    }
  }

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<Value> value;
    std::int64_t bytes = 0;
  };
  std::int64_t budget_;
  std::int64_t used_ = 0;
  std::list<Entry> entries_;
};

}  // namespace squant::eval
