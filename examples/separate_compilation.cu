// SPDX-License-Identifier: Apache-2.0
//
// A program of two files whose device code is linked: functions, variables, constants and function
// pointers of the other file, and kernels in both.
//
// The other file is separate_compilation/library.cu.
//
// nvcc: -rdc=true separate_compilation/library.cu

#include "check.h"
#include "separate_compilation/shared.h"

#include <numeric>

static __device__ int step(int value) {
    return value + 1000;
}

__global__ void use_all(int *results) {
    const Rational sum = add({1, 6}, {1, 10});
    results[0] = sum.numerator;
    results[1] = sum.denominator;
    int product = 0;
    for (int prime : primes) {
        product += prime;
    }
    results[2] = product;
    results[3] = operations[threadIdx.x](6, 4);
    results[4] = operations[threadIdx.x + 1](6, 4);
    results[5] = operations[threadIdx.x + 2](6, 4);
    results[6] = step(1);
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Device code in two files.");
    constexpr int COUNT = 10;
    int *results, host[2 * COUNT];
    CHECK(cudaMalloc(&results, sizeof host));
    bool right = true;

    use_all<<<1, 1>>>(results);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(host, results, sizeof host, cudaMemcpyDeviceToHost));
    std::printf("1/6 + 1/10 = %d/%d\n", host[0], host[1]);
    std::printf("the sum of the other file's primes is %d\n", host[2]);
    std::printf("through pointers: 6 + 4 = %d, 6 * 4 = %d, gcd(6, 4) = %d\n", host[3], host[4],
                host[5]);
    std::printf("this file's own function of a name that both have: %d\n", host[6]);
    right = right && host[0] == 4 && host[1] == 15 && host[2] == 77 && host[3] == 10 &&
            host[4] == 24 && host[5] == 2 && host[6] == 1001;

    launch_harmonic(results, COUNT);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(host, results, sizeof host, cudaMemcpyDeviceToHost));
    std::printf("harmonic numbers:");
    long long numerator = 0, denominator = 1;
    for (int n = 0; n < COUNT; ++n) {
        numerator = numerator * (n + 1) + denominator;
        denominator *= n + 1;
        const long long common = std::gcd(numerator, denominator);
        numerator /= common;
        denominator /= common;
        right = right && host[2 * n] == numerator && host[2 * n + 1] == denominator;
        std::printf(" %d/%d", host[2 * n], host[2 * n + 1]);
    }
    std::printf("\n");

    // Both files' kernels have counted in one variable.
    int count = 0;
    CHECK(cudaMemcpyFromSymbol(&count, call_count, sizeof count));
    std::printf("additions counted: %d\n", count - 100);
    right = right && count == 100 + 1 + COUNT * (COUNT + 1) / 2;

    CHECK(cudaFree(results));
    return report("separate_compilation", right);
}
