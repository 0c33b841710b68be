#include "eval/engine/int_conv_torch.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>

namespace squant::eval {

struct TorchConv::Impl {
  at::Tensor weight;
  std::int64_t groups = 1, stride_h = 1, stride_w = 1;
};

TorchConv::TorchConv(const float* weights, std::int64_t groups, std::int64_t out_channels,
                     std::int64_t in_channels, std::int64_t kernel_h, std::int64_t kernel_w,
                     std::int64_t stride_h, std::int64_t stride_w)
    : impl_(std::make_unique<Impl>()) {
  const c10::InferenceMode guard;
  impl_->weight = at::from_blob(const_cast<float*>(weights),
                                {out_channels, in_channels / groups, kernel_h, kernel_w})
                      .clone(at::MemoryFormat::ChannelsLast);
  impl_->groups = groups;
  impl_->stride_h = stride_h;
  impl_->stride_w = stride_w;
}

TorchConv::~TorchConv() = default;

void TorchConv::run(const float* input, std::int64_t height, std::int64_t width,
                    float* output) const {
  const c10::InferenceMode guard;
  const std::int64_t channels = impl_->weight.size(1) * impl_->groups;
  const at::Tensor image =
      at::from_blob(const_cast<float*>(input), {1, channels, height, width},
                    {height * width * channels, 1, width * channels, channels}, at::kFloat);
  const at::Tensor result =
      at::conv2d(image, impl_->weight, {}, at::IntArrayRef{impl_->stride_h, impl_->stride_w},
                 at::IntArrayRef{0, 0}, at::IntArrayRef{1, 1}, impl_->groups)
          .permute({0, 2, 3, 1})
          .contiguous();
  std::copy_n(result.const_data_ptr<float>(), result.numel(), output);
}

}  // namespace squant::eval
