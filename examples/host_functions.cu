// SPDX-License-Identifier: Apache-2.0
//
// Functions of the host in the order of a stream: cudaLaunchHostFunc and cudaStreamAddCallback. The
// stream waits until such a function has returned, the host does not.

#include "check.h"

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

__global__ void multiply(int *values, int factor, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        values[i] *= factor;
    }
}

static const int COUNT = 1000;

// What the functions saw, in their order.
static std::mutex seen_lock;
static std::vector<int> seen;

struct Look {
    const int *values;
    int step;
};

static void CUDART_CB look(void *data) {
    const Look *look = static_cast<const Look *>(data);
    std::lock_guard<std::mutex> guard(seen_lock);
    seen.push_back(look->step * 100000 + look->values[COUNT - 1]);
}

// Three rounds of kernel, copy and look: each look sees its own round's values.
static bool in_order() {
    int *host = nullptr, *device = nullptr;
    cudaStream_t stream;
    CHECK(cudaMallocHost(&host, COUNT * sizeof(int)));
    CHECK(cudaMalloc(&device, COUNT * sizeof(int)));
    CHECK(cudaStreamCreate(&stream));
    for (int i = 0; i < COUNT; ++i) {
        host[i] = i;
    }
    CHECK(cudaMemcpyAsync(device, host, COUNT * sizeof(int), cudaMemcpyHostToDevice, stream));
    Look looks[3];
    for (int step = 0; step < 3; ++step) {
        looks[step] = {host, step};
        multiply<<<(COUNT + 127) / 128, 128, 0, stream>>>(device, 2, COUNT);
        CHECK_LAUNCH();
        CHECK(cudaMemcpyAsync(host, device, COUNT * sizeof(int), cudaMemcpyDeviceToHost, stream));
        CHECK(cudaLaunchHostFunc(stream, look, &looks[step]));
    }
    CHECK(cudaStreamSynchronize(stream));
    bool right = seen.size() == 3;
    for (int value : seen) {
        std::printf("step %d saw %d\n", value / 100000, value % 100000);
    }
    for (int step = 0; right && step < 3; ++step) {
        right = seen[step] == step * 100000 + 999 * (2 << step);
    }
    CHECK(cudaStreamDestroy(stream));
    CHECK(cudaFree(device));
    CHECK(cudaFreeHost(host));
    return right;
}

struct Slow {
    std::atomic<bool> may_go{false};
    std::atomic<bool> is_done{false};
    int *values = nullptr;
};

static void CUDART_CB fill_when_told(void *data) {
    Slow *slow = static_cast<Slow *>(data);
    while (!slow->may_go.load()) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    for (int i = 0; i < COUNT; ++i) {
        slow->values[i] = 5 * i;
    }
    slow->is_done.store(true);
}

