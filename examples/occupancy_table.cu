// SPDX-License-Identifier: Apache-2.0
//
// Occupancy of many launches: what the device says against the formula that NVIDIA publishes in
// cuda_occupancy.h, for kernels of different needs, all block sizes and many sizes of shared
// memory.

#include "check.h"

#include <climits>
#include <cuda_occupancy.h>

template <int Registers>
__global__ void __launch_bounds__(1024 / (Registers / 64 ? Registers / 64 : 1))
    many(float *values) {
    float own[Registers];
    for (int i = 0; i < Registers; ++i) {
        own[i] = values[i * blockDim.x + threadIdx.x];
    }
    for (int round = 0; round < 4; ++round) {
#pragma unroll
        for (int i = 0; i < Registers; ++i) {
            own[i] = own[i] * own[(i * 7 + 3) % Registers] + own[(i + 1) % Registers];
        }
    }
    for (int i = 0; i < Registers; ++i) {
        values[i * blockDim.x + threadIdx.x] = own[i];
    }
}

template <int Bytes> __global__ void shared(int *values) {
    __shared__ int own[Bytes / sizeof(int)];
    for (int i = threadIdx.x; i < Bytes / 4; i += blockDim.x) {
        own[i] = values[i];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < Bytes / 4; i += blockDim.x) {
        values[i] = own[Bytes / 4 - 1 - i];
    }
}

struct Table {
    cudaOccDeviceProp device;
    long compared = 0;
    long different = 0;

    void differ(const char *what, long expected, long got, int threads, size_t shared_bytes) {
        if (different++ < 10) {
            std::fprintf(stderr, "%s of %d threads, %zu bytes: %ld, expected %ld\n", what, threads,
                         shared_bytes, got, expected);
        }
    }

    template <typename Kernel> void compare(Kernel kernel, size_t opted_in, int carveout) {
        if (opted_in > 0) {
            CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                       static_cast<int>(opted_in)));
        }
        CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                   carveout));
        cudaFuncAttributes found = {};
        CHECK(cudaFuncGetAttributes(&found, kernel));
        const cudaOccFuncAttributes attributes = found;
        cudaOccDeviceState state;
        state.carveoutConfig = carveout;
        for (size_t bytes = 0; bytes <= attributes.maxDynamicSharedSizeBytes; bytes += 1160) {
            for (int threads = 1; threads <= 1024; threads += threads % 32 == 1 ? 31 : 1) {
                compare_one(kernel, attributes, state, threads, bytes);
            }
        }
    }

    template <typename Kernel>
    void compare_one(Kernel kernel, const cudaOccFuncAttributes &attributes,
                     const cudaOccDeviceState &state, int threads, size_t bytes) {
        cudaOccResult expected;
        if (cudaOccMaxActiveBlocksPerMultiprocessor(&expected, &device, &attributes, &state,
                                                    threads, bytes) != CUDA_OCC_SUCCESS) {
            return;
        }
        int blocks = -1;
        CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, bytes));
        ++compared;
        if (blocks != expected.activeBlocksPerMultiprocessor) {
            differ("blocks", expected.activeBlocksPerMultiprocessor, blocks, threads, bytes);
        }
        if (bytes > 0) {
            return;
        }
        for (int wanted = 1; wanted <= expected.activeBlocksPerMultiprocessor; ++wanted) {
            size_t most = 0, got = 0;
            if (cudaOccAvailableDynamicSMemPerBlock(&most, &device, &attributes, &state, wanted,
                                                    threads) != CUDA_OCC_SUCCESS) {
                continue;
            }
            CHECK(cudaOccupancyAvailableDynamicSMemPerBlock(&got, kernel, wanted, threads));
            ++compared;
            if (got != most) {
                differ("shared memory", static_cast<long>(most), static_cast<long>(got), threads,
                       wanted);
            }
        }
    }

    template <typename Kernel> void compare_best(Kernel kernel, size_t bytes) {
        cudaFuncAttributes found = {};
        CHECK(cudaFuncGetAttributes(&found, kernel));
        const cudaOccFuncAttributes attributes = found;
        const cudaOccDeviceState state;
        int grid = 0, threads = 0, expected_grid = 0, expected_threads = 0;
        if (cudaOccMaxPotentialOccupancyBlockSize(&expected_grid, &expected_threads, &device,
                                                  &attributes, &state, bytes) !=
            CUDA_OCC_SUCCESS) {
            return;
        }
        CHECK(cudaOccupancyMaxPotentialBlockSize(&grid, &threads, kernel, bytes));
        ++compared;
        if (grid != expected_grid || threads != expected_threads) {
            differ("best block", expected_threads, threads, expected_grid, grid);
        }
    }
};

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Occupancy of many launches against the published formula.");
    cudaDeviceProp properties = {};
    CHECK(cudaGetDeviceProperties(&properties, 0));
    Table table{properties};
    for (size_t bytes = 0; bytes < 48 << 10; bytes += 5000) {
        table.compare_best(many<8>, bytes);
        table.compare_best(many<100>, bytes);
        table.compare_best(shared<1024>, bytes);
    }
    table.compare(many<8>, 0, -1);
    table.compare(many<8>, 0, 0);
    table.compare(many<40>, 0, -1);
    table.compare(many<64>, 0, -1);
    table.compare(many<100>, 0, -1);
    table.compare(many<200>, 0, -1);
    table.compare(shared<1024>, properties.sharedMemPerBlockOptin - 1024, -1);
    table.compare(shared<1024>, properties.sharedMemPerBlockOptin - 1024, 50);
    table.compare(shared<10000>, 0, -1);
    table.compare(shared<10000>, 0, 25);
    table.compare(shared<49152>, 0, 100);
    std::fprintf(stderr, "%ld answers compared\n", table.compared);
    std::printf("at least ten thousand answers were compared: %s\n",
                table.compared >= 10000 ? "yes" : "no");
    std::printf("answers that differ: %ld\n", table.different);
    return report("occupancy_table", table.compared >= 10000 && table.different == 0);
}
