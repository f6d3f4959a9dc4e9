// SPDX-License-Identifier: Apache-2.0
//
// Streams and events: copies and kernels that overlap, work in one stream that waits for work in
// another, and time measured on the device.
//
// The times go to stderr, as they differ from run to run.

#include "check.h"

#include <vector>

constexpr int STREAMS = 4;
constexpr int THREADS = 256;
constexpr int ROUNDS = 16;

__host__ __device__ unsigned stir(unsigned value) {
    for (int round = 0; round < ROUNDS; ++round) {
        value ^= value << 13;
        value ^= value >> 17;
        value ^= value << 5;
    }
    return value;
}

__global__ void stir_all(unsigned *values, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        values[i] = stir(values[i]);
    }
}

__global__ void add(const unsigned *values, unsigned addend, unsigned *sums, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        sums[i] = values[i] + addend;
    }
}

__global__ void exclusive_or(const unsigned *a, const unsigned *b, unsigned *result, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        result[i] = a[i] ^ b[i];
    }
}

static int blocks_for(int count) {
    return (count + THREADS - 1) / THREADS;
}

// Asynchronous copies need pinned host memory, else they are not asynchronous.
struct Buffers {
    unsigned *host, *device;
    size_t bytes;

    explicit Buffers(int count) : host(nullptr), device(nullptr), bytes(count * sizeof(unsigned)) {
        CHECK(cudaMallocHost(&host, bytes));
        CHECK(cudaMalloc(&device, bytes));
    }
    void free() {
        CHECK(cudaFreeHost(host));
        CHECK(cudaFree(device));
    }
};

// Cuts the data into a piece a stream. While one piece is computed, others are copied.
static bool overlap(cudaStream_t *streams, int count) {
    Buffers buffers(count);
    for (int i = 0; i < count; ++i) {
        buffers.host[i] = i + 1;
    }
    for (int k = 0; k < STREAMS; ++k) {
        const int first = static_cast<int>(static_cast<long long>(count) * k / STREAMS);
        const int last = static_cast<int>(static_cast<long long>(count) * (k + 1) / STREAMS);
        const int length = last - first;
        if (length == 0) {
            continue;
        }
        unsigned *host = buffers.host + first, *device = buffers.device + first;
        const size_t bytes = length * sizeof(unsigned);
        CHECK(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, streams[k]));
        stir_all<<<blocks_for(length), THREADS, 0, streams[k]>>>(device, length);
        CHECK_LAUNCH();
        CHECK(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, streams[k]));
    }
    for (int k = 0; k < STREAMS; ++k) {
        CHECK(cudaStreamSynchronize(streams[k]));
    }

    bool right = true;
    for (int i = 0; i < count; ++i) {
        right = right && buffers.host[i] == stir(i + 1);
    }
    buffers.free();
    std::printf("%d values through %d streams: %s\n", count, STREAMS, right ? "right" : "wrong");
    return right;
}

