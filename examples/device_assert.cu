// SPDX-License-Identifier: Apache-2.0
//
// A kernel whose assertion fails, and one that executes `__trap()`: the program is told by the next
// call that waits, and the device is of no use to this process any more.

#include "check.h"

#include <cassert>

#include <sys/wait.h>
#include <unistd.h>

__global__ void all_below(const int *values, int count, int limit) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count)
        assert(values[i] < limit);
}

__global__ void stop(int at) {
    if (threadIdx.x == at)
        __trap();
}

// Runs in a process of its own, because the error stays.
int child(bool is_assertion) {
    constexpr int COUNT = 100;
    int values[COUNT], *device = nullptr;
    for (int i = 0; i < COUNT; ++i)
        values[i] = i;
    CHECK(cudaMalloc(&device, sizeof(values)));
    CHECK(cudaMemcpy(device, values, sizeof(values), cudaMemcpyHostToDevice));
    if (is_assertion) {
        all_below<<<2, 64>>>(device, COUNT, COUNT);
        CHECK(cudaDeviceSynchronize());
        std::printf("  an assertion that holds: nothing happens\n");
        all_below<<<2, 64>>>(device, COUNT, 99);
    } else {
        stop<<<2, 64>>>(64);
        CHECK(cudaDeviceSynchronize());
        std::printf("  a trap that nobody reaches: nothing happens\n");
        stop<<<2, 64>>>(33);
    }
    const cudaError_t status = cudaDeviceSynchronize();
    // How a trap is called depends on the device.
    const bool is_trap = status == cudaErrorLaunchFailure || status == cudaErrorIllegalInstruction;
    std::printf("  the other one: %s\n", is_trap ? "the launch failed" : cudaGetErrorName(status));
    const cudaError_t later = cudaMemcpy(values, device, sizeof(values), cudaMemcpyDeviceToHost);
    std::printf("  a copy after it: %s\n", later == status ? "the same" : cudaGetErrorName(later));
    std::fflush(stdout);
    return (is_assertion ? status == cudaErrorAssert : is_trap) && later == status ? 0 : 1;
}

bool run(const char *what, bool is_assertion) {
    std::printf("%s:\n", what);
    std::fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0)
        std::_Exit(child(is_assertion));
    int status = 1;
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "A failing assertion and a trap on the device.");
    bool right = run("assertion", true);
    right = run("trap", false) && right;
    int *device = nullptr;
    CHECK(cudaMalloc(&device, sizeof(int)));
    CHECK(cudaFree(device));
    std::printf("in this process: no error\n");
    return report("device_assert", right);
}
