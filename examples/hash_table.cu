// SPDX-License-Identifier: Apache-2.0
//
// A hash table with open addressing that all threads fill at once: keys are claimed by
// compare-and-swap, and equal keys are counted together.

#include "check.h"

#include <map>
#include <vector>

constexpr unsigned SLOTS = 1 << 12;
constexpr unsigned EMPTY = 0xffffffff;
constexpr int COUNT = 10000;

__device__ unsigned slot_of(unsigned key) {
    key = (key ^ key >> 16) * 0x85ebca6bu;
    key = (key ^ key >> 13) * 0xc2b2ae35u;
    return (key ^ key >> 16) % SLOTS;
}

__global__ void insert(const unsigned *keys, unsigned *table, unsigned *counts) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= COUNT) {
        return;
    }
    for (unsigned slot = slot_of(keys[i]);; slot = (slot + 1) % SLOTS) {
        const unsigned before = atomicCAS(&table[slot], EMPTY, keys[i]);
        if (before == EMPTY || before == keys[i]) {
            atomicAdd(&counts[slot], 1);
            return;
        }
    }
}

__global__ void look_up(const unsigned *keys, const unsigned *table, const unsigned *counts,
                        unsigned *found) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= COUNT) {
        return;
    }
    unsigned slot = slot_of(keys[i]);
    while (table[slot] != EMPTY && table[slot] != keys[i]) {
        slot = (slot + 1) % SLOTS;
    }
    found[i] = table[slot] == keys[i] ? counts[slot] : 0;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "A hash table that all threads fill at once.");
    std::vector<unsigned> keys(COUNT), others(COUNT), found(COUNT);
    std::map<unsigned, unsigned> expected;
    unsigned state = 11;
    for (int i = 0; i < COUNT; ++i) {
        state = state * 1664525u + 1013904223u;
        keys[i] = (state >> 16) % 3000 * 977;
        others[i] = keys[i] + (i % 2);
        ++expected[keys[i]];
    }
    unsigned *d_keys, *table, *counts, *d_found;
    const size_t bytes = COUNT * sizeof(unsigned);
    CHECK(cudaMalloc(&d_keys, bytes));
    CHECK(cudaMalloc(&d_found, bytes));
    CHECK(cudaMalloc(&table, SLOTS * sizeof(unsigned)));
    CHECK(cudaMalloc(&counts, SLOTS * sizeof(unsigned)));
    CHECK(cudaMemset(table, 0xff, SLOTS * sizeof(unsigned)));
    CHECK(cudaMemset(counts, 0, SLOTS * sizeof(unsigned)));
    CHECK(cudaMemcpy(d_keys, keys.data(), bytes, cudaMemcpyHostToDevice));
    const int blocks = (COUNT + 255) / 256;
    insert<<<blocks, 256>>>(d_keys, table, counts);
    CHECK(cudaMemcpy(d_keys, others.data(), bytes, cudaMemcpyHostToDevice));
    look_up<<<blocks, 256>>>(d_keys, table, counts, d_found);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(found.data(), d_found, bytes, cudaMemcpyDeviceToHost));
    bool right = true;
    int missing = 0;
    for (int i = 0; i < COUNT; ++i) {
        const auto entry = expected.find(others[i]);
        const unsigned count = entry == expected.end() ? 0 : entry->second;
        right = right && found[i] == count;
        missing += count == 0;
    }
    std::printf("%d insertions of %zu keys; of %d look-ups %d found nothing\n", COUNT,
                expected.size(), COUNT, missing);
    for (unsigned *pointer : {d_keys, table, counts, d_found}) {
        CHECK(cudaFree(pointer));
    }
    return report("hash_table", right);
}
