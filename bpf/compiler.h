/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What every file of bpf/ needs from its compiler, so that the pure headers build unchanged for BPF,
 * g++ and clang++. Not for anything about packets.
 */
#pragma once

#include <linux/types.h>

#ifdef __bpf__
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#define sg_ntohs(x) bpf_ntohs(x)
#define sg_htons(x) bpf_htons(x)
#define sg_ntohl(x) bpf_ntohl(x)
#define sg_copy(to, from, bytes) __builtin_memcpy(to, from, bytes)
#else
#include <arpa/inet.h>

#include <string.h>
#define sg_ntohs(x) ntohs(x)
#define sg_htons(x) htons(x)
#define sg_ntohl(x) ntohl(x)
#define sg_copy(to, from, bytes) memcpy(to, from, bytes)
#endif

/*
 * For a loop that clang-19 would lay out so that its last instruction falls through into its first. Linux
 * 6.1 refuses that whatever the bound ("back-edge from insn 2077 to 2078": check_cfg in
 * kernel/bpf/verifier.c takes a loop only through a jump); later kernels load it.
 */
#ifdef __clang__
#define SG_UNROLL _Pragma("clang loop unroll(full)")
#else
#define SG_UNROLL
#endif
#ifdef __clang__
#define SG_KEEP_LOOP _Pragma("clang loop unroll(disable)")
#else
#define SG_KEEP_LOOP
#endif
/* Own name: glibc redefines __always_inline. */
#define SG_INLINE static inline __attribute__((always_inline, unused))
/* Verified once, whatever calls it (Documentation/bpf: global functions); slow path only, ~10 ns a call. */
#define SG_GLOBAL __attribute__((noinline))

#define SG_READ(lvalue) (*(const volatile __typeof__(lvalue)*)&(lvalue))
#define SG_WRITE(lvalue, value) (*(volatile __typeof__(lvalue)*)&(lvalue) = (value))
#ifdef __bpf__
/* Forgets what the compiler knows of a value, so that it keeps the bounds check the verifier must see. */
#define SG_HIDE(value) asm volatile("" : "+r"(value))
#else
#define SG_HIDE(value) (void)(value)
#endif
