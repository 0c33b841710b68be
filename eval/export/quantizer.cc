#include "eval/export/quantizer.h"

#include <stdexcept>

#include "eval/export/quantizer_cuda.h"

namespace squant::eval {
namespace {

class CpuQuantizer final : public Quantizer {
 public:
  explicit CpuQuantizer(const quant::SquantOptions& options) : options_(options) {}
  void quantize(const quant::SquantTensor& tensor) override {
    quant::squant_cpu({&tensor, 1}, options_);
  }

 private:
  quant::SquantOptions options_;
};

}  // namespace

#ifndef SQUANT_HAVE_CUDA
std::unique_ptr<Quantizer> make_cuda_quantizer(const quant::SquantOptions&) {
  throw std::invalid_argument(
      "--device cuda: this program was built without CUDA; --device cpu gives the same codes");
}
#endif

std::unique_ptr<Quantizer> make_quantizer(const quant::SquantOptions& options, bool on_cuda) {
  if (on_cuda) return make_cuda_quantizer(options);
  return std::make_unique<CpuQuantizer>(options);
}

}  // namespace squant::eval