// The stream waits for the function, the host and another stream do not; what the function writes
// is what the stream sees after it.
static bool stream_waits() {
    Slow slow;
    int *device = nullptr, *other_device = nullptr;
    cudaStream_t stream, other;
    CHECK(cudaMallocHost(&slow.values, COUNT * sizeof(int)));
    CHECK(cudaMalloc(&device, COUNT * sizeof(int)));
    CHECK(cudaMalloc(&other_device, COUNT * sizeof(int)));
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    CHECK(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
    CHECK(cudaLaunchHostFunc(stream, fill_when_told, &slow));
    multiply<<<8, 128, 0, other>>>(other_device, 2, COUNT);
    CHECK_LAUNCH();
    CHECK(cudaStreamSynchronize(other));
    const cudaError_t while_it_runs = cudaStreamQuery(stream);
    std::printf("while the function runs: %s\n", cudaGetErrorName(while_it_runs));
    slow.may_go.store(true);
    CHECK(cudaMemcpyAsync(device, slow.values, COUNT * sizeof(int), cudaMemcpyHostToDevice,
                          stream));
    multiply<<<8, 128, 0, stream>>>(device, 3, COUNT);
    CHECK_LAUNCH();
    std::vector<int> result(COUNT);
    CHECK(cudaMemcpyAsync(result.data(), device, COUNT * sizeof(int), cudaMemcpyDeviceToHost,
                          stream));
    CHECK(cudaStreamSynchronize(stream));
    bool right = while_it_runs == cudaErrorNotReady && slow.is_done.load();
    for (int i = 0; i < COUNT; ++i) {
        right = right && result[i] == 15 * i;
    }
    std::printf("after the function: element 999 is %d\n", result[999]);
    CHECK(cudaStreamDestroy(stream));
    CHECK(cudaStreamDestroy(other));
    CHECK(cudaFree(device));
    CHECK(cudaFree(other_device));
    CHECK(cudaFreeHost(slow.values));
    return right;
}

static void CUDART_CB mark(void *data) { static_cast<std::atomic<int> *>(data)->fetch_add(1); }

static void CUDART_CB wait_for_mark(void *data) {
    while (static_cast<std::atomic<int> *>(data)->load() == 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

// Functions run although no call of the host waits for them, and much may be queued behind one.
static bool nobody_waits() {
    std::atomic<int> marks{0};
    CHECK(cudaLaunchHostFunc(nullptr, mark, &marks));
    for (int i = 0; marks.load() == 0 && i < 10000; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    const bool ran = marks.load() == 1;
    std::printf("a function nobody waits for %s\n", ran ? "runs" : "does not run");

    std::atomic<int> gate{0};
    const size_t bytes = 48 << 20;
    std::vector<char> host(bytes, 7), back(bytes, 0);
    char *device = nullptr;
    cudaStream_t stream;
    CHECK(cudaMalloc(&device, bytes));
    CHECK(cudaStreamCreate(&stream));
    CHECK(cudaLaunchHostFunc(stream, wait_for_mark, &gate));
    std::thread opener([&gate] {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        gate.store(1);
    });
    for (int round = 0; round < 3; ++round) {
        host[round] = static_cast<char>(round);
        CHECK(cudaMemcpyAsync(device, host.data(), bytes, cudaMemcpyHostToDevice, stream));
    }
    CHECK(cudaMemcpyAsync(back.data(), device, bytes, cudaMemcpyDeviceToHost, stream));
    CHECK(cudaStreamSynchronize(stream));
    opener.join();
    CHECK(cudaStreamDestroy(stream));
    CHECK(cudaFree(device));
    const bool whole = back[0] == 0 && back[1] == 1 && back[2] == 2 && back[bytes - 1] == 7;
    std::printf("large copies behind a function %s\n", whole ? "arrive" : "are lost");
    return ran && whole;
}

struct Told {
    cudaStream_t stream = nullptr;
    cudaError_t status = cudaErrorUnknown;
    cudaError_t inner = cudaSuccess;
};

static void CUDART_CB told(cudaStream_t stream, cudaError_t status, void *data) {
    Told *told = static_cast<Told *>(data);
    void *memory = nullptr;
    told->stream = stream;
    told->status = status;
    told->inner = cudaMalloc(&memory, 16);
}

// A callback gets its stream and the error, and must not call CUDA.
static bool callbacks() {
    Told data;
    cudaStream_t stream;
    CHECK(cudaStreamCreate(&stream));
    CHECK(cudaStreamAddCallback(stream, told, &data, 0));
    CHECK(cudaStreamSynchronize(stream));
    const bool right = data.stream == stream && data.status == cudaSuccess;
    std::printf("the callback was told %s, and that it must not call: %s\n",
                cudaGetErrorName(data.status), cudaGetErrorName(data.inner));
    const bool refused = cudaStreamAddCallback(stream, nullptr, &data, 0) != cudaSuccess;
    CHECK(cudaStreamDestroy(stream));
    return right && data.inner == cudaErrorNotPermitted && refused;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Runs functions of the host in the order of streams.");
    bool right = in_order();
    right = stream_waits() && right;
    right = nobody_waits() && right;
    right = callbacks() && right;
    return report("host_functions", right);
}
