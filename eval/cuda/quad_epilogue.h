// The epilogue of four neighbouring channels of some rows at a time: what finish() of elements.h
// does to one value, with 16 bytes of float32 and 4 bytes of codes a memory access. C++17, see
// tile_product.h.
#pragma once

#include <cstdint>

#include "eval/cuda/tile_product.h"

namespace squant::eval::cuda {

using Float4 = Lanes<float, 4>;

// Whether tensors of this many channels have quads: aligned, and whole in every group.
SQ_HOST_DEVICE bool has_quads(std::int32_t channels, std::int32_t group_channels) {
  return channels % 4 == 0 && group_channels % 4 == 0;
}

// Where a lane's quads go: rows that are row_pitch elements apart, of which the first num_rows are
// there.
struct QuadPlace {
  std::uint32_t element;  // of the first row
  std::uint32_t row_pitch;
  int num_rows;
};

// The part that does not change from row to row: made once for a lane's four channels.
class QuadEpilogue {
 public:
  QuadEpilogue() = default;
  SQ_TILE QuadEpilogue(const Outputs& out, const Memory& memory, std::uint32_t channel) {
    if (out.multiplier < 0) return;
    multiplier_ = lanes_at<4>(table_at<float>(memory, out.multiplier) + channel);
    addend_ = lanes_at<4>(table_at<float>(memory, out.addend) + channel);
  }

  SQ_TILE void finish(const Outputs& out, const Memory& memory, float (&y)[kQuadRows][4],
                      const QuadPlace& place) const {
    Float4 residual[kQuadRows];
    if (out.residual >= 0) load_residual(residual, tensor_at<float>(memory, out.residual), place);
    SQ_UNROLL
    for (int j = 0; j < kQuadRows; ++j) {
      SQ_UNROLL
      for (int c = 0; c < 4; ++c) {
        if (out.multiplier >= 0) {
          y[j][c] = rounded_sum(rounded_product(y[j][c], multiplier_.value[c]), addend_.value[c]);
        }
        y[j][c] = clamp_value(y[j][c], out.before_add.lo, out.before_add.hi);
        if (out.residual >= 0) {
          y[j][c] = clamp_value(rounded_sum(y[j][c], residual[j].value[c]), out.after_add.lo,
                                out.after_add.hi);
        }
      }
    }
    if (out.values >= 0) store_values(y, tensor_at<float>(memory, out.values), place);
    const CodeOutput* const codes = table_at<CodeOutput>(memory, out.codes);
    for (std::int32_t i = 0; i < out.num_codes; ++i) {
      const CodeOutput code = codes[i];
      store_codes(y, code.quantizer, tensor_at<std::uint8_t>(memory, code.tensor), place);
    }
  }

 private:
  SQ_TILE static void load_residual(Float4 (&residual)[kQuadRows], const float* tensor,
                                    const QuadPlace& place) {
    SQ_UNROLL
    for (int j = 0; j < kQuadRows; ++j) {
      if (j < place.num_rows) {
        residual[j] = lanes_at<4>(tensor + place.element + j * place.row_pitch);
      }
    }
  }
  SQ_TILE static void store_values(const float (&y)[kQuadRows][4], float* tensor,
                                   const QuadPlace& place) {
    SQ_UNROLL
    for (int j = 0; j < kQuadRows; ++j) {
      if (j < place.num_rows) {
        put_lanes(tensor + place.element + j * place.row_pitch,
                  Float4{{y[j][0], y[j][1], y[j][2], y[j][3]}});
      }
    }
  }
  SQ_TILE static void store_codes(const float (&y)[kQuadRows][4], const Quantizer& quantizer,
                                  std::uint8_t* tensor, const QuadPlace& place) {
    SQ_UNROLL
    for (int j = 0; j < kQuadRows; ++j) {
      std::uint32_t word = 0;
      SQ_UNROLL
      for (int c = 0; c < 4; ++c) {
        word |= static_cast<std::uint32_t>(quantize_value(y[j][c], quantizer)) << (8 * c);
      }
      if (j < place.num_rows) {
        *reinterpret_cast<std::uint32_t*>(tensor + place.element + j * place.row_pitch) = word;
      }
    }
  }

  Float4 multiplier_{}, addend_{};
};

}  // namespace squant::eval::cuda
