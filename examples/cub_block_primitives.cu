// SPDX-License-Identifier: Apache-2.0
//
// CUB: reductions, scans and radix sorts of a block and of a warp inside kernels, and of the whole
// device.

#include "check.h"

#include <cub/cub.cuh>

#include <algorithm>
#include <vector>

constexpr int THREADS = 128;
constexpr int ITEMS = 4;
constexpr int TILE = THREADS * ITEMS;

__global__ void sort_tiles(const unsigned *values, unsigned *sorted) {
    typedef cub::BlockLoad<unsigned, THREADS, ITEMS, cub::BLOCK_LOAD_TRANSPOSE> Load;
    typedef cub::BlockRadixSort<unsigned, THREADS, ITEMS> Sort;
    typedef cub::BlockStore<unsigned, THREADS, ITEMS, cub::BLOCK_STORE_TRANSPOSE> Store;
    __shared__ union {
        Load::TempStorage load;
        Sort::TempStorage sort;
        Store::TempStorage store;
    } storage;
    unsigned items[ITEMS];
    Load(storage.load).Load(values + blockIdx.x * TILE, items);
    __syncthreads();
    Sort(storage.sort).Sort(items);
    __syncthreads();
    Store(storage.store).Store(sorted + blockIdx.x * TILE, items);
}

__global__ void scan_and_reduce(const unsigned *values, unsigned *sums, unsigned *totals) {
    typedef cub::BlockScan<unsigned, THREADS> Scan;
    typedef cub::WarpReduce<unsigned> Reduce;
    __shared__ Scan::TempStorage scan;
    __shared__ Reduce::TempStorage reduce[THREADS / 32];
    const int i = blockIdx.x * THREADS + threadIdx.x;
    unsigned sum;
    Scan(scan).ExclusiveSum(values[i] & 0xff, sum);
    sums[i] = sum;
    const int warp = threadIdx.x / 32;
    const unsigned total = Reduce(reduce[warp]).Reduce(values[i], cuda::maximum<>{});
    if (threadIdx.x % 32 == 0) {
        totals[i / 32] = total;
    }
}

static bool tell(const char *what, bool right) {
    std::printf("%s: %s\n", what, right ? "right" : "wrong");
    return right;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "CUB inside and outside of kernels.");
    constexpr int COUNT = 8 * TILE;
    std::vector<unsigned> host(COUNT), result(COUNT);
    unsigned state = 99;
    for (unsigned &value : host) {
        state = state * 1664525u + 1013904223u;
        value = state;
    }
    const size_t bytes = COUNT * sizeof(unsigned);
    unsigned *values, *results, *totals;
    CHECK(cudaMalloc(&values, bytes));
    CHECK(cudaMalloc(&results, bytes));
    CHECK(cudaMalloc(&totals, bytes));
    CHECK(cudaMemcpy(values, host.data(), bytes, cudaMemcpyHostToDevice));
    bool right = true;

    sort_tiles<<<COUNT / TILE, THREADS>>>(values, results);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(result.data(), results, bytes, cudaMemcpyDeviceToHost));
    std::vector<unsigned> expected = host;
    for (int tile = 0; tile < COUNT; tile += TILE) {
        std::sort(expected.begin() + tile, expected.begin() + tile + TILE);
    }
    right &= tell("radix sort of each block", result == expected);

    scan_and_reduce<<<COUNT / THREADS, THREADS>>>(values, results, totals);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(result.data(), results, bytes, cudaMemcpyDeviceToHost));
    std::vector<unsigned> maxima(COUNT / 32);
    CHECK(cudaMemcpy(maxima.data(), totals, bytes / 32, cudaMemcpyDeviceToHost));
    bool scans = true, reductions = true;
    for (int i = 0, sum = 0; i < COUNT; ++i) {
        sum = i % THREADS == 0 ? 0 : sum;
        scans = scans && result[i] == static_cast<unsigned>(sum);
        sum += host[i] & 0xff;
    }
    for (int warp = 0; warp < COUNT / 32; ++warp) {
        const auto first = host.begin() + 32 * warp;
        reductions = reductions && maxima[warp] == *std::max_element(first, first + 32);
    }
    right &= tell("scan of each block", scans);
    right &= tell("maximum of each warp", reductions);

    void *scratch = nullptr;
    size_t scratch_bytes = 0;
    CHECK(cub::DeviceRadixSort::SortKeys(scratch, scratch_bytes, values, results, COUNT));
    CHECK(cudaMalloc(&scratch, scratch_bytes));
    CHECK(cub::DeviceRadixSort::SortKeys(scratch, scratch_bytes, values, results, COUNT));
    CHECK(cudaMemcpy(result.data(), results, bytes, cudaMemcpyDeviceToHost));
    expected = host;
    std::sort(expected.begin(), expected.end());
    right &= tell("radix sort of the whole device", result == expected);
    CHECK(cudaFree(scratch));

    scratch = nullptr;
    CHECK(cub::DeviceScan::InclusiveSum(scratch, scratch_bytes, values, results, COUNT));
    CHECK(cudaMalloc(&scratch, scratch_bytes));
    CHECK(cub::DeviceScan::InclusiveSum(scratch, scratch_bytes, values, results, COUNT));
    CHECK(cudaMemcpy(result.data(), results, bytes, cudaMemcpyDeviceToHost));
    bool sums = true;
    unsigned sum = 0;
    for (int i = 0; i < COUNT; ++i) {
        sum += host[i];
        sums = sums && result[i] == sum;
    }
    right &= tell("scan of the whole device, with look-back", sums);

    for (void *memory : {static_cast<void *>(values), static_cast<void *>(results),
                         static_cast<void *>(totals), scratch}) {
        CHECK(cudaFree(memory));
    }
    return report("cub_block_primitives", right);
}
