// SPDX-License-Identifier: Apache-2.0
//
// Does what it is told, one command a line, and answers each with one line: the command, the name
// of CUDA's answer, and numbers. So a test can stop it at any point, and compare what two scripts
// cost.

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

#include <vector>

__global__ void count_up(unsigned *counter) {
    atomicAdd(counter, 1u);
}

// Runs for as long as the process does.
__global__ void spin(volatile unsigned *counter) {
    while (counter[1] == 0) {
    }
}

static unsigned *counter = nullptr;
static std::vector<void *> blocks;

// The counter, and a word that is never set.
static cudaError_t start() {
    if (counter != nullptr) {
        return cudaSuccess;
    }
    const cudaError_t status = cudaMalloc(&counter, 2 * sizeof(unsigned));
    return status != cudaSuccess ? status : cudaMemset(counter, 0, 2 * sizeof(unsigned));
}

static cudaError_t launch(long long times) {
    cudaError_t status = start();
    for (long long i = 0; i < times && status == cudaSuccess; ++i) {
        count_up<<<1, 1>>>(counter);
        status = cudaGetLastError();
    }
    return status;
}

static cudaError_t copy(long long times, size_t bytes, cudaMemcpyKind kind) {
    static std::vector<char> host;
    static void *device = nullptr;
    static size_t device_bytes = 0;
    host.resize(bytes, 'x');
    if (device_bytes != bytes) {
        cudaFree(device);
        device_bytes = bytes;
        const cudaError_t status = cudaMalloc(&device, bytes);
        if (status != cudaSuccess) {
            return status;
        }
    }
    for (long long i = 0; i < times; ++i) {
        const bool up = kind == cudaMemcpyHostToDevice;
        const cudaError_t status = cudaMemcpy(up ? device : host.data(),
                                              up ? host.data() : device, bytes, kind);
        if (status != cudaSuccess) {
            return status;
        }
    }
    return cudaSuccess;
}

static cudaError_t allocate(size_t bytes) {
    void *block = nullptr;
    const cudaError_t status = cudaMalloc(&block, bytes);
    if (status == cudaSuccess) {
        blocks.push_back(block);
    }
    return status;
}

int main() {
    char line[256];
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    while (std::fgets(line, sizeof(line), stdin) != nullptr) {
        char command[64] = "";
        long long first = 0, second = 0;
        std::sscanf(line, "%63s %lld %lld", command, &first, &second);
        const auto is = [&command](const char *name) { return std::strcmp(command, name) == 0; };
        cudaError_t status = cudaSuccess;
        size_t free_bytes = 0, total_bytes = 0;
        unsigned value = 0;
        if (is("allocate")) {
            status = allocate(static_cast<size_t>(first));
        } else if (is("launch")) {
            status = launch(first);
        } else if (is("spin")) {
            status = start();
            if (status == cudaSuccess) {
                spin<<<1, 1>>>(counter);
                status = cudaGetLastError();
            }
        } else if (is("synchronize")) {
            status = cudaDeviceSynchronize();
        } else if (is("to_device")) {
            status = copy(first, static_cast<size_t>(second), cudaMemcpyHostToDevice);
        } else if (is("to_host")) {
            status = copy(first, static_cast<size_t>(second), cudaMemcpyDeviceToHost);
        } else if (is("memory")) {
            status = cudaMemGetInfo(&free_bytes, &total_bytes);
            std::printf("memory %s %zu %zu\n", cudaGetErrorName(status), free_bytes, total_bytes);
            continue;
        } else if (is("devices")) {
            int count = 0;
            status = cudaGetDeviceCount(&count);
            std::printf("devices %s", cudaGetErrorName(status));
            for (int device = 0; device < count; ++device) {
                int bus = 0;
                cudaDeviceGetAttribute(&bus, cudaDevAttrPciBusId, device);
                std::printf(" %d", bus);
            }
            std::printf("\n");
            continue;
        } else if (is("count")) {
            status = start();
            if (status == cudaSuccess) {
                status = cudaMemcpy(&value, counter, sizeof(value), cudaMemcpyDeviceToHost);
            }
            std::printf("count %s %u\n", cudaGetErrorName(status), value);
            continue;
        } else if (is("leave_child")) {
            // It lives on for a while and does nothing, like a helper of the program.
            if (fork() == 0) {
                if (first != 0) {
                    execlp("sleep", "sleep", "30", nullptr);
                }
                sleep(30);
                _exit(0);
            }
        } else if (is("exit")) {
            return static_cast<int>(first);
        } else if (is("abandon")) {
            _exit(static_cast<int>(first));
        } else {
            std::fprintf(stderr, "unknown command: %s", line);
            return 2;
        }
        std::printf("%s %s\n", command, cudaGetErrorName(status));
    }
    return 0;
}
