// SPDX-License-Identifier: Apache-2.0
//
// What the two files of separate_compilation share.

#pragma once

struct Rational {
    int numerator, denominator;
};

// Defined in the other file, for the device.
extern __device__ int call_count;
extern __constant__ int primes[8];
__device__ Rational add(Rational a, Rational b);
__device__ int greatest_common_divisor(int a, int b);

typedef int (*Operation)(int, int);
extern __device__ Operation operations[3];

// Launches the other file's kernel.
void launch_harmonic(int *results, int count);
