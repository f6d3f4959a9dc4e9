// SPDX-License-Identifier: Apache-2.0
//
// The stack of a thread: a kernel gets what it is known to need whatever the limit is; recursion
// of unknown depth gets what the limit says; and a stack that overflows ends the context with an
// error, never with a wrong result.

#include "check.h"

constexpr int WORDS = 2048;

// Needs 8 KiB at once, which the device gives unasked.
__global__ void reverse(const int *order, int *result) {
    int words[WORDS];
    for (int i = 0; i < WORDS; ++i) {
        words[order[i]] = i;
    }
    for (int i = 0; i < WORDS; ++i) {
        result[i] = words[i];
    }
}

// Each activation has 64 numbers of its own, which it needs after the next one has returned.
__device__ __noinline__ int descend(const int *order, int depth) {
    int own[64];
    for (int i = 0; i < 64; ++i) {
        own[order[i] & 63] = depth + i;
    }
    const int below = depth == 0 ? 0 : descend(order, depth - 1);
    int sum = below;
    for (int i = 0; i < 64; ++i) {
        sum += own[(order[i] + 1) & 63];
    }
    return sum;
}

__global__ void recurse(const int *order, int depth, int *result) {
    *result = descend(order, depth);
}

static int expected_sum(int depth) {
    int sum = 0;
    for (int d = 0; d <= depth; ++d) {
        sum += 64 * d + 64 * 63 / 2;
    }
    return sum;
}

static bool tell(const char *what, bool right) {
    std::printf("%s: %s\n", what, right ? "yes" : "no");
    return right;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "The stack of a thread.");
    int *order, *result;
    CHECK(cudaMalloc(&order, WORDS * sizeof(int)));
    CHECK(cudaMalloc(&result, WORDS * sizeof(int)));
    int host[WORDS];
    for (int i = 0; i < WORDS; ++i) {
        host[i] = WORDS - 1 - i;
    }
    CHECK(cudaMemcpy(order, host, sizeof host, cudaMemcpyHostToDevice));

    size_t unasked = 0, value = 0;
    CHECK(cudaDeviceGetLimit(&unasked, cudaLimitStackSize));
    bool right = tell("a thread has a stack unasked", unasked > 0);
    reverse<<<1, 1>>>(order, result);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(host, result, sizeof host, cudaMemcpyDeviceToHost));
    bool reversed = true;
    for (int i = 0; i < WORDS; ++i) {
        reversed = reversed && host[i] == WORDS - 1 - i;
    }
    right = tell("a kernel with 8 KiB of variables works with it", reversed) && right;

    // 100 activations of 256 bytes and what the calls take.
    CHECK(cudaDeviceSetLimit(cudaLimitStackSize, 64 << 10));
    CHECK(cudaDeviceGetLimit(&value, cudaLimitStackSize));
    right = tell("it can be larger", value >= 64 << 10) && right;
    recurse<<<1, 1>>>(order, 100, result);
    CHECK_LAUNCH();
    int sum = 0;
    CHECK(cudaMemcpy(&sum, result, sizeof sum, cudaMemcpyDeviceToHost));
    right = tell("then recursion can be deep", sum == expected_sum(100)) && right;

    // 4000 activations need a megabyte, which no thread has here.
    recurse<<<1, 1>>>(order, 4000, result);
    const cudaError_t status = cudaDeviceSynchronize();
    std::fprintf(stderr, "overflow: %s\n", cudaGetErrorName(status));
    right = tell("a stack that overflows is an error",
                 status == cudaErrorIllegalAddress || status == cudaErrorHardwareStackError ||
                     status == cudaErrorLaunchFailure) && right;
    right = tell("which stays", cudaMemcpy(&sum, result, sizeof sum, cudaMemcpyDeviceToHost) ==
                                    status) && right;
    return report("stack_limit", right);
}
