// SPDX-License-Identifier: Apache-2.0
//
// The second file of separate_compilation.

#include "shared.h"

__device__ int call_count = 100;
__constant__ int primes[8] = {2, 3, 5, 7, 11, 13, 17, 19};

// A function of the same name in the other file is another function.
static __device__ int step(int value) {
    return value + 1;
}

__device__ int greatest_common_divisor(int a, int b) {
    return b == 0 ? a : greatest_common_divisor(b, a % b);
}

__device__ Rational add(Rational a, Rational b) {
    atomicAdd(&call_count, step(0));
    const int numerator = a.numerator * b.denominator + b.numerator * a.denominator;
    const int denominator = a.denominator * b.denominator;
    const int common = greatest_common_divisor(numerator, denominator);
    return {numerator / common, denominator / common};
}

static __device__ int plus(int a, int b) {
    return a + b;
}

static __device__ int times(int a, int b) {
    return a * b;
}

__device__ Operation operations[3] = {plus, times, greatest_common_divisor};

static __global__ void harmonic(int *results, int count) {
    const int n = blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= count) {
        return;
    }
    Rational sum = {0, 1};
    for (int i = 1; i <= n + 1; ++i) {
        sum = add(sum, {1, i});
    }
    results[2 * n] = sum.numerator;
    results[2 * n + 1] = sum.denominator;
}

void launch_harmonic(int *results, int count) {
    harmonic<<<(count + 31) / 32, 32>>>(results, count);
}
