// The memory of a model's codes, for whoever fills it: squant_cpu or a GPU.
#pragma once

#include <vector>

#include "eval/engine/engine.h"

namespace squant::eval {

// Room for the codes of every quantized layer, in layer order.
QuantizedWeights make_quantized_weights(const Model& model, int bits);

// The layers as SQuant takes them; they refer to both arguments.
std::vector<quant::SquantTensor> squant_tensors(const Model& model, QuantizedWeights& weights);

}  // namespace squant::eval
