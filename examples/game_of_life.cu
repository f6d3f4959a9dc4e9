// SPDX-License-Identifier: Apache-2.0
//
// Conway's game of life on a torus, with tiles and their borders in shared memory: a glider that
// comes home, and a random field against the CPU.

#include "check.h"

#include <vector>

constexpr int SIDE = 32;
constexpr int TILE = 16;

__host__ __device__ int rule(int alive, int neighbours) {
    return neighbours == 3 || (alive && neighbours == 2);
}

__global__ void generation(const unsigned char *before, unsigned char *after) {
    __shared__ unsigned char tile[TILE + 2][TILE + 2];
    const int left = blockIdx.x * TILE - 1, top = blockIdx.y * TILE - 1;
    const int thread = threadIdx.y * TILE + threadIdx.x;
    for (int cell = thread; cell < (TILE + 2) * (TILE + 2); cell += TILE * TILE) {
        const int x = cell % (TILE + 2), y = cell / (TILE + 2);
        tile[y][x] = before[(top + y + SIDE) % SIDE * SIDE + (left + x + SIDE) % SIDE];
    }
    __syncthreads();
    const int x = threadIdx.x + 1, y = threadIdx.y + 1;
    int neighbours = -tile[y][x];
    for (int dy = -1; dy <= 1; ++dy) {
        for (int dx = -1; dx <= 1; ++dx) {
            neighbours += tile[y + dy][x + dx];
        }
    }
    after[(top + y) * SIDE + left + x] = rule(tile[y][x], neighbours);
}

typedef std::vector<unsigned char> Field;

static Field on_device(Field field, int generations) {
    unsigned char *before, *after;
    CHECK(cudaMalloc(&before, field.size()));
    CHECK(cudaMalloc(&after, field.size()));
    CHECK(cudaMemcpy(before, field.data(), field.size(), cudaMemcpyHostToDevice));
    const dim3 blocks(SIDE / TILE, SIDE / TILE), threads(TILE, TILE);
    for (int i = 0; i < generations; ++i) {
        generation<<<blocks, threads>>>(before, after);
        std::swap(before, after);
    }
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(field.data(), before, field.size(), cudaMemcpyDeviceToHost));
    CHECK(cudaFree(before));
    CHECK(cudaFree(after));
    return field;
}

static Field on_host(Field before, int generations) {
    Field after(before.size());
    for (int i = 0; i < generations; ++i) {
        for (int y = 0; y < SIDE; ++y) {
            for (int x = 0; x < SIDE; ++x) {
                int neighbours = -before[y * SIDE + x];
                for (int dy = SIDE - 1; dy <= SIDE + 1; ++dy) {
                    for (int dx = SIDE - 1; dx <= SIDE + 1; ++dx) {
                        neighbours += before[(y + dy) % SIDE * SIDE + (x + dx) % SIDE];
                    }
                }
                after[y * SIDE + x] = rule(before[y * SIDE + x], neighbours);
            }
        }
        std::swap(before, after);
    }
    return before;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Conway's game of life.");
    Field glider(SIDE * SIDE), random(SIDE * SIDE);
    for (int cell : {1, SIDE + 2, 2 * SIDE, 2 * SIDE + 1, 2 * SIDE + 2}) {
        glider[cell] = 1;
    }
    // It moves by one cell down and right in four generations.
    const bool home = on_device(glider, 4 * SIDE) == glider;
    std::printf("a glider comes home after %d generations: %s\n", 4 * SIDE, home ? "yes" : "no");
    unsigned state = 3;
    int alive = 0;
    for (unsigned char &cell : random) {
        state = state * 1664525u + 1013904223u;
        cell = state >> 30 == 0;
    }
    const Field after = on_device(random, 20);
    for (unsigned char cell : after) {
        alive += cell;
    }
    std::printf("cells of a random field after 20 generations: %d\n", alive);
    return report("game_of_life", home && after == on_host(random, 20));
}
