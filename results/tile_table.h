// Tiles as rows: new ones, and those that come a second time. Internal to results/.
// Every function runs inside the caller's transaction.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "results/connection.h"
#include "results/rows.h"

namespace squant::results {

class TileTable {
 public:
  enum class Stored : std::uint8_t {
    kNew,
    kKnown,      // the same tile was there: its counts are counted already
    kCompleted,  // ... and has got the outcomes it lacked
    kReplaced,   // ... with other counts, and had no digest: this one has taken its place
  };

  explicit TileTable(Connection& connection) : connection_(connection) {}

  // Digest and time of `tile` as they are to be stored. Throws StoreConflict as
  // Store::commit_tiles() does.
  Stored put(std::int64_t evaluation_id, const TileRow& tile);

 private:
  Query query(const char* sql) { return Query(connection_.statement(sql)); }
  bool insert(std::int64_t evaluation_id, const TileRow& tile);
  TileRow load(std::int64_t evaluation_id, const TileRow& tile);
  Stored put_again(std::int64_t evaluation_id, const TileRow& tile);
  void insert_predictions(std::int64_t evaluation_id, const TileRow& tile);
  [[noreturn]] void refuse(const TileRow& stored, const TileRow& tile) const;

  Connection& connection_;
};

// "[3,null,7]": the column prediction.classes.
std::string predictions_json(const std::vector<std::int32_t>& predictions);

}  // namespace squant::results
