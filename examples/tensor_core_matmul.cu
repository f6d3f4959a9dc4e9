// SPDX-License-Identifier: Apache-2.0
//
// Matrix multiplication on tensor cores: `nvcuda::wmma` with halves, bytes, bfloat16, tf32 and
// doubles, each tile of the result by one warp.
// nvcc: -arch=sm_80

#include "check.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>

#include <vector>

using namespace nvcuda;

constexpr int M = 48, N = 64, K = 96;

// D = A * B + D; A and B row by row.
template <int TM, int TN, int TK, typename In, typename Stored, typename Out>
__global__ void multiply(const Stored *a, const Stored *b, Out *d) {
    const int row = blockIdx.y * TM, column = blockIdx.x * TN;
    wmma::fragment<wmma::matrix_a, TM, TN, TK, In, wmma::row_major> fa;
    wmma::fragment<wmma::matrix_b, TM, TN, TK, In, wmma::row_major> fb;
    wmma::fragment<wmma::accumulator, TM, TN, TK, Out> sum;
    wmma::load_matrix_sync(sum, d + row * N + column, N, wmma::mem_row_major);
    for (int k = 0; k < K; k += TK) {
        wmma::load_matrix_sync(fa, a + row * K + k, K);
        wmma::load_matrix_sync(fb, b + k * N + column, N);
        wmma::mma_sync(sum, fa, fb, sum);
    }
    // A fragment can be changed element by element, whatever lies where.
    for (int i = 0; i < sum.num_elements; ++i)
        sum.x[i] = sum.x[i] + static_cast<Out>(1);
    wmma::store_matrix_sync(d + row * N + column, sum, N, wmma::mem_row_major);
}

template <int TM, int TN, int TK, typename In, typename Stored, typename Out, typename Convert>
bool run(const char *name, Convert convert) {
    std::vector<Stored> a(M * K), b(K * N);
    std::vector<Out> d(M * N);
    std::vector<double> expected(M * N);
    // Small whole numbers: every product and sum is exact in every format.
    auto left = [](int i) { return i * 7 % 5 - 2; };
    auto right = [](int i) { return i * 11 % 7 - 3; };
    for (int i = 0; i < M * K; ++i)
        a[i] = convert(left(i));
    for (int i = 0; i < K * N; ++i)
        b[i] = convert(right(i));
    for (int row = 0; row < M; ++row) {
        for (int column = 0; column < N; ++column) {
            const int i = row * N + column;
            d[i] = static_cast<Out>(i % 9);
            expected[i] = i % 9 + 1;
            for (int k = 0; k < K; ++k)
                expected[i] += left(row * K + k) * right(k * N + column);
        }
    }
    Stored *device_a, *device_b;
    Out *device_d;
    CHECK(cudaMalloc(&device_a, a.size() * sizeof(Stored)));
    CHECK(cudaMalloc(&device_b, b.size() * sizeof(Stored)));
    CHECK(cudaMalloc(&device_d, d.size() * sizeof(Out)));
    CHECK(cudaMemcpy(device_a, a.data(), a.size() * sizeof(Stored), cudaMemcpyHostToDevice));
    CHECK(cudaMemcpy(device_b, b.data(), b.size() * sizeof(Stored), cudaMemcpyHostToDevice));
    CHECK(cudaMemcpy(device_d, d.data(), d.size() * sizeof(Out), cudaMemcpyHostToDevice));
    multiply<TM, TN, TK, In, Stored, Out>
        <<<dim3(N / TN, M / TM), 32>>>(device_a, device_b, device_d);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(d.data(), device_d, d.size() * sizeof(Out), cudaMemcpyDeviceToHost));
    CHECK(cudaFree(device_a));
    CHECK(cudaFree(device_b));
    CHECK(cudaFree(device_d));
    int wrong = 0;
    for (int i = 0; i < M * N; ++i)
        wrong += static_cast<double>(static_cast<float>(d[i])) != expected[i];
    std::printf("%-28s tiles of %2dx%2dx%2d: %d of %d elements differ\n", name, TM, TN, TK, wrong,
                M * N);
    return wrong == 0;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Matrix products on tensor cores.");
    auto to_half = [](int value) { return __float2half(value); };
    auto to_brain = [](int value) { return __float2bfloat16(value); };
    auto to_float = [](int value) { return static_cast<float>(value); };
    auto to_double = [](int value) { return static_cast<double>(value); };
    auto to_byte = [](int value) { return static_cast<signed char>(value); };
    bool right = run<16, 16, 16, half, half, float>("half to float", to_half);
    right &= run<16, 16, 16, half, half, half>("half to half", to_half);
    right &= run<8, 32, 16, half, half, float>("half to float", to_half);
    right &= run<16, 16, 16, __nv_bfloat16, __nv_bfloat16, float>("bfloat16 to float", to_brain);
    right &= run<16, 16, 8, wmma::precision::tf32, float, float>("tf32 to float", to_float);
    right &= run<8, 8, 4, double, double, double>("double to double", to_double);
    right &= run<16, 16, 16, signed char, signed char, int>("signed bytes to int", to_byte);
    return report("tensor_core_matmul", right);
}
