// The sections of the report, each as a piece of the page. Internal to results/.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "results/connection.h"
#include "results/panels.h"
#include "results/printer.h"
#include "results/reference_times.h"
#include "results/rows.h"

namespace squant::results {

// Bounds on what a page shows.
inline constexpr std::size_t kMaxReportRows = 1000;
inline constexpr std::size_t kMaxReportPanels = 12;
inline constexpr std::size_t kMaxReportLayers = 400;
inline constexpr std::size_t kMaxReportRuns = 3;
inline constexpr std::size_t kMaxReportLanes = 48;  // lines of a timeline

// --- pieces
// A section with its heading; empty content gives no section.
std::string section(std::string_view id, std::string_view title, const std::string& content);
std::string paragraph(std::string_view text);
// A drawing with what is written below it; `caption` is text.
std::string figure(const std::string& drawing, std::string_view caption);
// Numbers stand to the right.
std::string html_table(const TextTable& table, std::string_view caption);
// The table behind a plot, closed until somebody opens it.
std::string data_table(const TextTable& table, std::string_view caption);
std::string verdict_badge(const std::string& verdict);
// The keys of modes, drawn as the plots draw them.
std::string mode_legend(const std::vector<ModeOrder>& modes, bool has_reference);
// "m0" to "m5", the class of a mode's colour, and its marker.
std::string mode_style(const ModeOrder& mode);
std::size_t mode_shape(const ModeOrder& mode);

// --- sections; a section without anything to show is empty
std::string results_section(std::span<const ResultRow> rows);
std::string accuracy_section(std::span<const Panel> panels);
std::string ablation_section(std::span<const Panel> panels);
std::string time_section(Connection& connection, std::span<const ResultRow> rows,
                         const ReferenceTimes& times);
std::string layer_section(Connection& connection, std::span<const Panel> panels);
// Of these runs; none: of the latest that computed tiles.
std::string timeline_section(Connection& connection, const std::vector<std::int64_t>& run_ids);
std::string origin_section(Connection& connection, std::span<const ResultRow> rows);

}  // namespace squant::results