// One stream makes the data, two work on it side by side, and a fourth joins their results. Only
// events connect them; the host waits once, at the end.
//
//            ┌─ add 1 (streams[1]) ─┐
//   stir ────┤                      ├──── exclusive or
//            └─ add 2 (streams[2]) ─┘
static bool fork_and_join(cudaStream_t *streams, int count) {
    Buffers input(count), left(count), right_side(count), result(count);
    cudaEvent_t stirred, left_done, right_done;
    // An event without timing is all that is needed for waiting, and is cheaper.
    for (cudaEvent_t *event : {&stirred, &left_done, &right_done}) {
        CHECK(cudaEventCreateWithFlags(event, cudaEventDisableTiming));
    }
    for (int i = 0; i < count; ++i) {
        input.host[i] = 3 * i + 1;
    }

    const int blocks = blocks_for(count);
    CHECK(cudaMemcpyAsync(input.device, input.host, input.bytes, cudaMemcpyHostToDevice,
                          streams[0]));
    stir_all<<<blocks, THREADS, 0, streams[0]>>>(input.device, count);
    CHECK(cudaEventRecord(stirred, streams[0]));

    CHECK(cudaStreamWaitEvent(streams[1], stirred, 0));
    add<<<blocks, THREADS, 0, streams[1]>>>(input.device, 1, left.device, count);
    CHECK(cudaEventRecord(left_done, streams[1]));

    CHECK(cudaStreamWaitEvent(streams[2], stirred, 0));
    add<<<blocks, THREADS, 0, streams[2]>>>(input.device, 2, right_side.device, count);
    CHECK(cudaEventRecord(right_done, streams[2]));

    CHECK(cudaStreamWaitEvent(streams[3], left_done, 0));
    CHECK(cudaStreamWaitEvent(streams[3], right_done, 0));
    exclusive_or<<<blocks, THREADS, 0, streams[3]>>>(left.device, right_side.device, result.device,
                                                     count);
    CHECK_LAUNCH();
    CHECK(cudaMemcpyAsync(result.host, result.device, result.bytes, cudaMemcpyDeviceToHost,
                          streams[3]));
    CHECK(cudaStreamSynchronize(streams[3]));
    // Everything else happened before that, so these have nothing left to do.
    CHECK(cudaStreamQuery(streams[3]));
    CHECK(cudaEventQuery(stirred));
    CHECK(cudaEventQuery(left_done));
    CHECK(cudaEventQuery(right_done));

    bool right = true;
    for (int i = 0; i < count; ++i) {
        const unsigned value = stir(3 * i + 1);
        right = right && result.host[i] == ((value + 1) ^ (value + 2));
    }
    for (cudaEvent_t event : {stirred, left_done, right_done}) {
        CHECK(cudaEventDestroy(event));
    }
    for (Buffers *buffers : {&input, &left, &right_side, &result}) {
        buffers->free();
    }
    std::printf("a stream that waits for two that wait for one: %s\n", right ? "right" : "wrong");
    return right;
}

// Events take the time at which the stream reaches them.
static bool measure(cudaStream_t stream, int count) {
    Buffers buffers(count);
    cudaEvent_t start, middle, stop;
    for (cudaEvent_t *event : {&start, &middle, &stop}) {
        CHECK(cudaEventCreate(event));
    }
    CHECK(cudaMemsetAsync(buffers.device, 0, buffers.bytes, stream));
    CHECK(cudaEventRecord(start, stream));
    stir_all<<<blocks_for(count), THREADS, 0, stream>>>(buffers.device, count);
    CHECK(cudaEventRecord(middle, stream));
    stir_all<<<blocks_for(count), THREADS, 0, stream>>>(buffers.device, count);
    CHECK(cudaEventRecord(stop, stream));
    CHECK_LAUNCH();
    CHECK(cudaEventSynchronize(stop));

    float to_middle_ms = -1, to_stop_ms = -1;
    CHECK(cudaEventElapsedTime(&to_middle_ms, start, middle));
    CHECK(cudaEventElapsedTime(&to_stop_ms, start, stop));
    std::fprintf(stderr, "one kernel: %.3f ms, two kernels: %.3f ms\n", to_middle_ms, to_stop_ms);
    for (cudaEvent_t event : {start, middle, stop}) {
        CHECK(cudaEventDestroy(event));
    }
    buffers.free();

    const bool right = to_middle_ms >= 0 && to_stop_ms >= to_middle_ms;
    std::printf("event times: %s\n", right ? "in order" : "out of order");
    return right;
}

int main(int argc, char **argv) {
    const int count = size_argument(argc, argv, "Work in several streams, joined by events.",
                                    "elements", 200000, 1 << 26);
    cudaStream_t streams[STREAMS];
    for (cudaStream_t &stream : streams) {
        CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    }
    bool right = overlap(streams, count);
    right = fork_and_join(streams, count) && right;
    right = measure(streams[0], count) && right;
    for (cudaStream_t stream : streams) {
        CHECK(cudaStreamDestroy(stream));
    }
    return report("streams_and_events", right);
}
