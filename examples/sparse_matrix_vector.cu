// SPDX-License-Identifier: Apache-2.0
//
// A sparse matrix (compressed rows) times a vector, a warp a row; and conjugate gradients with it.

#include "check.h"

#include <cmath>
#include <vector>

constexpr int SIDE = 12;
constexpr int ROWS = SIDE * SIDE;

__global__ void multiply(const int *starts, const int *columns, const double *values,
                         const double *vector, double *result) {
    const int row = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
    if (row >= ROWS) {
        return;
    }
    double sum = 0;
    for (int i = starts[row] + lane; i < starts[row + 1]; i += 32) {
        sum += values[i] * vector[columns[i]];
    }
    for (int distance = 16; distance > 0; distance /= 2) {
        sum += __shfl_down_sync(0xffffffff, sum, distance);
    }
    if (lane == 0) {
        result[row] = sum;
    }
}

__global__ void dot(const double *a, const double *b, double *result) {
    __shared__ double partial[256];
    double sum = 0;
    for (int i = threadIdx.x; i < ROWS; i += 256) {
        sum += a[i] * b[i];
    }
    partial[threadIdx.x] = sum;
    for (int half = 128; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) {
            partial[threadIdx.x] += partial[threadIdx.x + half];
        }
    }
    if (threadIdx.x == 0) {
        *result = partial[0];
    }
}

// to = a + factor * b
__global__ void add(double *to, const double *a, double factor, const double *b) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < ROWS) {
        to[i] = a[i] + factor * b[i];
    }
}

template <class T> static T *to_device(const std::vector<T> &host) {
    T *device;
    CHECK(cudaMalloc(&device, host.size() * sizeof(T)));
    CHECK(cudaMemcpy(device, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice));
    return device;
}

static double *scratch;

static double product(const double *a, const double *b) {
    double result = 0;
    dot<<<1, 256>>>(a, b, scratch);
    CHECK(cudaMemcpy(&result, scratch, sizeof result, cudaMemcpyDeviceToHost));
    return result;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "A sparse matrix times a vector.");
    // Poisson's equation on a square: 4 in the diagonal, -1 for each neighbour.
    std::vector<int> starts(1), columns;
    std::vector<double> values, right_side(ROWS), zero(ROWS);
    for (int row = 0; row < ROWS; ++row) {
        const int x = row % SIDE, y = row / SIDE;
        const auto entry = [&](bool is_there, int column, double value) {
            if (is_there) {
                columns.push_back(column);
                values.push_back(value);
            }
        };
        entry(y > 0, row - SIDE, -1);
        entry(x > 0, row - 1, -1);
        entry(true, row, 4);
        entry(x + 1 < SIDE, row + 1, -1);
        entry(y + 1 < SIDE, row + SIDE, -1);
        starts.push_back(static_cast<int>(columns.size()));
        right_side[row] = (row * 37 % 11) - 5;
    }
    int *d_starts = to_device(starts), *d_columns = to_device(columns);
    double *d_values = to_device(values), *b = to_device(right_side), *x = to_device(zero);
    double *residual = to_device(right_side), *direction = to_device(right_side);
    double *image = to_device(zero);
    scratch = to_device(std::vector<double>(1));

    const int blocks = (ROWS * 32 + 255) / 256, small = (ROWS + 255) / 256;
    double square = product(residual, residual);
    int rounds = 0;
    while (square > 1e-18 && rounds < 100) {
        multiply<<<blocks, 256>>>(d_starts, d_columns, d_values, direction, image);
        const double step = square / product(direction, image);
        add<<<small, 256>>>(x, x, step, direction);
        add<<<small, 256>>>(residual, residual, -step, image);
        const double next = product(residual, residual);
        add<<<small, 256>>>(direction, residual, next / square, direction);
        square = next;
        ++rounds;
    }
    CHECK_LAUNCH();
    std::vector<double> solution(ROWS);
    CHECK(cudaMemcpy(solution.data(), x, ROWS * sizeof(double), cudaMemcpyDeviceToHost));
    double worst = 0;
    for (int row = 0; row < ROWS; ++row) {
        double sum = 0;
        for (int i = starts[row]; i < starts[row + 1]; ++i) {
            sum += values[i] * solution[columns[i]];
        }
        worst = std::fmax(worst, std::fabs(sum - right_side[row]));
    }
    std::fprintf(stderr, "%d rounds, largest error %g\n", rounds, worst);
    std::printf("%d equations with %zu coefficients are solved: %s\n", ROWS, values.size(),
                worst < 1e-8 ? "yes" : "no");
    for (int *pointer : {d_starts, d_columns}) {
        CHECK(cudaFree(pointer));
    }
    for (double *pointer : {d_values, b, x, residual, direction, image, scratch}) {
        CHECK(cudaFree(pointer));
    }
    return report("sparse_matrix_vector", worst < 1e-8);
}
