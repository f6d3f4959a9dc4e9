// SPDX-License-Identifier: Apache-2.0
//
// Matrix product C = A * B with tiles in shared memory, written twice: with a tile size that
// the compiler knows (static shared memory) and with one chosen at the launch (dynamic).
//
// Each block computes one tile of C. It walks along a row of tiles of A and a column of tiles
// of B, and loads each pair into shared memory once, so that every element that came from
// global memory is used tile-size times.

#include "check.h"

#include <cfloat>
#include <cmath>
#include <vector>

constexpr int STATIC_TILE = 16;
constexpr int DYNAMIC_TILE = 8;

__global__ void multiply_static(const float *a, const float *b, float *c, int n) {
    __shared__ float a_tile[STATIC_TILE][STATIC_TILE];
    __shared__ float b_tile[STATIC_TILE][STATIC_TILE];
    const int x = threadIdx.x, y = threadIdx.y;
    const int column = blockIdx.x * STATIC_TILE + x;
    const int row = blockIdx.y * STATIC_TILE + y;

    float sum = 0.0f;
    for (int start = 0; start < n; start += STATIC_TILE) {
        // Outside the matrices the tiles hold zeros, which add nothing to the sum.
        a_tile[y][x] = row < n && start + x < n ? a[row * n + start + x] : 0.0f;
        b_tile[y][x] = start + y < n && column < n ? b[(start + y) * n + column] : 0.0f;
        __syncthreads();  // The tiles are complete.
        for (int k = 0; k < STATIC_TILE; ++k) {
            sum += a_tile[y][k] * b_tile[k][x];
        }
        __syncthreads();  // Nobody reads the tiles any more.
    }
    if (row < n && column < n) {
        c[row * n + column] = sum;
    }
}

__global__ void multiply_dynamic(const float *a, const float *b, float *c, int n) {
    // Its size is the third number in <<<…>>>: room for both tiles, one after the other.
    extern __shared__ float tiles[];
    const int tile = blockDim.x;
    float *a_tile = tiles;
    float *b_tile = tiles + tile * tile;
    const int x = threadIdx.x, y = threadIdx.y;
    const int column = blockIdx.x * tile + x;
    const int row = blockIdx.y * tile + y;

    float sum = 0.0f;
    for (int start = 0; start < n; start += tile) {
        a_tile[y * tile + x] = row < n && start + x < n ? a[row * n + start + x] : 0.0f;
        b_tile[y * tile + x] = start + y < n && column < n ? b[(start + y) * n + column] : 0.0f;
        __syncthreads();
        for (int k = 0; k < tile; ++k) {
            sum += a_tile[y * tile + k] * b_tile[k * tile + x];
        }
        __syncthreads();
    }
    if (row < n && column < n) {
        c[row * n + column] = sum;
    }
}

// All elements are between 0 and 1, so no sum exceeds n, and each of its n steps can round by
// at most half a float's precision of that.
static double tolerance(int n) {
    return 0.5 * n * n * FLT_EPSILON;
}

static bool is_close(const std::vector<float> &c, const std::vector<double> &expected, int n) {
    for (size_t i = 0; i < c.size(); ++i) {
        // Written so that a NaN counts as wrong.
        if (!(std::fabs(c[i] - expected[i]) <= tolerance(n))) {
            return false;
        }
    }
    return true;
}

static std::vector<double> multiply_on_cpu(const std::vector<float> &a,
                                           const std::vector<float> &b, int n) {
    std::vector<double> c(a.size(), 0.0);
    for (int row = 0; row < n; ++row) {
        for (int k = 0; k < n; ++k) {
            for (int column = 0; column < n; ++column) {
                c[row * n + column] += static_cast<double>(a[row * n + k]) * b[k * n + column];
            }
        }
    }
    return c;
}

int main(int argc, char **argv) {
    const int n = size_argument(argc, argv, "Multiplies two square matrices.", "rows", 150, 2048);
    const size_t count = static_cast<size_t>(n) * n;
    const size_t bytes = count * sizeof(float);

    std::vector<float> a(count), b(count), c(count);
    for (size_t i = 0; i < count; ++i) {
        a[i] = static_cast<float>(i * 7919 % 1000) / 1000.0f;
        b[i] = static_cast<float>(i * 104729 % 1009) / 1009.0f;
    }
    const std::vector<double> expected = multiply_on_cpu(a, b, n);

    float *device_a = nullptr, *device_b = nullptr, *device_c = nullptr;
    CHECK(cudaMalloc(&device_a, bytes));
    CHECK(cudaMalloc(&device_b, bytes));
    CHECK(cudaMalloc(&device_c, bytes));
    CHECK(cudaMemcpy(device_a, a.data(), bytes, cudaMemcpyHostToDevice));
    CHECK(cudaMemcpy(device_b, b.data(), bytes, cudaMemcpyHostToDevice));

    std::printf("C = A * B, %d x %d\n", n, n);
    bool right = true;
    for (const bool is_static : {true, false}) {
        // 0xff bytes are NaNs: an element that the kernel does not write is noticed.
        CHECK(cudaMemset(device_c, 0xff, bytes));
        const int tile = is_static ? STATIC_TILE : DYNAMIC_TILE;
        const dim3 block(tile, tile);
        const dim3 grid((n + tile - 1) / tile, (n + tile - 1) / tile);
        if (is_static) {
            multiply_static<<<grid, block>>>(device_a, device_b, device_c, n);
        } else {
            const size_t shared_bytes = 2 * tile * tile * sizeof(float);
            multiply_dynamic<<<grid, block, shared_bytes>>>(device_a, device_b, device_c, n);
        }
        CHECK_LAUNCH();
        CHECK(cudaMemcpy(c.data(), device_c, bytes, cudaMemcpyDeviceToHost));

        const bool close = is_close(c, expected, n);
        std::printf("%s shared memory, %2d x %2d tiles: %s\n", is_static ? "static " : "dynamic",
                    tile, tile, close ? "as on the CPU, within rounding" : "differs");
        right = right && close;
    }

    CHECK(cudaFree(device_a));
    CHECK(cudaFree(device_b));
    CHECK(cudaFree(device_c));
    return report("matrix_multiply", right);
}
