#include "results/result_columns.h"

#include <type_traits>

namespace squant::results {
namespace {

template <typename Owner, typename Value>
Owner owner_of(Value Owner::*);

template <typename Owner, typename Value>
Value value_of(Value Owner::*);

template <auto kMember, typename Row>
auto& member(Row& row) {
  if constexpr (std::is_same_v<decltype(owner_of(kMember)), JobRow>) {
    return row.job.*kMember;
  } else {
    return row.*kMember;
  }
}

template <auto kMember>
constexpr bool is_text() {
  using Value = decltype(value_of(kMember));
  return std::is_same_v<Value, std::string> || std::is_same_v<Value, std::optional<std::string>>;
}

template <auto kMember>
void read_member(ResultRow& row, Query& query, int column) {
  auto& value = member<kMember>(row);
  using Value = std::remove_reference_t<decltype(value)>;
  if (query.is_null(column)) {
    value = Value{};
  } else if constexpr (is_text<kMember>()) {
    value = query.text(column);
  } else if constexpr (std::is_integral_v<Value>) {
    value = static_cast<Value>(query.integer(column));
  } else {
    value = query.real(column);
  }
}

template <auto kMember>
TextTable::Cell member_cell(const ResultRow& row) {
  const auto& value = member<kMember>(row);
  if constexpr (std::is_integral_v<std::remove_cvref_t<decltype(value)>>) {
    return TextTable::cell(static_cast<std::int64_t>(value));
  } else {
    return TextTable::cell(value);
  }
}

enum class Nulls { kAsStored, kWhenEmpty, kWithoutImages };

template <auto kMember, Nulls kNulls = Nulls::kAsStored>
constexpr ResultColumn column(const char* name, bool of_run = false) {
  return {name, &read_member<kMember>,
          [](const ResultRow& row) {
            if constexpr (kNulls == Nulls::kWithoutImages) {
              if (row.num_images == 0) return TextTable::Cell{};
            }
            if constexpr (kNulls == Nulls::kWhenEmpty) {
              if (member<kMember>(row) == std::remove_cvref_t<decltype(member<kMember>(row))>{}) {
                return TextTable::Cell{};
              }
            }
            return member_cell<kMember>(row);
          },
          is_text<kMember>(), of_run};
}

constexpr bool kOfRun = true;
constexpr ResultColumn kColumns[] = {
    column<&JobRow::model>("model"),
    column<&JobRow::bits>("bits"),
    column<&JobRow::mode>("mode"),
    column<&ResultRow::num_images>("num_images"),
    column<&ResultRow::num_top1>("num_top1"),
    column<&ResultRow::num_top5>("num_top5"),
    column<&ResultRow::top1_pct, Nulls::kWithoutImages>("top1_pct"),
    column<&ResultRow::top5_pct, Nulls::kWithoutImages>("top5_pct"),
    column<&ResultRow::ci_low_pct, Nulls::kWithoutImages>("ci_low_pct"),
    column<&ResultRow::ci_high_pct, Nulls::kWithoutImages>("ci_high_pct"),
    column<&ResultRow::digest>("digest"),
    column<&ResultRow::verdict>("verdict", kOfRun),
    column<&ResultRow::verdict_text>("verdict_text", kOfRun),
    column<&ResultRow::reference_top1_pct>("reference_top1_pct", kOfRun),
    column<&ResultRow::tolerance>("tolerance", kOfRun),
    column<&ResultRow::reference_source, Nulls::kWhenEmpty>("reference_source", kOfRun),
    column<&ResultRow::quantize_ms>("quantize_ms"),
    column<&ResultRow::calibrate_ms>("calibrate_ms"),
    column<&ResultRow::images_per_s>("images_per_s"),
    column<&ResultRow::num_broken>("num_broken"),
    column<&JobRow::num_images>("num_planned"),
    column<&ResultRow::failure, Nulls::kWhenEmpty>("failure"),
    column<&JobRow::rounding>("rounding"),
    column<&JobRow::sigma>("sigma"),
    column<&JobRow::calibration_images>("calibration_images"),
    column<&JobRow::engine>("engine"),
    column<&JobRow::weight_bits>("weight_bits"),
    column<&JobRow::activation_bits>("activation_bits"),
    column<&JobRow::checkpoint_sha256>("checkpoint_sha256"),
    column<&JobRow::checkpoint_note>("checkpoint_note"),
    column<&JobRow::checkpoint_path, Nulls::kWhenEmpty>("checkpoint_path", kOfRun),
    column<&JobRow::dataset_name>("dataset_name"),
    column<&JobRow::dataset_fingerprint>("dataset_fingerprint"),
    column<&JobRow::dataset_size>("dataset_size"),
    column<&JobRow::numerics_version>("numerics_version"),
    column<&JobRow::chunk>("chunk"),
    column<&ResultRow::compute_ms>("compute_ms"),
    column<&ResultRow::completed_at, Nulls::kWhenEmpty>("completed_at"),
    column<&ResultRow::run_id, Nulls::kWhenEmpty>("run_id", kOfRun),
    column<&ResultRow::reference_baseline_pct>("reference_baseline_pct", kOfRun),
    column<&JobRow::evaluation>("evaluation"),
    column<&JobRow::config_json>("config_json"),
    column<&JobRow::identity>("identity"),
    column<&ResultRow::job_id>("job_id"),
    column<&ResultRow::quantize_device, Nulls::kWhenEmpty>("quantize_device"),
};

}  // namespace

std::span<const ResultColumn> result_columns() { return kColumns; }

}  // namespace squant::results
