#include "eval/engine/integer_engine_plan.h"

#include <algorithm>
#include <map>
#include <set>
#include <stdexcept>
#include <utility>

namespace squant::eval {
namespace {

bool is_clamp(const Node& node) { return node.op == Op::kRelu || node.op == Op::kRelu6; }

// Moves or compares only: code by code the same as quantizing its float result.
bool keeps_codes(const Node& node) {
  return node.op == Op::kMaxPool || node.op == Op::kConcat || node.op == Op::kChannelShuffle;
}

class Planner {
 public:
  Planner(const Graph& graph, const std::vector<int>& form_of_layer, bool separate_quantize)
      : graph_(graph),
        form_of_layer_(form_of_layer),
        separate_(separate_quantize),
        consumers_(graph.consumers()),
        forms_(graph.nodes().size()),
        needs_float_(graph.nodes().size(), false),
        done_(graph.nodes().size(), false),
        absorbed_(graph.nodes().size(), false) {}

  Plan make() {
    fuse();
    demand();
    emit();
    measure_lives();
    return std::move(plan_);
  }

 private:
  // The only reader of a node's value, or -1.
  int only_consumer(int node) const {
    const std::vector<int>& readers = consumers_[static_cast<std::size_t>(node)];
    return readers.size() == 1 ? readers.front() : -1;
  }

  // Steps in node order, without values yet.
  void fuse() {
    done_[0] = true;
    int layer = 0;
    for (int i = 1; i < static_cast<int>(graph_.nodes().size()); ++i) {
      if (absorbed_[static_cast<std::size_t>(i)]) {
        continue;
      }
      Step step;
      step.node = i;
      if (graph_.node(i).is_layer()) {
        step.kind = StepKind::kLayer;
        step.layer = layer++;
        fuse_layer(step);
      }
      done_[static_cast<std::size_t>(step.node)] = true;
      steps_.push_back(step);
    }
  }

  void absorb(Step& step, int node) {
    absorbed_[static_cast<std::size_t>(node)] = true;
    step.node = node;
  }

  void fuse_layer(Step& step) {
    step.layer_node = step.node;
    int next = only_consumer(step.node);
    if (next >= 0 && graph_.node(next).op == Op::kBatchNorm) {
      step.batch_norm = next;
      absorb(step, next);
      next = only_consumer(step.node);
    }
    if (next >= 0 && is_clamp(graph_.node(next))) {
      step.before_add = clamp_of(graph_.node(next));
      absorb(step, next);
      next = only_consumer(step.node);
    }
    if (next >= 0 && graph_.node(next).op == Op::kAdd) {
      const std::vector<int>& inputs = graph_.node(next).inputs;
      const int other = inputs[0] == step.node ? inputs[1] : inputs[0];
      if (!done_[static_cast<std::size_t>(other)]) {
        return;
      }
      step.has_residual = true;
      residual_of_[step.layer_node] = other;
      absorb(step, next);
      next = only_consumer(step.node);
      if (next >= 0 && is_clamp(graph_.node(next))) {
        step.after_add = clamp_of(graph_.node(next));
        absorb(step, next);
      }
    }
  }

  // Backwards: which forms each step's readers want of it.
  void demand() {
    needs_float_[static_cast<std::size_t>(graph_.output())] = true;
    needs_float_[0] = true;
    for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
      if (step->kind == StepKind::kLayer) {
        const auto input = static_cast<std::size_t>(graph_.node(step->layer_node).inputs[0]);
        if (step->layer == 0) {
          needs_float_[input] = true;
        } else {
          forms_[input].insert(form_of_layer_.at(static_cast<std::size_t>(step->layer)));
          needs_float_[input] = needs_float_[input] || separate_;
        }
        if (step->has_residual) {
          needs_float_[static_cast<std::size_t>(residual_of_[step->layer_node])] = true;
        }
        continue;
      }
      const auto node = static_cast<std::size_t>(step->node);
      const bool on_codes = keeps_codes(graph_.node(step->node)) && !needs_float_[node];
      step->kind = on_codes ? StepKind::kCodeNode : StepKind::kNode;
      for (const int input : graph_.node(step->node).inputs) {
        if (on_codes) {
          forms_[static_cast<std::size_t>(input)].insert(forms_[node].begin(), forms_[node].end());
        } else {
          needs_float_[static_cast<std::size_t>(input)] = true;
        }
      }
    }
  }

  int value(int node, int form) {
    const auto [found, is_new] =
        value_of_.try_emplace({node, form}, static_cast<int>(plan_.values.size()));
    if (is_new) {
      PlanValue value;
      value.node = node;
      value.form = form;
      value.size_bytes = graph_.node(node).shape.size() * (form == kFloatForm ? 4 : 1);
      plan_.values.push_back(value);
    }
    return found->second;
  }
  bool exists(int node, int form) const { return value_of_.contains({node, form}); }

  void emit_quantize(int node, int form) {
    Step step;
    step.kind = StepKind::kQuantize;
    step.node = node;
    step.form = form;
    step.inputs = {value(node, kFloatForm)};
    step.codes = {value(node, form)};
    plan_.steps.push_back(step);
  }

