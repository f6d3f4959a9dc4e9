// SPDX-License-Identifier: Apache-2.0
//
// Bulk copies: one thread asks for a whole tile, and an mbarrier counts the bytes that have come.
//
// `cp.async.bulk` from global to shared memory and back, by `cuda::ptx`, and a reduction of a tile
// into global memory without a register in between.
// nvcc: -arch=sm_90 -std=c++17
// device: compute capability 9.0

#include "check.h"

#include <cuda/barrier>
#include <cuda/ptx>

#include <vector>

// The barrier in shared memory is made by init(), not by a constructor.
#pragma nv_diag_suppress static_var_with_dynamic_init

namespace ptx = cuda::ptx;
using barrier = cuda::barrier<cuda::thread_scope_block>;

constexpr int TILE = 1024, THREADS = 256;

__global__ void add_one(int *data, int *sums) {
    __shared__ alignas(128) int tile[TILE];
    __shared__ barrier arrived;
    if (threadIdx.x == 0) {
        init(&arrived, blockDim.x);
        ptx::fence_proxy_async(ptx::space_shared);
    }
    __syncthreads();
    int *own = data + blockIdx.x * TILE;
    barrier::arrival_token token;
    if (threadIdx.x == 0) {
        cuda::memcpy_async(tile, own, cuda::aligned_size_t<16>(sizeof(tile)), arrived);
        token = cuda::device::barrier_arrive_tx(arrived, 1, 0);
    } else {
        token = arrived.arrive();
    }
    arrived.wait(std::move(token));
    for (int i = threadIdx.x; i < TILE; i += blockDim.x)
        tile[i] += 1;
    ptx::fence_proxy_async(ptx::space_shared);
    __syncthreads();
    if (threadIdx.x == 0) {
        ptx::cp_async_bulk(ptx::space_global, ptx::space_shared, own, tile, sizeof(tile));
        ptx::cp_reduce_async_bulk(ptx::space_global, ptx::space_shared, ptx::op_add, sums, tile,
                                  sizeof(tile));
        ptx::cp_async_bulk_commit_group();
        ptx::cp_async_bulk_wait_group(ptx::n32_t<0>());
    }
}

// The same by hand: expected bytes, parity of the phase, several tiles through one barrier.
__global__ void sum_tiles(const int *data, int tiles, int *sum) {
    __shared__ alignas(128) int tile[TILE];
    __shared__ alignas(8) unsigned long long bar;
    const unsigned at_bar = (unsigned)__cvta_generic_to_shared(&bar);
    const unsigned at_tile = (unsigned)__cvta_generic_to_shared(tile);
    if (threadIdx.x == 0)
        asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;\n"
                     "fence.mbarrier_init.release.cluster;" ::"r"(at_bar) : "memory");
    __syncthreads();
    int own = 0;
    for (int i = 0; i < tiles; ++i) {
        if (threadIdx.x == 0) {
            asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at_bar),
                         "r"((unsigned)sizeof(tile)) : "memory");
            asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
                         "[%0], [%1], %2, [%3];" ::"r"(at_tile), "l"(data + i * TILE),
                         "r"((unsigned)sizeof(tile)), "r"(at_bar) : "memory");
        }
        asm volatile("{\n.reg .pred done;\nagain:\n"
                     "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
                     "@!done bra again;\n}" ::"r"(at_bar), "r"(i & 1) : "memory");
        for (int k = threadIdx.x; k < TILE; k += blockDim.x)
            own += tile[k];
        __syncthreads();
    }
    atomicAdd(sum, own);
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Bulk copies between global and shared memory.");
    int major = 0;
    CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0));
    if (major < 9) {
        std::printf("this device has no bulk copies\n");
        return report("bulk_copy", true);
    }
    constexpr int BLOCKS = 6, COUNT = BLOCKS * TILE;
    std::vector<int> values(COUNT), sums(TILE);
    for (int i = 0; i < COUNT; ++i)
        values[i] = i * 13 % 1021;
    int *device_values = nullptr, *device_sums = nullptr, *device_sum = nullptr;
    CHECK(cudaMalloc(&device_values, COUNT * sizeof(int)));
    CHECK(cudaMalloc(&device_sums, TILE * sizeof(int)));
    CHECK(cudaMalloc(&device_sum, sizeof(int)));
    CHECK(cudaMemcpy(device_values, values.data(), COUNT * sizeof(int), cudaMemcpyHostToDevice));
    CHECK(cudaMemset(device_sums, 0, TILE * sizeof(int)));
    CHECK(cudaMemset(device_sum, 0, sizeof(int)));
    add_one<<<BLOCKS, THREADS>>>(device_values, device_sums);
    sum_tiles<<<1, THREADS>>>(device_values, BLOCKS, device_sum);
    CHECK_LAUNCH();
    std::vector<int> result(COUNT);
    int sum = 0;
    CHECK(cudaMemcpy(result.data(), device_values, COUNT * sizeof(int), cudaMemcpyDeviceToHost));
    CHECK(cudaMemcpy(sums.data(), device_sums, TILE * sizeof(int), cudaMemcpyDeviceToHost));
    CHECK(cudaMemcpy(&sum, device_sum, sizeof(int), cudaMemcpyDeviceToHost));
    CHECK(cudaFree(device_values));
    CHECK(cudaFree(device_sums));
    CHECK(cudaFree(device_sum));
    int wrong = 0, wrong_sums = 0, expected = 0;
    for (int i = 0; i < COUNT; ++i) {
        wrong += result[i] != values[i] + 1;
        expected += values[i] + 1;
    }
    for (int i = 0; i < TILE; ++i) {
        int column = 0;
        for (int block = 0; block < BLOCKS; ++block)
            column += values[block * TILE + i] + 1;
        wrong_sums += sums[i] != column;
    }
    std::printf("copied there and back: %d of %d values differ\n", wrong, COUNT);
    std::printf("reduced into global memory: %d of %d sums differ\n", wrong_sums, TILE);
    std::printf("sum of all tiles: %d, expected %d\n", sum, expected);
    return report("bulk_copy", wrong == 0 && wrong_sums == 0 && sum == expected);
}
