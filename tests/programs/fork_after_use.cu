// SPDX-License-Identifier: Apache-2.0
//
// A process that uses the driver forks; the child uses it too. NVIDIA's driver refuses that, ours
// gives the child a session of its own. The parent must not notice.

#include "../../examples/check.h"

#include <cuda.h>
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

static void *const driver = dlopen("libcuda.so.1", RTLD_NOW);

#define FUNCTION(name, symbol) reinterpret_cast<decltype(&name)>(dlsym(driver, symbol))

static void need(CUresult status, const char *call) {
    if (status != CUDA_SUCCESS) {
        std::fprintf(stderr, "fork_after_use.cu: process %s: %s: error %d\n",
                     getenv("ROLE") ? getenv("ROLE") : "parent", call, static_cast<int>(status));
        std::_Exit(1);
    }
}

#define NEED(call) need((call), #call)

// A context, memory, and a copy up and down.
static unsigned work(unsigned value, CUdeviceptr *address) {
    CUcontext context = nullptr;
    NEED(FUNCTION(cuInit, "cuInit")(0));
    NEED(FUNCTION(cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain")(&context, 0));
    NEED(FUNCTION(cuCtxSetCurrent, "cuCtxSetCurrent")(context));
    NEED(FUNCTION(cuMemAlloc, "cuMemAlloc_v2")(address, 1 << 20));
    NEED(FUNCTION(cuMemsetD32, "cuMemsetD32_v2")(*address, value, (1 << 20) / 4));
    unsigned back = 0;
    NEED(FUNCTION(cuMemcpyDtoH, "cuMemcpyDtoH_v2")(&back, *address + 4096, sizeof(back)));
    return back;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Forks after it has used the driver.");
    CUdeviceptr mine = 0, of_child = 0;
    bool right = driver != nullptr && work(7, &mine) == 7;
    for (unsigned round = 0; round < 3; ++round) {
        const pid_t child = fork();
        if (child == 0) {
            setenv("ROLE", "child", 1);
            std::_Exit(work(100 + round, &of_child) == 100 + round ? 0 : 3);
        }
        int status = -1;
        right = waitpid(child, &status, 0) == child && right;
        std::printf("child %u: %s\n", round,
                    WIFEXITED(status) && WEXITSTATUS(status) == 0 ? "right" : "wrong");
        right = right && WIFEXITED(status) && WEXITSTATUS(status) == 0;
        unsigned back = 0;
        NEED(FUNCTION(cuMemcpyDtoH, "cuMemcpyDtoH_v2")(&back, mine, sizeof(back)));
        std::printf("the parent's memory afterwards: %u\n", back);
        right = right && back == 7;
    }
    return report("fork_after_use", right);
}
