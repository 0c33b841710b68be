// The Warp of tile_product.h on a GPU: a thread is a lane, and what a warp does together is PTX.
#pragma once

#include <cstdint>

#include "eval/cuda/tile_product.h"

namespace squant::eval::cuda {

class DeviceWarp {
 public:
  // A lane keeps its own T alone.
  template <class T>
  class PerLane {
   public:
    __device__ __forceinline__ T& operator[](int) { return value_; }
    __device__ __forceinline__ const T& operator[](int) const { return value_; }

   private:
    T value_;
  };

  __device__ __forceinline__ int index() const { return static_cast<int>(threadIdx.x / 32); }
  template <class F>
  __device__ __forceinline__ void each(const F& f) const {
    f(static_cast<int>(threadIdx.x % 32));
  }

  __device__ __forceinline__ void copy16(int, unsigned char* to, const unsigned char* from,
                                         int bytes) const {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
                 "l"(from), "r"(bytes)
                 : "memory");
  }
  __device__ __forceinline__ void copy4(int, unsigned char* to, const unsigned char* from) const {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(shared_address(to)), "l"(from)
                 : "memory");
  }
  __device__ __forceinline__ void commit() const {
    asm volatile("cp.async.commit_group;" ::: "memory");
  }
  template <int kPending>
  __device__ __forceinline__ void wait() const {
    asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
  }
  __device__ __forceinline__ void sync() const { __syncthreads(); }
  __device__ __forceinline__ void converge() const { __syncwarp(); }

  __device__ __forceinline__ void load_matrices(PerLane<FragmentA>& registers,
                                                const PerLane<const unsigned char*>& rows) const {
    std::uint32_t* r = registers[0].r;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(rows[0]))
                 : "memory");
  }

  template <bool kSigned>
  __device__ __forceinline__ void multiply(PerLane<FragmentSums>& sums, const PerLane<FragmentA>& a,
                                           const PerLane<FragmentB>& b) const {
    std::int32_t* c = sums[0].r;
    const std::uint32_t* x = a[0].r;
    const std::uint32_t* w = b[0].r;
    if constexpr (kSigned) {
      asm volatile(
          "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
          "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
          : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
          : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(w[0]), "r"(w[1]));
    } else {
      asm volatile(
          "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 "
          "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
          : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
          : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(w[0]), "r"(w[1]));
    }
  }

 private:
  __device__ __forceinline__ static std::uint32_t shared_address(const void* pointer) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
  }
};

}  // namespace squant::eval::cuda
