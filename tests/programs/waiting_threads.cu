// SPDX-License-Identifier: Apache-2.0
//
// Several host threads wait, each in its own way, for kernels that end only when the main thread
// sends more work. If a wait held up other threads' calls this program would never end.

#include "../../examples/check.h"

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

static const int WAYS = 4;

__global__ void wait_for(volatile unsigned *flag, unsigned *result) {
    while (*flag == 0) {
    }
    *result = *flag + 1;
}

__global__ void store(unsigned *target, unsigned value) {
    *target = value;
}

static std::atomic<int> about_to_wait{0};

// Starts a kernel that does not end by itself and waits for it.
static void wait_in_this_way(int way, unsigned *flag, unsigned *result, unsigned *answer) {
    cudaStream_t stream;
    cudaEvent_t event;
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    CHECK(cudaEventCreate(&event));
    wait_for<<<1, 1, 0, stream>>>(flag, result);
    CHECK_LAUNCH();
    CHECK(cudaEventRecord(event, stream));
    ++about_to_wait;
    switch (way) {
    case 0:
        CHECK(cudaStreamSynchronize(stream));
        break;
    case 1:
        CHECK(cudaEventSynchronize(event));
        break;
    case 2:
        CHECK(cudaMemcpyAsync(answer, result, sizeof(*answer), cudaMemcpyDeviceToHost, stream));
        CHECK(cudaStreamSynchronize(stream));
        break;
    default:
        while (cudaStreamQuery(stream) == cudaErrorNotReady) {
            std::this_thread::yield();
        }
        CHECK(cudaStreamQuery(stream));
        break;
    }
    CHECK(cudaMemcpyAsync(answer, result, sizeof(*answer), cudaMemcpyDeviceToHost, stream));
    CHECK(cudaStreamSynchronize(stream));
    CHECK(cudaEventDestroy(event));
    CHECK(cudaStreamDestroy(stream));
}

// What the main thread does while the others wait: all kinds of calls, each of which must return.
static bool work_meanwhile(cudaStream_t stream) {
    const int count = 1000;
    unsigned *values = nullptr;
    CHECK(cudaMalloc(&values, count * sizeof(unsigned)));
    CHECK(cudaMemsetAsync(values, 0, count * sizeof(unsigned), stream));
    for (int i = 0; i < count; ++i) {
        store<<<1, 1, 0, stream>>>(values + i, 3u * i);
    }
    CHECK_LAUNCH();
    std::vector<unsigned> host(count, 0);
    CHECK(cudaMemcpyAsync(host.data(), values, count * sizeof(unsigned), cudaMemcpyDeviceToHost,
                          stream));
    CHECK(cudaStreamSynchronize(stream));
    size_t free_bytes = 0, total_bytes = 0;
    CHECK(cudaMemGetInfo(&free_bytes, &total_bytes));
    bool right = free_bytes <= total_bytes;
    for (int i = 0; i < count; ++i) {
        right = right && host[i] == 3u * i;
    }
    return right;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Lets threads wait for work that another thread sends.");
    unsigned *words = nullptr;
    CHECK(cudaMalloc(&words, (1 + WAYS) * sizeof(unsigned)));
    CHECK(cudaMemset(words, 0, (1 + WAYS) * sizeof(unsigned)));
    cudaStream_t stream;
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    CHECK(cudaDeviceSynchronize());

    unsigned answers[WAYS] = {};
    std::vector<std::thread> threads;
    for (int way = 0; way < WAYS; ++way) {
        threads.emplace_back(wait_in_this_way, way, words, words + 1 + way, &answers[way]);
    }
    while (about_to_wait < WAYS) {
        std::this_thread::yield();
    }
    // Nothing tells that a thread really waits; a while later it does.
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    bool right = work_meanwhile(stream);
    std::printf("work while %d threads wait: %s\n", WAYS, right ? "right" : "wrong");

    store<<<1, 1, 0, stream>>>(words, 41);
    CHECK_LAUNCH();
    CHECK(cudaStreamSynchronize(stream));
    for (std::thread &thread : threads) {
        thread.join();
    }
    for (int way = 0; way < WAYS; ++way) {
        std::printf("way %d to wait: %u\n", way, answers[way]);
        right = right && answers[way] == 42;
    }
    return report("waiting_threads", right);
}
