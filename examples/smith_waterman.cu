// SPDX-License-Identifier: Apache-2.0
//
// Smith-Waterman: the best local alignment of two sequences, by the antidiagonals of the table of
// scores, in one block.

#include "check.h"

#include <algorithm>
#include <string>
#include <vector>

constexpr int LENGTH = 256;
constexpr int MATCH = 3, MISMATCH = -2, GAP = -3;

__global__ void align(const char *a, const char *b, int *best) {
    // The last three antidiagonals, by the row.
    __shared__ int diagonals[3][LENGTH + 1];
    const int row = threadIdx.x + 1;
    for (int i = threadIdx.x; i < 3 * (LENGTH + 1); i += blockDim.x) {
        diagonals[i / (LENGTH + 1)][i % (LENGTH + 1)] = 0;
    }
    __syncthreads();
    int own = 0;
    for (int diagonal = 2; diagonal <= 2 * LENGTH; ++diagonal) {
        int *now = diagonals[diagonal % 3];
        const int *before = diagonals[(diagonal + 2) % 3], *last = diagonals[(diagonal + 1) % 3];
        const int column = diagonal - row;
        if (column >= 1 && column <= LENGTH) {
            const int pair = a[row - 1] == b[column - 1] ? MATCH : MISMATCH;
            int score = max(0, last[row - 1] + pair);
            score = max(score, max(before[row - 1], before[row]) + GAP);
            now[row] = score;
            own = max(own, score);
        } else {
            now[row] = 0;
        }
        __syncthreads();
    }
    atomicMax(best, own);
}

static int on_host(const std::string &a, const std::string &b) {
    std::vector<std::vector<int>> scores(LENGTH + 1, std::vector<int>(LENGTH + 1));
    int best = 0;
    for (int row = 1; row <= LENGTH; ++row) {
        for (int column = 1; column <= LENGTH; ++column) {
            const int pair = a[row - 1] == b[column - 1] ? MATCH : MISMATCH;
            scores[row][column] = std::max({0, scores[row - 1][column - 1] + pair,
                                            scores[row - 1][column] + GAP,
                                            scores[row][column - 1] + GAP});
            best = std::max(best, scores[row][column]);
        }
    }
    return best;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "The best local alignment of two sequences.");
    std::string a, b;
    unsigned state = 23;
    const auto letter = [&] {
        state = state * 1664525u + 1013904223u;
        return "ACGT"[state >> 30];
    };
    for (int i = 0; i < LENGTH; ++i) {
        a += letter();
    }
    // The second is the first with changes: some letters are others, some are missing.
    for (int i = 0; static_cast<int>(b.size()) < LENGTH; ++i) {
        const bool is_changed = i % 13 == 0 || i >= LENGTH;
        if (i % 29 != 7) {
            b += is_changed ? letter() : a[i];
        }
    }
    char *d_a, *d_b;
    int *best, score = 0;
    CHECK(cudaMalloc(&d_a, LENGTH));
    CHECK(cudaMalloc(&d_b, LENGTH));
    CHECK(cudaMalloc(&best, sizeof(int)));
    CHECK(cudaMemset(best, 0, sizeof(int)));
    CHECK(cudaMemcpy(d_a, a.data(), LENGTH, cudaMemcpyHostToDevice));
    CHECK(cudaMemcpy(d_b, b.data(), LENGTH, cudaMemcpyHostToDevice));
    align<<<1, LENGTH>>>(d_a, d_b, best);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(&score, best, sizeof score, cudaMemcpyDeviceToHost));
    std::printf("the best score of two sequences of %d letters: %d\n", LENGTH, score);
    CHECK(cudaFree(d_a));
    CHECK(cudaFree(d_b));
    CHECK(cudaFree(best));
    return report("smith_waterman", score == on_host(a, b));
}
