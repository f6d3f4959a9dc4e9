// SPDX-License-Identifier: Apache-2.0
//
// Cooperative groups: the same algorithm on groups of any size, from a few lanes to a block.
//
// Sums over tiles of 4 to 32 lanes and over a whole block, prefix sums, groups by label, and the
// lanes that happen to be together, where one of them works for all.

#include "check.h"

#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>

#include <vector>

namespace cg = cooperative_groups;

constexpr int THREADS = 256;

struct Results {
    int tile4[THREADS];
    int tile32_largest[THREADS];
    int scan_inclusive[THREADS];
    int scan_exclusive[THREADS];
    int by_label[THREADS];
    int by_predicate[THREADS];
    int coalesced_rank[THREADS];
    int coalesced_size[THREADS];
    int shuffled[THREADS];
    int block_sum;
    int counter;
};

template <typename Group> __device__ int sum_of(Group group, int value) {
    for (int step = group.size() / 2; step > 0; step /= 2)
        value += group.shfl_down(value, step);
    return group.shfl(value, 0);
}

__global__ void reduce_all(const int *values, Results *results) {
    cg::thread_block block = cg::this_thread_block();
    const int rank = block.thread_rank();
    const int value = values[rank];

    auto tile4 = cg::tiled_partition<4>(block);
    results->tile4[rank] = sum_of(tile4, value);
    auto warp = cg::tiled_partition<32>(block);
    results->tile32_largest[rank] = cg::reduce(warp, value, cg::greater<int>());
    results->scan_inclusive[rank] = cg::inclusive_scan(warp, value);
    results->scan_exclusive[rank] = cg::exclusive_scan(warp, value);
    results->shuffled[rank] = warp.shfl_xor(value, 7);

    auto labelled = cg::labeled_partition(warp, rank % 3);
    results->by_label[rank] = cg::reduce(labelled, value, cg::plus<int>());
    auto halves = cg::binary_partition(warp, value % 2 != 0);
    results->by_predicate[rank] = cg::reduce(halves, 1, cg::plus<int>());

    results->coalesced_rank[rank] = -1;
    results->coalesced_size[rank] = -1;
    if (value > 50) {
        cg::coalesced_group together = cg::coalesced_threads();
        results->coalesced_rank[rank] = together.thread_rank();
        results->coalesced_size[rank] = together.size();
        if (together.thread_rank() == 0)
            atomicAdd(&results->counter, (int)together.size());
    }

    __shared__ int sums[THREADS / 32];
    const int warp_sum = cg::reduce(warp, value, cg::plus<int>());
    if (warp.thread_rank() == 0)
        sums[warp.meta_group_rank()] = warp_sum;
    block.sync();
    if (rank == 0) {
        int sum = 0;
        for (int i = 0; i < THREADS / 32; ++i)
            sum += sums[i];
        results->block_sum = sum;
    }
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Reductions and scans over cooperative groups.");
    std::vector<int> values(THREADS);
    for (int i = 0; i < THREADS; ++i)
        values[i] = i * 37 % 101;

    int *device_values = nullptr;
    Results *device_results = nullptr;
    CHECK(cudaMalloc(&device_values, THREADS * sizeof(int)));
    CHECK(cudaMalloc(&device_results, sizeof(Results)));
    CHECK(cudaMemcpy(device_values, values.data(), THREADS * sizeof(int), cudaMemcpyHostToDevice));
    CHECK(cudaMemset(device_results, 0, sizeof(Results)));
    reduce_all<<<1, THREADS>>>(device_values, device_results);
    CHECK_LAUNCH();
    static Results results;
    CHECK(cudaMemcpy(&results, device_results, sizeof(Results), cudaMemcpyDeviceToHost));
    CHECK(cudaFree(device_values));
    CHECK(cudaFree(device_results));

    int wrong = 0, total = 0, large = 0;
    for (int i = 0; i < THREADS; ++i) {
        const int first = i / 32 * 32;
        int tile4 = 0, largest = 0, inclusive = 0, label = 0, parity = 0, rank = 0, size = 0;
        for (int j = i / 4 * 4; j < i / 4 * 4 + 4; ++j)
            tile4 += values[j];
        for (int j = first; j < first + 32; ++j) {
            largest = values[j] > largest ? values[j] : largest;
            inclusive += j <= i ? values[j] : 0;
            label += j % 3 == i % 3 ? values[j] : 0;
            parity += values[j] % 2 == values[i] % 2;
            size += values[j] > 50;
            rank += values[j] > 50 && j < i;
        }
        if (values[i] <= 50)
            rank = size = -1;
        else
            ++large;
        total += values[i];
        wrong += results.tile4[i] != tile4;
        wrong += results.tile32_largest[i] != largest;
        wrong += results.scan_inclusive[i] != inclusive;
        wrong += results.scan_exclusive[i] != inclusive - values[i];
        wrong += results.by_label[i] != label;
        wrong += results.by_predicate[i] != parity;
        wrong += results.coalesced_rank[i] != rank;
        wrong += results.coalesced_size[i] != size;
        wrong += results.shuffled[i] != values[first + ((i - first) ^ 7)];
    }
    std::printf("sum of the block %d, expected %d\n", results.block_sum, total);
    std::printf("threads counted by leaders %d, expected %d\n", results.counter, large);
    std::printf("results of groups that differ from the CPU's: %d\n", wrong);
    return report("cooperative_reduction",
                  wrong == 0 && results.block_sum == total && results.counter == large);
}
