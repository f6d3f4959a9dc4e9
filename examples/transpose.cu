// SPDX-License-Identifier: Apache-2.0
//
// Transposes a matrix, plainly and through tiles in shared memory.
//
// The plain kernel reads along rows and writes along columns, which scatters its writes over
// memory. The tiled one reads and writes along rows; only shared memory is read crosswise.

#include "check.h"

#include <vector>

constexpr int TILE = 32;
constexpr int BLOCK_ROWS = 8;

__global__ void transpose_plain(const int *input, int *output, int width, int height) {
    const int x = blockIdx.x * TILE + threadIdx.x;
    const int first_y = blockIdx.y * TILE + threadIdx.y;
    for (int y = first_y; y < first_y + TILE && y < height; y += BLOCK_ROWS) {
        if (x < width) {
            output[x * height + y] = input[y * width + x];
        }
    }
}

__global__ void transpose_tiled(const int *input, int *output, int width, int height) {
    // One column more than needed: so the elements of a column lie in different memory banks.
    __shared__ int tile[TILE][TILE + 1];

    const int x = blockIdx.x * TILE + threadIdx.x;
    for (int row = threadIdx.y; row < TILE; row += BLOCK_ROWS) {
        const int y = blockIdx.y * TILE + row;
        if (x < width && y < height) {
            tile[row][threadIdx.x] = input[y * width + x];
        }
    }
    __syncthreads();

    // The same tile at its place in the output, where rows are `height` long.
    const int output_x = blockIdx.y * TILE + threadIdx.x;
    for (int row = threadIdx.y; row < TILE; row += BLOCK_ROWS) {
        const int output_y = blockIdx.x * TILE + row;
        if (output_x < height && output_y < width) {
            output[output_y * height + output_x] = tile[threadIdx.x][row];
        }
    }
}

static bool is_transposed(const std::vector<int> &output, const std::vector<int> &input, int width,
                          int height) {
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
            if (output[x * height + y] != input[y * width + x]) {
                return false;
            }
        }
    }
    return true;
}

int main(int argc, char **argv) {
    const int width =
        size_argument(argc, argv, "Transposes a matrix.", "columns", 1000, 30000);
    const int height = width - width / 4;
    const size_t count = static_cast<size_t>(width) * height;
    const size_t bytes = count * sizeof(int);

    std::vector<int> input(count), output(count);
    for (size_t i = 0; i < count; ++i) {
        input[i] = static_cast<int>(i);
    }
    int *device_input = nullptr, *device_output = nullptr;
    CHECK(cudaMalloc(&device_input, bytes));
    CHECK(cudaMalloc(&device_output, bytes));
    CHECK(cudaMemcpy(device_input, input.data(), bytes, cudaMemcpyHostToDevice));

    std::printf("%d rows of %d become %d rows of %d\n", height, width, width, height);
    const dim3 block(TILE, BLOCK_ROWS);
    const dim3 grid((width + TILE - 1) / TILE, (height + TILE - 1) / TILE);
    bool right = true;
    for (const bool is_tiled : {false, true}) {
        CHECK(cudaMemset(device_output, 0xff, bytes));
        const auto kernel = is_tiled ? transpose_tiled : transpose_plain;
        kernel<<<grid, block>>>(device_input, device_output, width, height);
        CHECK_LAUNCH();
        CHECK(cudaMemcpy(output.data(), device_output, bytes, cudaMemcpyDeviceToHost));

        const bool transposed = is_transposed(output, input, width, height);
        std::printf("%s kernel: %s\n", is_tiled ? "tiled" : "plain",
                    transposed ? "every element is in its place" : "elements are misplaced");
        right = right && transposed;
    }
    CHECK(cudaFree(device_input));
    CHECK(cudaFree(device_output));
    return report("transpose", right);
}
