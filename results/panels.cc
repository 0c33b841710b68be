#include "results/panels.h"

#include <algorithm>
#include <set>

#include "results/printer.h"

namespace squant::results {
namespace {

std::string input_key(const JobRow& job) {
  return job.model + '\n' + job.checkpoint_sha256 + '\n' + job.dataset_fingerprint + '\n' +
         std::to_string(job.num_images) + '\n' + std::to_string(job.numerics_version);
}

// What the panels of one model differ in.
std::vector<std::string> detail_texts(const JobRow& job) {
  return {job.dataset_name + ' ' + job.dataset_fingerprint.substr(0, 8),
          with_thousands(job.num_images) + " images",
          "checkpoint " + job.checkpoint_sha256.substr(0, 8), "rounding " + job.rounding,
          "numerics " + std::to_string(job.numerics_version)};
}

void add_row(Panel& panel, const ResultRow& row) {
  const ResultRow*& cell = panel.cells[{bits_order(row.job), mode_order(row.job.mode)}];
  if (cell == nullptr || row.num_images >= cell->num_images) cell = &row;
}

void name_bits_and_modes(Panel& panel) {
  std::set<BitsOrder> bits;
  std::set<ModeOrder> modes;
  for (const auto& [key, row] : panel.cells) {
    bits.insert(key.first);
    if (row->job.weight_bits == 0) {
      panel.baseline = row;
    } else {
      modes.insert(key.second);
    }
  }
  panel.bits.assign(bits.begin(), bits.end());
  panel.modes.assign(modes.begin(), modes.end());
}

// The job that a panel's detail is made of.
const JobRow& typical_job(const Panel& panel) { return panel.cells.rbegin()->second->job; }

void tell_apart(std::vector<Panel>& panels) {
  std::map<std::string, std::vector<Panel*>> by_model;
  for (Panel& panel : panels) by_model[panel.model].push_back(&panel);
  for (const auto& [model, members] : by_model) {
    const std::vector<std::string> first = detail_texts(typical_job(*members[0]));
    for (std::size_t field = 0; field < first.size(); ++field) {
      const bool varies = std::any_of(members.begin(), members.end(), [&](const Panel* panel) {
        return detail_texts(typical_job(*panel))[field] != first[field];
      });
      for (Panel* panel : members) {
        if (!varies) break;
        panel->detail +=
            (panel->detail.empty() ? "" : ", ") + detail_texts(typical_job(*panel))[field];
      }
    }
  }
}

}  // namespace

const ResultRow* Panel::find(const BitsOrder& bit_width, const ModeOrder& mode) const {
  const auto found = cells.find({bit_width, mode});
  return found == cells.end() ? nullptr : found->second;
}

std::vector<Panel> panels_of(std::span<const ResultRow> rows) {
  std::vector<Panel> panels;
  std::map<std::string, std::size_t> index;  // by input and rounding
  std::map<std::string, std::vector<std::size_t>> panels_of_input;
  std::map<std::string, std::vector<const ResultRow*>> floats;  // by input
  std::vector<std::string> float_keys;
  for (const ResultRow& row : rows) {
    if (row.num_images == 0) continue;
    const std::string input = input_key(row.job);
    if (row.job.weight_bits == 0) {
      if (floats[input].empty()) float_keys.push_back(input);
      floats[input].push_back(&row);
      continue;
    }
    const auto [found, is_new] = index.emplace(input + '\n' + row.job.rounding, panels.size());
    if (is_new) {
      panels_of_input[input].push_back(panels.size());
      panels.push_back({row.job.model, {}, {}, {}, nullptr, {}});
    }
    add_row(panels[found->second], row);
  }
  // A float network is the baseline of every rounding; alone, it has a panel of its own.
  for (const std::string& input : float_keys) {
    std::vector<std::size_t>& members = panels_of_input[input];
    if (members.empty()) {
      members.push_back(panels.size());
      panels.push_back({floats[input][0]->job.model, {}, {}, {}, nullptr, {}});
    }
    for (const std::size_t member : members) {
      for (const ResultRow* row : floats[input]) add_row(panels[member], *row);
    }
  }
  for (Panel& panel : panels) name_bits_and_modes(panel);
  tell_apart(panels);
  return panels;
}

}  // namespace squant::results
