// Compiles a function several times, for 512-bit, 256-bit and plain x86-64 units; the loader picks
// one per machine. Every version gives the same bits: the code has no fast-math and no contraction,
// so lanes only change the speed.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#if __GNUC__ >= 12
#define SQ_TARGET_CLONES \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SQ_TARGET_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#endif
#else
#define SQ_TARGET_CLONES
#endif
