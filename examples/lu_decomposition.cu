// SPDX-License-Identifier: Apache-2.0
//
// LU and Cholesky decompositions of many small matrices, a block each, with pivots; checked by
// multiplying the factors.

#include "check.h"

#include <cmath>
#include <vector>

constexpr int N = 24;
constexpr int MATRICES = 8;

// Rows are swapped so that the largest number of a column is its pivot.
__global__ void lu(double *matrices, int *pivots) {
    __shared__ double a[N][N + 1];
    __shared__ int pivot;
    double *matrix = matrices + blockIdx.x * N * N;
    const int row = threadIdx.y, column = threadIdx.x;
    a[row][column] = matrix[row * N + column];
    for (int k = 0; k < N; ++k) {
        __syncthreads();
        if (row == 0 && column == 0) {
            pivot = k;
            for (int i = k + 1; i < N; ++i) {
                if (fabs(a[i][k]) > fabs(a[pivot][k])) {
                    pivot = i;
                }
            }
            pivots[blockIdx.x * N + k] = pivot;
        }
        __syncthreads();
        if (row == 0 && pivot != k) {
            const double swapped = a[k][column];
            a[k][column] = a[pivot][column];
            a[pivot][column] = swapped;
        }
        __syncthreads();
        if (row > k && column == k) {
            a[row][k] /= a[k][k];
        }
        __syncthreads();
        if (row > k && column > k) {
            a[row][column] -= a[row][k] * a[k][column];
        }
    }
    __syncthreads();
    matrix[row * N + column] = a[row][column];
}

__global__ void cholesky(double *matrices) {
    __shared__ double a[N][N + 1];
    double *matrix = matrices + blockIdx.x * N * N;
    const int row = threadIdx.y, column = threadIdx.x;
    a[row][column] = matrix[row * N + column];
    for (int k = 0; k < N; ++k) {
        __syncthreads();
        if (row == k && column == k) {
            a[k][k] = sqrt(a[k][k]);
        }
        __syncthreads();
        if (row > k && column == k) {
            a[row][k] /= a[k][k];
        }
        __syncthreads();
        if (column > k && row >= column) {
            a[row][column] -= a[row][k] * a[column][k];
        }
    }
    __syncthreads();
    matrix[row * N + column] = row >= column ? a[row][column] : 0;
}

static double largest_error_lu(std::vector<double> matrix, const double *factors,
                               const int *pivots) {
    for (int k = 0; k < N; ++k) {
        for (int column = 0; column < N; ++column) {
            std::swap(matrix[k * N + column], matrix[pivots[k] * N + column]);
        }
    }
    double worst = 0;
    for (int row = 0; row < N; ++row) {
        for (int column = 0; column < N; ++column) {
            double sum = 0;
            for (int k = 0; k <= row && k <= column; ++k) {
                sum += (k == row ? 1 : factors[row * N + k]) * factors[k * N + column];
            }
            worst = std::fmax(worst, std::fabs(sum - matrix[row * N + column]));
        }
    }
    return worst;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "LU and Cholesky decompositions.");
    std::vector<double> general(MATRICES * N * N), positive(MATRICES * N * N), result(general.size());
    std::vector<int> pivots(MATRICES * N);
    unsigned state = 31;
    for (double &value : general) {
        state = state * 1664525u + 1013904223u;
        value = (state >> 8) / 16777216.0 - 0.5;
    }
    // A matrix times itself turned over, and something in the diagonal, is positive definite.
    for (int m = 0; m < MATRICES; ++m) {
        const double *a = &general[m * N * N];
        for (int i = 0; i < N * N; ++i) {
            double sum = i / N == i % N ? 1 : 0;
            for (int k = 0; k < N; ++k) {
                sum += a[i / N * N + k] * a[i % N * N + k];
            }
            positive[m * N * N + i] = sum;
        }
    }
    double *matrices, worst = 0, worst_cholesky = 0;
    int *device_pivots;
    const size_t bytes = general.size() * sizeof(double);
    CHECK(cudaMalloc(&matrices, bytes));
    CHECK(cudaMalloc(&device_pivots, pivots.size() * sizeof(int)));
    CHECK(cudaMemcpy(matrices, general.data(), bytes, cudaMemcpyHostToDevice));
    lu<<<MATRICES, dim3(N, N)>>>(matrices, device_pivots);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(result.data(), matrices, bytes, cudaMemcpyDeviceToHost));
    CHECK(cudaMemcpy(pivots.data(), device_pivots, pivots.size() * sizeof(int),
                     cudaMemcpyDeviceToHost));
    for (int m = 0; m < MATRICES; ++m) {
        const auto first = general.begin() + m * N * N;
        worst = std::fmax(worst, largest_error_lu(std::vector<double>(first, first + N * N),
                                                  &result[m * N * N], &pivots[m * N]));
    }
    CHECK(cudaMemcpy(matrices, positive.data(), bytes, cudaMemcpyHostToDevice));
    cholesky<<<MATRICES, dim3(N, N)>>>(matrices);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(result.data(), matrices, bytes, cudaMemcpyDeviceToHost));
    for (int m = 0; m < MATRICES; ++m) {
        const double *l = &result[m * N * N];
        for (int i = 0; i < N * N; ++i) {
            double sum = 0;
            for (int k = 0; k < N; ++k) {
                sum += l[i / N * N + k] * l[i % N * N + k];
            }
            worst_cholesky = std::fmax(worst_cholesky, std::fabs(sum - positive[m * N * N + i]));
        }
    }
    std::fprintf(stderr, "largest errors: %g, %g\n", worst, worst_cholesky);
    const bool right = worst < 1e-12 && worst_cholesky < 1e-12;
    std::printf("%d matrices of %d rows are the products of their factors: %s\n", 2 * MATRICES, N,
                right ? "yes" : "no");
    CHECK(cudaFree(matrices));
    CHECK(cudaFree(device_pivots));
    return report("lu_decomposition", right);
}
