#include "eval/export/quantizer.h"

#include <stdexcept>

#include "eval/export/quantizer_cuda.h"
#include "eval/export/row_threads.h"

namespace squant::eval {
namespace {

class CpuQuantizer final : public Quantizer {
 public:
  explicit CpuQuantizer(const quant::SquantOptions& options)
      : options_(options), num_threads_(options.num_threads) {
    options_.num_threads = 1;  // each piece of a tensor
  }
  void quantize(const quant::SquantTensor& tensor) override {
    for_each_piece(tensor, num_threads_, [&](std::int64_t first_row, std::int64_t num_rows) {
      const quant::SquantTensor piece = rows_of(tensor, first_row, num_rows);
      quant::squant_cpu({&piece, 1}, options_);
    });
  }

 private:
  quant::SquantOptions options_;
  int num_threads_;
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
