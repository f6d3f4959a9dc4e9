// SPDX-License-Identifier: Apache-2.0
// nvcc: --default-stream per-thread
//
// Many host threads at once, each with its own default stream, streams and events of its own, and
// all kinds of copies. A ring of events passes one buffer from thread to thread.

#include "../../examples/check.h"

#include <atomic>
#include <thread>
#include <vector>

static const int THREADS = 12;
static const int ROUNDS = 30;
static const int COUNT = 5000;

__global__ void add(unsigned *values, int count, unsigned value) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        values[i] += value;
    }
}

static void add_all(unsigned *values, unsigned value, cudaStream_t stream) {
    add<<<(COUNT + 127) / 128, 128, 0, stream>>>(values, COUNT, value);
    CHECK_LAUNCH();
}

// A thread by itself: up, work on two streams, down, with every sort of host memory.
static bool alone(unsigned seed, bool pinned) {
    const size_t bytes = COUNT * sizeof(unsigned);
    std::vector<unsigned> pageable(COUNT);
    unsigned *host = pageable.data();
    if (pinned) {
        CHECK(cudaMallocHost(&host, bytes));
    }
    unsigned *device = nullptr;
    cudaStream_t other;
    cudaEvent_t done;
    CHECK(cudaMalloc(&device, bytes));
    CHECK(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
    CHECK(cudaEventCreateWithFlags(&done, cudaEventDisableTiming));
    bool right = true;
    for (unsigned round = 0; round < ROUNDS; ++round) {
        for (int i = 0; i < COUNT; ++i) {
            host[i] = seed + round + i;
        }
        CHECK(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice));
        add_all(device, 1, cudaStreamPerThread);
        CHECK(cudaEventRecord(done, cudaStreamPerThread));
        CHECK(cudaStreamWaitEvent(other, done));
        add_all(device, 10, other);
        CHECK(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, other));
        CHECK(cudaStreamSynchronize(other));
        for (int i = 0; i < COUNT; ++i) {
            right = right && host[i] == seed + round + i + 11;
        }
    }
    CHECK(cudaEventDestroy(done));
    CHECK(cudaStreamDestroy(other));
    CHECK(cudaFree(device));
    if (pinned) {
        CHECK(cudaFreeHost(host));
    }
    return right;
}

static std::atomic<int> turn{0};

// Thread by thread in turn multiplies what the one before has left, without waiting for it on the
// host: only the event that the former recorded orders the two.
static void pass_on(int thread, unsigned *shared, std::vector<cudaEvent_t> *events) {
    for (int round = 0; round < ROUNDS; ++round) {
        const int mine = round * THREADS + thread;
        while (turn != mine) {
            std::this_thread::yield();
        }
        if (mine > 0) {
            CHECK(cudaStreamWaitEvent(cudaStreamPerThread, (*events)[mine - 1]));
        }
        add_all(shared, static_cast<unsigned>(mine), cudaStreamPerThread);
        CHECK(cudaEventRecord((*events)[mine], cudaStreamPerThread));
        ++turn;
    }
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Uses one device from many threads at once.");
    unsigned *shared = nullptr;
    CHECK(cudaMalloc(&shared, COUNT * sizeof(unsigned)));
    CHECK(cudaMemset(shared, 0, COUNT * sizeof(unsigned)));
    CHECK(cudaDeviceSynchronize());
    std::vector<cudaEvent_t> events(THREADS * ROUNDS);
    for (cudaEvent_t &event : events) {
        CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    }

    std::atomic<int> right_threads{0};
    std::vector<std::thread> threads;
    for (int thread = 0; thread < THREADS; ++thread) {
        threads.emplace_back([&, thread] {
            const bool right = alone(1000u * thread, thread % 2 == 0);
            pass_on(thread, shared, &events);
            right_threads += right ? 1 : 0;
        });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    std::printf("threads with right results: %d of %d\n", right_threads.load(), THREADS);

    CHECK(cudaEventSynchronize(events.back()));
    std::vector<unsigned> host(COUNT);
    CHECK(cudaMemcpy(host.data(), shared, COUNT * sizeof(unsigned), cudaMemcpyDeviceToHost));
    const unsigned expected = THREADS * ROUNDS * (THREADS * ROUNDS - 1) / 2;
    bool right = right_threads == THREADS;
    for (unsigned value : host) {
        right = right && value == expected;
    }
    std::printf("passed from thread to thread: %u\n", host[0]);
    return report("many_threads", right);
}
