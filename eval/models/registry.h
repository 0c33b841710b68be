// One function per network, defined in the file of its family. Included by eval/models/*.cc alone.
#pragma once

#include "eval/models/models.h"

namespace squant::eval {

ModelInfo efficientnet_lite0_info();
ModelInfo fmnist_mobilenet_info();
ModelInfo fmnist_resnet_info();
ModelInfo inceptionv3_info();
ModelInfo resnet18_info();
ModelInfo resnet50_info();
ModelInfo shufflenet_g1_w1_info();
ModelInfo sqnxt23_w2_info();

// ImageNet's pixels as torchvision and pytorchcv scale them.
inline const std::vector<double> kImagenetMean = {0.485, 0.456, 0.406};
inline const std::vector<double> kImagenetStddev = {0.229, 0.224, 0.225};

// pytorchcv's block: NAME.conv, then batch norm NAME.bn (no ReLU).
inline int conv_bn(Graph& graph, int input, const std::string& name, std::int64_t channels,
                   const Window& window, bool bias = false, double epsilon = 1e-5) {
  return graph.batch_norm(graph.conv(input, name + ".conv", channels, window, 1, bias),
                          name + ".bn", epsilon);
}

}  // namespace squant::eval
