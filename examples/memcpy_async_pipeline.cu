// SPDX-License-Identifier: Apache-2.0
//
// Copies into shared memory that run ahead of the computation: `cuda::pipeline` with two stages,
// and the same by `cooperative_groups::memcpy_async` and by `cp.async` written out.
// nvcc: -arch=sm_80 -std=c++17

#include "check.h"

// The barriers in shared memory are made by init(), not by a constructor.
#pragma nv_diag_suppress static_var_with_dynamic_init

#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cuda/pipeline>

#include <vector>

namespace cg = cooperative_groups;

constexpr int THREADS = 128;
constexpr int BATCHES = 12;

// Each batch is smoothed over its neighbours, which other threads have copied.
__device__ int smooth(const int *batch, int i) {
    return batch[(i + THREADS - 1) % THREADS] + 2 * batch[i] + batch[(i + 1) % THREADS];
}

__global__ void with_pipeline(const int *in, int *out) {
    constexpr int STAGES = 2;
    __shared__ int batches[STAGES][THREADS];
    __shared__ cuda::pipeline_shared_state<cuda::thread_scope_block, STAGES> state;
    auto block = cg::this_thread_block();
    auto pipeline = cuda::make_pipeline(block, &state);
    const int *own = in + blockIdx.x * BATCHES * THREADS;
    int *result = out + blockIdx.x * BATCHES * THREADS;
    for (int compute = 0, fetch = 0; compute < BATCHES; ++compute) {
        for (; fetch < BATCHES && fetch < compute + STAGES; ++fetch) {
            pipeline.producer_acquire();
            cuda::memcpy_async(block, batches[fetch % STAGES], own + fetch * THREADS,
                               cuda::aligned_size_t<16>(sizeof(int) * THREADS), pipeline);
            pipeline.producer_commit();
        }
        pipeline.consumer_wait();
        result[compute * THREADS + threadIdx.x] = smooth(batches[compute % STAGES], threadIdx.x);
        pipeline.consumer_release();
    }
}

__global__ void with_groups(const int *in, int *out) {
    __shared__ int batch[THREADS];
    auto block = cg::this_thread_block();
    const int base = blockIdx.x * BATCHES * THREADS;
    for (int i = 0; i < BATCHES; ++i) {
        cg::memcpy_async(block, batch, in + base + i * THREADS, sizeof(int) * THREADS);
        cg::wait(block);
        out[base + i * THREADS + threadIdx.x] = smooth(batch, threadIdx.x);
        block.sync();
    }
}

__global__ void with_instructions(const int *in, int *out) {
    __shared__ __align__(16) int batches[2][THREADS];
    const int base = blockIdx.x * BATCHES * THREADS;
    auto fetch = [&](int i) {
        const unsigned to = (unsigned)__cvta_generic_to_shared(&batches[i % 2][threadIdx.x]);
        // Past the end zeros are written: no byte is read.
        const int bytes = i < BATCHES ? 4 : 0;
        const int *from = in + base + (i < BATCHES ? i : 0) * THREADS + threadIdx.x;
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(bytes)
                     : "memory");
        asm volatile("cp.async.commit_group;" ::: "memory");
    };
    fetch(0);
    for (int i = 0; i < BATCHES; ++i) {
        fetch(i + 1);
        asm volatile("cp.async.wait_group 1;" ::: "memory");
        __syncthreads();
        out[base + i * THREADS + threadIdx.x] = smooth(batches[i % 2], threadIdx.x);
        __syncthreads();
    }
    asm volatile("cp.async.wait_all;" ::: "memory");
    __syncthreads();
    if (batches[BATCHES % 2][threadIdx.x] != 0)
        out[base + threadIdx.x] = -1;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Asynchronous copies into shared memory.");
    constexpr int BLOCKS = 5, COUNT = BLOCKS * BATCHES * THREADS;
    std::vector<int> values(COUNT), expected(COUNT), result(COUNT);
    for (int i = 0; i < COUNT; ++i)
        values[i] = (i * 7919 + 13) % 1000;
    for (int i = 0; i < COUNT; ++i) {
        const int *batch = &values[i / THREADS * THREADS];
        const int at = i % THREADS;
        expected[i] = batch[(at + THREADS - 1) % THREADS] + 2 * batch[at] + batch[(at + 1) % THREADS];
    }
    int *in = nullptr, *out = nullptr;
    CHECK(cudaMalloc(&in, COUNT * sizeof(int)));
    CHECK(cudaMalloc(&out, COUNT * sizeof(int)));
    CHECK(cudaMemcpy(in, values.data(), COUNT * sizeof(int), cudaMemcpyHostToDevice));

    struct { const char *name; void (*kernel)(const int *, int *); } ways[] = {
        {"pipeline", with_pipeline}, {"groups", with_groups}, {"instructions", with_instructions}};
    bool right = true;
    for (auto &way : ways) {
        CHECK(cudaMemset(out, 0, COUNT * sizeof(int)));
        way.kernel<<<BLOCKS, THREADS>>>(in, out);
        CHECK_LAUNCH();
        CHECK(cudaMemcpy(result.data(), out, COUNT * sizeof(int), cudaMemcpyDeviceToHost));
        int wrong = 0;
        for (int i = 0; i < COUNT; ++i)
            wrong += result[i] != expected[i];
        std::printf("%-12s %d of %d values differ\n", way.name, wrong, COUNT);
        right = right && wrong == 0;
    }
    CHECK(cudaFree(in));
    CHECK(cudaFree(out));
    return report("memcpy_async_pipeline", right);
}
