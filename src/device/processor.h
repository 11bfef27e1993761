// What this host's processor can do, as far as it changes what PyTorch allocates.
#pragma once

namespace vramwise {

/// AVX-512 as oneDNN wants it for products of bf16 (avx512_core; ideep::has_bf16_type_support of PyTorch 2.14). Without
/// it PyTorch computes them by itself. True where the processor is none of x86.
inline bool has_avx512() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#else
  return true;
#endif
}

/// Whether those products need no copies in float32 (avx512_core_bf16).
inline bool has_avx512_bf16() {
#if defined(__x86_64__)
  return has_avx512() && __builtin_cpu_supports("avx512bf16");
#else
  return true;
#endif
}

}  // namespace vramwise
