// One function per network, defined in the file of its family. Included by eval/models/*.cc alone.
#pragma once

#include "eval/models/models.h"

namespace squant::eval {

ModelInfo fmnist_resnet_info();
ModelInfo fmnist_mobilenet_info();

}  // namespace squant::eval
