// SPDX-License-Identifier: Apache-2.0
//
// Memory that several processes use: one allocates it and hands its handle to two others, which
// open it, check what is there, and write to it with kernels of their own.

#include "check.h"
#include "processes.h"

#include <vector>

constexpr int WORKERS = 2;
constexpr int SMALL_COUNT = 100;
constexpr int LARGE_COUNT = 3 << 20;

struct Task {
    int number;
    cudaIpcMemHandle_t small;
    cudaIpcMemHandle_t large;
};

struct Result {
    int wrong_before;
    bool same_pointer_twice;
    bool usable_after_first_close;
    size_t bytes_copied;
};

__global__ void fill(int *values, int count, int factor) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        values[i] = i * factor;
    }
}

__global__ void count_wrong(const int *values, int count, int factor, int *wrong) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count && values[i] != i * factor) {
        atomicAdd(wrong, 1);
    }
}

// All processes add to the same words at the same time.
__global__ void add_one(int *counters, int count, int rounds) {
    for (int round = 0; round < rounds; round++) {
        atomicAdd(&counters[(threadIdx.x + round) % count], 1);
    }
}

// Every second value is this worker's.
__global__ void add_number(int *values, int count, int number) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count && i % WORKERS == number) {
        values[i] += 1000 + number;
    }
}

static int blocks(int count) { return (count + 255) / 256; }

static void work(int socket) {
    const Task task = hear<Task>(socket);
    Result result = {};
    int *small = nullptr;
    int *again = nullptr;
    int *large = nullptr;
    int *wrong = nullptr;
    void *opened = nullptr;
    CHECK(cudaIpcOpenMemHandle(&opened, task.small, cudaIpcMemLazyEnablePeerAccess));
    small = static_cast<int *>(opened);
    CHECK(cudaIpcOpenMemHandle(&opened, task.small, cudaIpcMemLazyEnablePeerAccess));
    again = static_cast<int *>(opened);
    CHECK(cudaIpcOpenMemHandle(&opened, task.large, cudaIpcMemLazyEnablePeerAccess));
    large = static_cast<int *>(opened);
    result.same_pointer_twice = small == again;

    CHECK(cudaMallocManaged(&wrong, sizeof *wrong));
    *wrong = 0;
    count_wrong<<<blocks(LARGE_COUNT), 256>>>(large, LARGE_COUNT, 3, wrong);
    CHECK_LAUNCH();
    CHECK(cudaDeviceSynchronize());
    result.wrong_before = *wrong;

    add_one<<<1, 128>>>(small, SMALL_COUNT, 500);
    add_number<<<blocks(LARGE_COUNT), 256>>>(large, LARGE_COUNT, task.number);
    CHECK_LAUNCH();
    CHECK(cudaDeviceSynchronize());

    // Opened twice, it stays until it has been closed twice.
    CHECK(cudaIpcCloseMemHandle(again));
    int first = -1;
    CHECK(cudaMemcpy(&first, small, sizeof first, cudaMemcpyDeviceToHost));
    result.usable_after_first_close = first >= 0;
    std::vector<int> host(LARGE_COUNT);
    CHECK(cudaMemcpy(host.data(), large, LARGE_COUNT * sizeof(int), cudaMemcpyDeviceToHost));
    for (int i = task.number; i < LARGE_COUNT; i += WORKERS) {
        result.bytes_copied += host[i] == i * 3 + 1000 + task.number ? sizeof(int) : 0;
    }
    CHECK(cudaIpcCloseMemHandle(small));
    CHECK(cudaIpcCloseMemHandle(large));
    CHECK(cudaFree(wrong));
    tell(socket, result);
}

static bool expect(const char *what, bool is_so) {
    std::printf("  %s: %s\n", what, is_so ? "yes" : "NO");
    return is_so;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Shares device memory with two other processes.");
    Process workers[WORKERS];
    for (Process &worker : workers) {
        worker = start_process(work);
    }

    int *small = nullptr;
    int *large = nullptr;
    CHECK(cudaMalloc(&small, SMALL_COUNT * sizeof(int)));
    CHECK(cudaMalloc(&large, LARGE_COUNT * sizeof(int)));
    CHECK(cudaMemset(small, 0, SMALL_COUNT * sizeof(int)));
    fill<<<blocks(LARGE_COUNT), 256>>>(large, LARGE_COUNT, 3);
    CHECK_LAUNCH();
    CHECK(cudaDeviceSynchronize());
    Task task = {};
    CHECK(cudaIpcGetMemHandle(&task.small, small));
    CHECK(cudaIpcGetMemHandle(&task.large, large));

    bool right = true;
    void *own = nullptr;
    right &= expect("its own handle is refused",
                    cudaIpcOpenMemHandle(&own, task.small, cudaIpcMemLazyEnablePeerAccess) !=
                        cudaSuccess);
    int on_host = 0;
    cudaIpcMemHandle_t none;
    right &= expect("memory of the host has no handle",
                    cudaIpcGetMemHandle(&none, &on_host) != cudaSuccess);
    cudaGetLastError();

    for (int number = 0; number < WORKERS; number++) {
        task.number = number;
        tell(workers[number].socket, task);
        if (number == 0) {
            const Result result = hear<Result>(workers[number].socket);
            std::printf("worker %d: %d wrong values\n", number, result.wrong_before);
            right &= result.wrong_before == 0;
            right &= expect("the same pointer twice", result.same_pointer_twice);
            right &= expect("usable after the first close", result.usable_after_first_close);
            right &= expect("its values are right", result.bytes_copied == LARGE_COUNT * 2ull);
        } else {
            add_one<<<1, 128>>>(small, SMALL_COUNT, 500);
            CHECK_LAUNCH();
            const Result result = hear<Result>(workers[number].socket);
            // The first has changed every second value.
            std::printf("worker %d: %d values changed before\n", number, result.wrong_before);
            right &= result.wrong_before == LARGE_COUNT / 2;
            right &= expect("its values are right", result.bytes_copied == LARGE_COUNT * 2ull);
        }
        right &= expect("it ends well", workers[number].ends_well());
    }
    CHECK(cudaDeviceSynchronize());

    std::vector<int> counters(SMALL_COUNT);
    CHECK(cudaMemcpy(counters.data(), small, SMALL_COUNT * sizeof(int), cudaMemcpyDeviceToHost));
    long long sum = 0;
    for (int counter : counters) {
        sum += counter;
    }
    std::printf("sum of the counters: %lld\n", sum);
    right &= sum == 3ll * 128 * 500;

    std::vector<int> values(LARGE_COUNT);
    CHECK(cudaMemcpy(values.data(), large, LARGE_COUNT * sizeof(int), cudaMemcpyDeviceToHost));
    int wrong = 0;
    for (int i = 0; i < LARGE_COUNT; i++) {
        wrong += values[i] != i * 3 + 1000 + i % WORKERS;
    }
    std::printf("wrong values at the end: %d\n", wrong);
    right &= wrong == 0;
    CHECK(cudaFree(small));
    CHECK(cudaFree(large));
    return report("ipc_memory", right);
}
