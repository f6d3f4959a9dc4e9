// SPDX-License-Identifier: Apache-2.0
//
// Breadth-first search in a graph of compressed rows: each level's nodes are put into a queue by
// atomics.

#include "check.h"

#include <queue>
#include <vector>

constexpr int NODES = 4000;
constexpr int DEGREE = 4;

__global__ void visit(const int *rows, const int *columns, const int *queue, int length, int level,
                      int *levels, int *next, int *next_length) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= length) {
        return;
    }
    const int node = queue[i];
    for (int edge = rows[node]; edge < rows[node + 1]; ++edge) {
        const int neighbour = columns[edge];
        if (atomicCAS(&levels[neighbour], -1, level) == -1) {
            next[atomicAdd(next_length, 1)] = neighbour;
        }
    }
}

template <class T> static T *to_device(const std::vector<T> &host) {
    T *device;
    CHECK(cudaMalloc(&device, host.size() * sizeof(T)));
    CHECK(cudaMemcpy(device, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice));
    return device;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Breadth-first search in a graph.");
    std::vector<int> rows(NODES + 1), columns;
    unsigned state = 17;
    for (int node = 0; node < NODES; ++node) {
        rows[node] = static_cast<int>(columns.size());
        // Every node knows its successor and some others not far away.
        columns.push_back((node + 1) % NODES);
        for (int edge = 1; edge < DEGREE; ++edge) {
            state = state * 1664525u + 1013904223u;
            columns.push_back((node + (state >> 16) % 300) % NODES);
        }
    }
    rows[NODES] = static_cast<int>(columns.size());
    std::vector<int> levels(NODES, -1), expected(NODES, -1);
    levels[0] = 0;
    int *device_rows = to_device(rows), *device_columns = to_device(columns);
    int *device_levels = to_device(levels);
    int *queue = to_device(std::vector<int>(NODES)), *next = to_device(std::vector<int>(NODES));
    int *length_on_device = to_device(std::vector<int>(1));
    CHECK(cudaMemset(queue, 0, sizeof(int)));
    int length = 1, level = 0;
    while (length > 0) {
        ++level;
        CHECK(cudaMemset(length_on_device, 0, sizeof(int)));
        visit<<<(length + 127) / 128, 128>>>(device_rows, device_columns, queue, length, level,
                                             device_levels, next, length_on_device);
        CHECK_LAUNCH();
        CHECK(cudaMemcpy(&length, length_on_device, sizeof length, cudaMemcpyDeviceToHost));
        std::swap(queue, next);
    }
    CHECK(cudaMemcpy(levels.data(), device_levels, NODES * sizeof(int), cudaMemcpyDeviceToHost));

    std::queue<int> open;
    open.push(0);
    expected[0] = 0;
    while (!open.empty()) {
        const int node = open.front();
        open.pop();
        for (int edge = rows[node]; edge < rows[node + 1]; ++edge) {
            if (expected[columns[edge]] == -1) {
                expected[columns[edge]] = expected[node] + 1;
                open.push(columns[edge]);
            }
        }
    }
    std::printf("%d nodes are at most %d steps away\n", NODES, level - 1);
    for (int *pointer : {device_rows, device_columns, device_levels, queue, next,
                         length_on_device}) {
        CHECK(cudaFree(pointer));
    }
    return report("breadth_first_search", levels == expected);
}
