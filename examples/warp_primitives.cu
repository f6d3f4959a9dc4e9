// SPDX-License-Identifier: Apache-2.0
//
// The lanes of a warp talk to each other without memory: shuffles, votes, matches, reductions.
//
// Every lane writes what it saw into one row of a table; the CPU computes the same table.
// nvcc: -arch=sm_80

#include "check.h"

#include <vector>

constexpr unsigned ALL = 0xffffffff;
constexpr int LANES = 32;

enum Column {
    UP, DOWN, BUTTERFLY, BROADCAST, SEGMENT, WIDE, BALLOT, ANY, EVERY, UNIFORM, MATCH_ANY, MATCH_ALL,
    MATCH_FLAG, SUM, LEAST, LARGEST, BITS_AND, BITS_OR, BITS_XOR, ACTIVE, HALF_BALLOT, COLUMNS
};

__host__ __device__ unsigned value_of(int lane) { return lane * 2654435761u ^ 0x5bd1e995u; }

__global__ void talk(unsigned *table) {
    const int lane = threadIdx.x;
    unsigned *row = table + lane * COLUMNS;
    const unsigned value = value_of(lane);

    row[UP] = __shfl_up_sync(ALL, value, 3);
    row[DOWN] = __shfl_down_sync(ALL, value, 5);
    row[BUTTERFLY] = __shfl_xor_sync(ALL, value, 9);
    row[BROADCAST] = __shfl_sync(ALL, value, 17);
    row[SEGMENT] = __shfl_sync(ALL, value, 2, 8);
    const unsigned long long wide = (unsigned long long)value << 20 | lane;
    row[WIDE] = (unsigned)(__shfl_xor_sync(ALL, wide, 1) >> 8);

    row[BALLOT] = __ballot_sync(ALL, value & 4);
    row[ANY] = __any_sync(ALL, lane == 31);
    row[EVERY] = __all_sync(ALL, lane < 31);
    row[UNIFORM] = __all_sync(ALL, lane >= 0);

    int is_same = 0;
    row[MATCH_ANY] = __match_any_sync(ALL, lane % 5);
    row[MATCH_ALL] = __match_all_sync(ALL, lane / 32, &is_same);
    row[MATCH_FLAG] = is_same;

    row[SUM] = __reduce_add_sync(ALL, value);
    row[LEAST] = (unsigned)__reduce_min_sync(ALL, (int)value);
    row[LARGEST] = __reduce_max_sync(ALL, value);
    row[BITS_AND] = __reduce_and_sync(ALL, value | 0xff);
    row[BITS_OR] = __reduce_or_sync(ALL, value & 0xffff);
    row[BITS_XOR] = __reduce_xor_sync(ALL, value);

    // Only part of the warp takes part.
    row[HALF_BALLOT] = 0;
    row[ACTIVE] = 0;
    if (lane % 2 == 0) {
        const unsigned even = 0x55555555;
        row[HALF_BALLOT] = __ballot_sync(even, lane > 10);
        row[ACTIVE] = __popc(__activemask() & ~even);
    }
}

std::vector<unsigned> expected_table() {
    std::vector<unsigned> table(LANES * COLUMNS);
    unsigned ballot = 0, sum = 0, largest = 0, bits_and = ALL, bits_or = 0, bits_xor = 0;
    int least = 0x7fffffff;
    for (int lane = 0; lane < LANES; ++lane) {
        const unsigned value = value_of(lane);
        ballot |= (value & 4 ? 1u : 0u) << lane;
        sum += value;
        least = (int)value < least ? (int)value : least;
        largest = value > largest ? value : largest;
        bits_and &= value | 0xff;
        bits_or |= value & 0xffff;
        bits_xor ^= value;
    }
    for (int lane = 0; lane < LANES; ++lane) {
        unsigned *row = &table[lane * COLUMNS];
        row[UP] = value_of(lane < 3 ? lane : lane - 3);
        row[DOWN] = value_of(lane + 5 > 31 ? lane : lane + 5);
        row[BUTTERFLY] = value_of(lane ^ 9);
        row[BROADCAST] = value_of(17);
        row[SEGMENT] = value_of(lane / 8 * 8 + 2);
        const int neighbour = lane ^ 1;
        row[WIDE] = (unsigned)(((unsigned long long)value_of(neighbour) << 20 | neighbour) >> 8);
        row[BALLOT] = ballot;
        row[ANY] = 1;
        row[EVERY] = 0;
        row[UNIFORM] = 1;
        for (int other = 0; other < LANES; ++other)
            row[MATCH_ANY] |= (other % 5 == lane % 5 ? 1u : 0u) << other;
        row[MATCH_ALL] = ALL;
        row[MATCH_FLAG] = 1;
        row[SUM] = sum;
        row[LEAST] = (unsigned)least;
        row[LARGEST] = largest;
        row[BITS_AND] = bits_and;
        row[BITS_OR] = bits_or;
        row[BITS_XOR] = bits_xor;
        row[HALF_BALLOT] = lane % 2 == 0 ? 0x55555000 : 0;
        row[ACTIVE] = 0;
    }
    return table;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Shuffles, votes, matches and reductions of a warp.");
    const std::vector<unsigned> expected = expected_table();
    std::vector<unsigned> table(expected.size());
    unsigned *device_table = nullptr;
    CHECK(cudaMalloc(&device_table, table.size() * sizeof(unsigned)));
    talk<<<1, LANES>>>(device_table);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(table.data(), device_table, table.size() * sizeof(unsigned),
                     cudaMemcpyDeviceToHost));
    CHECK(cudaFree(device_table));
    int wrong = 0;
    for (size_t i = 0; i < table.size(); ++i) {
        if (table[i] != expected[i]) {
            std::fprintf(stderr, "lane %zu, column %zu: %08x instead of %08x\n", i / COLUMNS,
                         i % COLUMNS, table[i], expected[i]);
            ++wrong;
        }
    }
    std::printf("%d operations in %d lanes, %d results differ from the CPU's\n", (int)COLUMNS, LANES,
                wrong);
    return report("warp_primitives", wrong == 0);
}
