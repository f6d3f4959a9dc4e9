// SPDX-License-Identifier: Apache-2.0
//
// What happens when a kernel writes where it must not.
//
// The launch itself succeeds; the error comes with the next call that waits for the kernel. It is
// sticky: every later call in this process fails with it too. Other processes are not harmed,
// which the program checks by starting itself once more.

#include "check.h"

#include <cerrno>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

static const char HEALTHY[] = "--healthy";

__global__ void store(int *target, int value) {
    *target = value;
}

static bool is_illegal_address(const char *what, cudaError_t status) {
    std::printf("  %s: %s\n", what, cudaGetErrorName(status));
    return status == cudaErrorIllegalAddress;
}

static bool fails_as_it_should() {
    int *good = nullptr;
    CHECK(cudaMalloc(&good, sizeof(int)));
    store<<<1, 1>>>(good, 1);
    CHECK_LAUNCH();
    CHECK(cudaDeviceSynchronize());

    std::printf("a kernel writes to address 64, which nobody allocated\n");
    store<<<1, 1>>>(reinterpret_cast<int *>(64), 1);
    CHECK_LAUNCH();
    bool right = is_illegal_address("the synchronization that follows", cudaDeviceSynchronize());

    int value = 0;
    void *more = nullptr;
    right = is_illegal_address("a copy", cudaMemcpy(&value, good, sizeof(value),
                                                    cudaMemcpyDeviceToHost)) && right;
    right = is_illegal_address("an allocation", cudaMalloc(&more, 1024)) && right;
    store<<<1, 1>>>(good, 1);
    right = is_illegal_address("another launch", cudaGetLastError()) && right;
    right = is_illegal_address("another synchronization", cudaDeviceSynchronize()) && right;
    return right;
}

// What the second process does.
static int work_in_a_fresh_process() {
    int *good = nullptr, value = 0;
    CHECK(cudaMalloc(&good, sizeof(int)));
    store<<<1, 1>>>(good, 42);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(&value, good, sizeof(value), cudaMemcpyDeviceToHost));
    CHECK(cudaFree(good));
    return value == 42 ? 0 : 1;
}

static bool next_process_is_unharmed(char *program) {
    char healthy[sizeof(HEALTHY)];
    std::memcpy(healthy, HEALTHY, sizeof(HEALTHY));
    char *arguments[] = {program, healthy, nullptr};
    pid_t process = 0;
    int status = -1;
    if (posix_spawn(&process, "/proc/self/exe", nullptr, nullptr, arguments, environ) != 0) {
        return false;
    }
    while (waitpid(process, &status, 0) < 0) {
        if (errno != EINTR) {
            return false;
        }
    }
    const bool unharmed = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    std::printf("the next process %s\n", unharmed ? "is unharmed" : "fails as well");
    return unharmed;
}

int main(int argc, char **argv) {
    if (argc == 2 && std::strcmp(argv[1], HEALTHY) == 0) {
        return work_in_a_fresh_process();
    }
    no_arguments(argc, argv, "Lets a kernel fail, and checks that only its process suffers.");
    bool right = fails_as_it_should();
    right = next_process_is_unharmed(argv[0]) && right;
    return report("illegal_address", right);
}
