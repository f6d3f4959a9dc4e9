// SPDX-License-Identifier: Apache-2.0
//
// Variables that live on the device as long as the program: constants and globals.
//
// The host names them as symbols: it can copy to them and from them, whole or in part, or ask
// for a symbol's address and use it as any other device pointer.

#include "check.h"

#include <vector>

constexpr int DEGREE = 3;
constexpr int COUNT = 5000;
constexpr int SQUARES = 8;

// Constant memory is for what all threads read at the same time.
__constant__ unsigned coefficients[DEGREE + 1];
__constant__ int offsets[4] = {10, 20, 30, 40};

// Globals can start with a value, and one can hold the address of another.
__device__ int squares[SQUARES] = {0, 1, 4, 9, 16, 25, 36, 49};
__device__ int *middle_square = &squares[4];
__device__ unsigned long long evaluations = 1000;
__device__ unsigned results[COUNT];

__global__ void evaluate_polynomial() {
    const unsigned x = blockIdx.x * blockDim.x + threadIdx.x;
    if (x < COUNT) {
        unsigned value = 0;
        for (int power = DEGREE; power >= 0; --power) {
            value = value * x + coefficients[power];
        }
        results[x] = value;
        atomicAdd(&evaluations, 1ull);
    }
}

__global__ void read_initial_values(int *values) {
    const int i = threadIdx.x;
    values[i] = offsets[i] + middle_square[i];
}

static unsigned polynomial_on_cpu(const unsigned *c, unsigned x) {
    return c[0] + x * (c[1] + x * (c[2] + x * c[3]));
}

static bool check_initial_values() {
    int *device_values = nullptr, values[4] = {};
    CHECK(cudaMalloc(&device_values, sizeof(values)));
    read_initial_values<<<1, 4>>>(device_values);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(values, device_values, sizeof(values), cudaMemcpyDeviceToHost));
    CHECK(cudaFree(device_values));
    std::printf("initial values: %d %d %d %d\n", values[0], values[1], values[2], values[3]);
    return values[0] == 26 && values[1] == 45 && values[2] == 66 && values[3] == 89;
}

static bool check_polynomial() {
    const unsigned host_coefficients[DEGREE + 1] = {7, 5, 3, 2};
    CHECK(cudaMemcpyToSymbol(coefficients, host_coefficients, sizeof(host_coefficients)));
    evaluate_polynomial<<<(COUNT + 127) / 128, 128>>>();
    CHECK_LAUNCH();

    std::vector<unsigned> host_results(COUNT);
    CHECK(cudaMemcpyFromSymbol(host_results.data(), results, sizeof(results)));
    int wrong = 0;
    for (int x = 0; x < COUNT; ++x) {
        wrong += host_results[x] != polynomial_on_cpu(host_coefficients, x);
    }
    unsigned long long count = 0;
    CHECK(cudaMemcpyFromSymbol(&count, evaluations, sizeof(count)));
    std::printf("2x³ + 3x² + 5x + 7 at %d places, %d wrong\n", COUNT, wrong);
    std::printf("evaluations counted from 1000 on: %llu\n", count);
    return wrong == 0 && count == 1000 + COUNT;
}

// A part of a symbol is named by an offset in bytes.
static bool check_partial_copies() {
    const int replacement[2] = {-2, -3};
    CHECK(cudaMemcpyToSymbol(squares, replacement, sizeof(replacement), 2 * sizeof(int)));
    int part[4] = {};
    CHECK(cudaMemcpyFromSymbol(part, squares, sizeof(part), 1 * sizeof(int)));
    std::printf("squares 1 to 4, two of them replaced: %d %d %d %d\n", part[0], part[1], part[2],
                part[3]);
    return part[0] == 1 && part[1] == -2 && part[2] == -3 && part[3] == 16;
}

static bool check_address() {
    void *address = nullptr;
    size_t size = 0;
    CHECK(cudaGetSymbolAddress(&address, squares));
    CHECK(cudaGetSymbolSize(&size, squares));

    int *pointer_on_device = nullptr;
    CHECK(cudaMemcpyFromSymbol(&pointer_on_device, middle_square, sizeof(pointer_on_device)));
    const bool points_inside = pointer_on_device == static_cast<int *>(address) + 4;

    CHECK(cudaMemset(address, 0, size));
    int zeros[SQUARES];
    CHECK(cudaMemcpy(zeros, address, sizeof(zeros), cudaMemcpyDeviceToHost));
    bool are_zeros = true;
    for (const int zero : zeros) {
        are_zeros = are_zeros && zero == 0;
    }
    std::printf("the symbol's size is %zu bytes, the device's pointer %s\n", size,
                points_inside ? "points into it" : "points elsewhere");
    return size == sizeof(squares) && points_inside && are_zeros;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Constant memory, global variables and their symbols.");
    bool right = check_initial_values();
    right = check_polynomial() && right;
    right = check_partial_copies() && right;
    right = check_address() && right;
    return report("constants_and_globals", right);
}