  // The float32 output of a step, and its codes: within the step for layers, by steps of their own
  // for the rest.
  void emit_outputs(Step step) {
    const auto node = static_cast<std::size_t>(step.node);
    // A value that nobody reads still needs a place.
    if (needs_float_[node] || step.kind == StepKind::kNode || forms_[node].empty()) {
      step.values = value(step.node, kFloatForm);
    }
    const bool within = step.kind == StepKind::kLayer && !separate_;
    if (within) {
      for (const int form : forms_[node]) {
        step.codes.push_back(value(step.node, form));
      }
    }
    plan_.steps.push_back(step);
    if (!within && !separate_) {
      for (const int form : forms_[node]) {
        emit_quantize(step.node, form);
      }
    }
  }

  void emit() {
    plan_.input = value(0, kFloatForm);
    if (!separate_) {
      for (const int form : forms_[0]) {
        emit_quantize(0, form);
      }
    }
    for (Step& step : steps_) {
      if (step.kind == StepKind::kCodeNode) {
        emit_code_node(step);
        continue;
      }
      if (step.kind == StepKind::kLayer) {
        const int input = graph_.node(step.layer_node).inputs[0];
        const int form =
            step.layer == 0 ? kFloatForm : form_of_layer_.at(static_cast<std::size_t>(step.layer));
        if (separate_ && !exists(input, form)) {
          emit_quantize(input, form);
        }
        step.inputs.push_back(value(input, form));
        if (step.has_residual) {
          step.inputs.push_back(value(residual_of_[step.layer_node], kFloatForm));
        }
      } else {
        for (const int input : graph_.node(step.node).inputs) {
          step.inputs.push_back(value(input, kFloatForm));
        }
      }
      emit_outputs(step);
    }
    plan_.output = value(graph_.output(), kFloatForm);
  }

  void emit_code_node(const Step& step) {
    for (const int form : forms_[static_cast<std::size_t>(step.node)]) {
      Step one = step;
      one.form = form;
      for (const int input : graph_.node(step.node).inputs) {
        one.inputs.push_back(value(input, form));
      }
      one.codes = {value(step.node, form)};
      plan_.steps.push_back(one);
    }
  }

  void measure_lives() {
    for (PlanValue& value : plan_.values) {
      value.first_step = static_cast<int>(plan_.steps.size());
    }
    const auto use = [&](int index, int step) {
      PlanValue& value = plan_.values[static_cast<std::size_t>(index)];
      value.first_step = std::min(value.first_step, step);
      value.last_step = std::max(value.last_step, step);
    };
    use(plan_.input, 0);
    for (int s = 0; s < static_cast<int>(plan_.steps.size()); ++s) {
      const Step& step = plan_.steps[static_cast<std::size_t>(s)];
      for (const int input : step.inputs) {
        use(input, s);
        plan_.needs_float_input =
            plan_.needs_float_input || (input == plan_.input && step.layer != 0);
      }
      for (const int output : step.codes) {
        use(output, s);
      }
      if (step.values >= 0) {
        use(step.values, s);
      }
    }
    use(plan_.output, static_cast<int>(plan_.steps.size()));
  }

  const Graph& graph_;
  const std::vector<int>& form_of_layer_;
  const bool separate_;
  const std::vector<std::vector<int>> consumers_;
  std::vector<Step> steps_;
  std::map<int, int> residual_of_;  // layer node to the other operand of its addition
  std::vector<std::set<int>> forms_;
  std::vector<bool> needs_float_, done_, absorbed_;
  std::map<std::pair<int, int>, int> value_of_;
  Plan plan_;
};

}  // namespace

Clamp clamp_of(const Node& node) {
  Clamp clamp;
  clamp.lo = 0;
  if (node.op == Op::kRelu6) {
    clamp.hi = 6;
  }
  return clamp;
}

Plan make_plan(const Graph& graph, const std::vector<int>& form_of_layer, bool separate_quantize) {
  return Planner(graph, form_of_layer, separate_quantize).make();
}

Arena place_values(const Plan& plan) {
  constexpr std::int64_t kAlignment = 64;
  // Largest first, each at the lowest place that no value alive at the same time takes.
  std::vector<std::size_t> order(plan.values.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    order[i] = i;
  }
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return plan.values[a].size_bytes > plan.values[b].size_bytes;
  });
  Arena arena;
  arena.offsets.assign(plan.values.size(), 0);
  std::vector<std::size_t> placed;
  for (const std::size_t index : order) {
    const PlanValue& value = plan.values[index];
    std::vector<std::pair<std::int64_t, std::int64_t>> taken;
    for (const std::size_t other : placed) {
      const PlanValue& there = plan.values[other];
      if (there.first_step <= value.last_step && value.first_step <= there.last_step) {
        taken.emplace_back(arena.offsets[other], arena.offsets[other] + there.size_bytes);
      }
    }
    std::sort(taken.begin(), taken.end());
    std::int64_t offset = 0;
    for (const auto& [begin, end] : taken) {
      if (offset + value.size_bytes <= begin) {
        break;
      }
      offset = std::max(offset, (end + kAlignment - 1) / kAlignment * kAlignment);
    }
    arena.offsets[index] = offset;
    arena.size_bytes = std::max(arena.size_bytes, offset + value.size_bytes);
    placed.push_back(index);
  }
  return arena;
}

}  // namespace squant::eval
