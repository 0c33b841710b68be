#include "results/tile_table.h"

#include "results/store.h"

namespace squant::results {
namespace {

std::string tile_name(const TileRow& tile) {
  return "images [" + std::to_string(tile.first) + ", " + std::to_string(tile.first + tile.count) +
         ") of evaluation " + tile.evaluation;
}

std::string counts_text(const TileRow& tile) {
  return std::to_string(tile.num_top1) + " top-1, " + std::to_string(tile.num_top5) + " top-5, " +
         std::to_string(tile.num_broken) + " broken, digest " + tile.digest.value_or("none");
}

bool has_equal_counts(const TileRow& a, const TileRow& b) {
  return a.num_top1 == b.num_top1 && a.num_top5 == b.num_top5 && a.num_broken == b.num_broken;
}

// Equal, or one of them is not known.
template <typename Value>
bool agree(const Value& a, const Value& b) {
  return a.empty() || b.empty() || a == b;
}

}  // namespace

std::string predictions_json(const std::vector<std::int32_t>& predictions) {
  std::string text = "[";
  for (const std::int32_t prediction : predictions) {
    if (text.size() > 1) text += ',';
    text += prediction < 0 ? "null" : std::to_string(prediction);
  }
  return text + ']';
}

TileTable::Stored TileTable::put(std::int64_t evaluation_id, const TileRow& tile) {
  if (!tile.predictions.empty() &&
      static_cast<std::int64_t>(tile.predictions.size()) != tile.count) {
    throw StoreError(connection_.path() + ": " + tile_name(tile) + " came with " +
                     std::to_string(tile.predictions.size()) + " predictions");
  }
  if (!insert(evaluation_id, tile)) return put_again(evaluation_id, tile);
  insert_predictions(evaluation_id, tile);
  return Stored::kNew;
}

bool TileTable::insert(std::int64_t evaluation_id, const TileRow& tile) {
  const std::optional<std::string> outcomes =
      tile.outcomes.empty() ? std::nullopt : std::optional(tile.outcomes);
  return query(
             "INSERT INTO tile VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO "
             "NOTHING")
             .bind(evaluation_id, tile.first, tile.count, tile.num_top1, tile.num_top5,
                   tile.num_broken, tile.digest, tile.run_id, tile.rank, tile.compute_ms,
                   tile.load_ms, tile.finished_at, outcomes)
             .run() == 1;
}

void TileTable::insert_predictions(std::int64_t evaluation_id, const TileRow& tile) {
  if (tile.predictions.empty()) return;
  const std::string json = predictions_json(tile.predictions);
  query("INSERT INTO prediction VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING")
      .bind(evaluation_id, tile.first, tile.count, json)
      .run();
}

TileRow TileTable::load(std::int64_t evaluation_id, const TileRow& tile) {
  Query found = query(
      "SELECT num_top1, num_top5, num_broken, digest, run_id, rank, coalesce(outcomes, '')"
      " FROM tile WHERE evaluation_id = ? AND first = ? AND count = ?");
  found.bind(evaluation_id, tile.first, tile.count).step();
  TileRow stored;
  stored.num_top1 = found.integer(0);
  stored.num_top5 = found.integer(1);
  stored.num_broken = found.integer(2);
  stored.digest = found.optional_text(3);
  stored.run_id = found.integer(4);
  stored.rank = static_cast<int>(found.integer(5));
  stored.outcomes = found.text(6);
  return stored;
}

// Float logits may differ between machines, so two tiles without digest need not agree.
TileTable::Stored TileTable::put_again(std::int64_t evaluation_id, const TileRow& tile) {
  const TileRow stored = load(evaluation_id, tile);
  std::string predictions;
  {
    Query found =
        query("SELECT classes FROM prediction WHERE evaluation_id = ? AND first = ? AND count = ?");
    if (found.bind(evaluation_id, tile.first, tile.count).step()) predictions = found.text(0);
  }
  const std::string own = tile.predictions.empty() ? "" : predictions_json(tile.predictions);
  if (stored.digest != tile.digest) refuse(stored, tile);
  const bool is_same = has_equal_counts(stored, tile) && agree(stored.outcomes, tile.outcomes) &&
                       agree(predictions, own);
  if (!is_same && stored.digest) refuse(stored, tile);
  if (!is_same) {
    if (own.empty() || !predictions.empty()) return Stored::kKnown;
    query("DELETE FROM tile WHERE evaluation_id = ? AND first = ? AND count = ?")
        .bind(evaluation_id, tile.first, tile.count)
        .run();
    insert(evaluation_id, tile);
    insert_predictions(evaluation_id, tile);
    return Stored::kReplaced;
  }
  insert_predictions(evaluation_id, tile);
  if (!stored.outcomes.empty() || tile.outcomes.empty()) return Stored::kKnown;
  query("UPDATE tile SET outcomes = ? WHERE evaluation_id = ? AND first = ? AND count = ?")
      .bind(tile.outcomes, evaluation_id, tile.first, tile.count)
      .run();
  return Stored::kCompleted;
}

void TileTable::refuse(const TileRow& stored, const TileRow& tile) const {
  const bool is_by_image = stored.digest == tile.digest && has_equal_counts(stored, tile);
  throw StoreConflict(connection_.path() + ": " + tile_name(tile) +
                      " came out differently: stored by run " + std::to_string(stored.run_id) +
                      " rank " + std::to_string(stored.rank) + " are " + counts_text(stored) +
                      "; run " + std::to_string(tile.run_id) + " rank " +
                      std::to_string(tile.rank) + " got " + counts_text(tile) +
                      (is_by_image ? ", but for other images" : "") +
                      ": hardware or software fault, nothing of this batch was stored");
}

}  // namespace squant::results
