// SPDX-License-Identifier: Apache-2.0
//
// A process that uses the driver forks; the child uses it too. NVIDIA's driver refuses that, ours
// gives the child a session of its own. The parent must not notice, not even while it captures.

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

// A graph of one memset, in a child that has no graphs of its parent's.
static bool graphs(CUgraph parents, CUdeviceptr address) {
    size_t count = 0;
    if (FUNCTION(cuGraphGetNodes, "cuGraphGetNodes")(parents, nullptr, &count) !=
        CUDA_ERROR_INVALID_VALUE)
        return false;
    CUstream stream = nullptr;
    CUgraph graph = nullptr;
    CUgraphExec exec = nullptr;
    NEED(FUNCTION(cuStreamCreate, "cuStreamCreate")(&stream, CU_STREAM_NON_BLOCKING));
    NEED(FUNCTION(cuStreamBeginCapture, "cuStreamBeginCapture_v2")(
        stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    NEED(FUNCTION(cuMemsetD32Async, "cuMemsetD32Async")(address, 55, 1, stream));
    NEED(FUNCTION(cuStreamEndCapture, "cuStreamEndCapture")(stream, &graph));
    NEED(FUNCTION(cuGraphInstantiateWithFlags, "cuGraphInstantiateWithFlags")(&exec, graph, 0));
    NEED(FUNCTION(cuGraphLaunch, "cuGraphLaunch")(exec, stream));
    NEED(FUNCTION(cuStreamSynchronize, "cuStreamSynchronize")(stream));
    unsigned back = 0;
    NEED(FUNCTION(cuMemcpyDtoH, "cuMemcpyDtoH_v2")(&back, address, sizeof(back)));
    return back == 55;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Forks after it has used the driver.");
    CUdeviceptr mine = 0, of_child = 0;
    bool right = driver != nullptr && work(7, &mine) == 7;
    CUgraph graph = nullptr, captured = nullptr;
    NEED(FUNCTION(cuGraphCreate, "cuGraphCreate")(&graph, 0));
    CUstream stream = nullptr;
    NEED(FUNCTION(cuStreamCreate, "cuStreamCreate")(&stream, CU_STREAM_NON_BLOCKING));
    for (unsigned round = 0; round < 3; ++round) {
        NEED(FUNCTION(cuStreamBeginCapture, "cuStreamBeginCapture_v2")(
            stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
        const pid_t child = fork();
        if (child == 0) {
            setenv("ROLE", "child", 1);
            const bool worked = work(100 + round, &of_child) == 100 + round;
            std::_Exit(worked && graphs(graph, of_child) ? 0 : 3);
        }
        int status = -1;
        right = waitpid(child, &status, 0) == child && right;
        std::printf("child %u: %s\n", round,
                    WIFEXITED(status) && WEXITSTATUS(status) == 0 ? "right" : "wrong");
        right = right && WIFEXITED(status) && WEXITSTATUS(status) == 0;
        NEED(FUNCTION(cuMemsetD32Async, "cuMemsetD32Async")(mine, 8, 1, stream));
        NEED(FUNCTION(cuStreamEndCapture, "cuStreamEndCapture")(stream, &captured));
        size_t nodes = 0;
        NEED(FUNCTION(cuGraphGetNodes, "cuGraphGetNodes")(captured, nullptr, &nodes));
        std::printf("nodes that the parent captured: %zu\n", nodes);
        right = right && nodes == 1;
        unsigned back = 0;
        NEED(FUNCTION(cuMemcpyDtoH, "cuMemcpyDtoH_v2")(&back, mine, sizeof(back)));
        std::printf("the parent's memory afterwards: %u\n", back);
        right = right && back == 7;
    }
    return report("fork_after_use", right);
}
