// SPDX-License-Identifier: Apache-2.0
//
// Copies of all sizes around which something may change, to an idle and to a busy device, from
// several threads: every byte is checked, and so is the order in which a stream's work happens.

#include "../../examples/check.h"

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

__global__ void wait_for(volatile unsigned *flag) {
    while (*flag == 0) {
    }
}

__global__ void store(unsigned *target, unsigned value) {
    *target = value;
}

__global__ void invert(unsigned char *bytes, size_t count) {
    const size_t i = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x;
    if (i < count) {
        bytes[i] = ~bytes[i];
    }
}

// Slow on purpose: one thread reads all, several times.
__global__ void sum_slowly(const unsigned char *bytes, size_t count, unsigned long long *sum) {
    unsigned long long total = 0;
    for (int round = 0; round < 3; ++round) {
        for (size_t i = 0; i < count; ++i) {
            total += bytes[i];
        }
    }
    *sum = total / 3;
}

static cudaStream_t new_stream() {
    cudaStream_t stream;
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    return stream;
}

// Different for every place and seed.
static unsigned char pattern(size_t place, unsigned seed) {
    uint64_t value = place * 0x9e3779b97f4a7c15u + seed;
    value ^= value >> 29;
    return static_cast<unsigned char>(value * 0xbf58476d1ce4e5b9u >> 56);
}

// Two buffers on the device.
struct Buffers {
    unsigned char *device = nullptr, *other = nullptr;

    explicit Buffers(size_t bytes) {
        CHECK(cudaMalloc(&device, bytes));
        CHECK(cudaMalloc(&other, bytes));
    }

    // Waits for everything on the device, as cudaFree does.
    ~Buffers() {
        CHECK(cudaFree(device));
        CHECK(cudaFree(other));
    }
};

// Up, inverted, across and down, at odd addresses.
static bool round_trip(const Buffers &buffers, size_t bytes, size_t offset, unsigned seed,
                       cudaStream_t stream, bool wait) {
    std::vector<unsigned char> source(bytes + offset), target(bytes + offset, 0x55);
    unsigned char *const device = buffers.device, *const other = buffers.other;
    for (size_t i = 0; i < bytes; ++i) {
        source[offset + i] = pattern(i, seed);
    }
    if (wait) {
        CHECK(cudaMemcpy(device + offset, &source[offset], bytes, cudaMemcpyHostToDevice));
    } else {
        CHECK(cudaMemcpyAsync(device + offset, &source[offset], bytes, cudaMemcpyHostToDevice,
                              stream));
        // From pageable memory the bytes are read before the call returns.
        std::memset(&source[offset], 0, bytes);
    }
    invert<<<static_cast<unsigned>((bytes + 255) / 256), 256, 0, stream>>>(device + offset, bytes);
    CHECK_LAUNCH();
    CHECK(cudaMemcpyAsync(other, device + offset, bytes, cudaMemcpyDeviceToDevice, stream));
    CHECK(cudaMemcpyAsync(&target[offset], other, bytes, cudaMemcpyDeviceToHost, stream));
    CHECK(cudaStreamSynchronize(stream));
    for (size_t i = 0; i < offset; ++i) {
        if (target[i] != 0x55) {
            return false;
        }
    }
    for (size_t i = 0; i < bytes; ++i) {
        if (target[offset + i] != static_cast<unsigned char>(~pattern(i, seed))) {
            std::printf("byte %zu of %zu is wrong\n", i, bytes);
            return false;
        }
    }
    return true;
}

static bool all_sizes(bool busy) {
    const size_t sizes[] = {1, 7, 4095, 4096, 16383, 16384, 16385, 65535, 65536, 65537, 262143,
                            262144, 262145, 1000003, 8388608, 8388609, 20000001};
    const Buffers buffers(20000100);
    unsigned *flag = nullptr;
    CHECK(cudaMalloc(&flag, sizeof(*flag)));
    CHECK(cudaMemset(flag, 0, sizeof(*flag)));
    CHECK(cudaDeviceSynchronize());
    cudaStream_t waiting = new_stream(), working = new_stream();
    if (busy) {
        wait_for<<<1, 1, 0, waiting>>>(flag);
        CHECK_LAUNCH();
    }
    bool right = true;
    unsigned seed = busy ? 1000 : 0;
    for (size_t bytes : sizes) {
        // A copy without a stream would wait for the kernel that waits.
        right = round_trip(buffers, bytes, bytes % 13, ++seed, working,
                           !busy && bytes % 2 == 0) && right;
    }
    store<<<1, 1, 0, working>>>(flag, 1);
    CHECK_LAUNCH();
    CHECK(cudaDeviceSynchronize());
    CHECK(cudaStreamDestroy(waiting));
    CHECK(cudaStreamDestroy(working));
    CHECK(cudaFree(flag));
    std::printf("all sizes, %s device: %s\n", busy ? "busy" : "idle", right ? "right" : "wrong");
    return right;
}

// A copy must not overtake the kernel before it, and the kernel after it must see it.
static bool in_order(bool synchronous) {
    const size_t bytes = 300000;
    unsigned char *device = nullptr;
    unsigned long long *sums = nullptr, found[3] = {};
    CHECK(cudaMalloc(&device, bytes));
    CHECK(cudaMalloc(&sums, sizeof(found)));
    std::vector<unsigned char> host(bytes);
    cudaStream_t stream = synchronous ? nullptr : new_stream();
    for (int step = 0; step < 3; ++step) {
        std::memset(host.data(), step + 1, bytes);
        if (synchronous) {
            CHECK(cudaMemcpy(device, host.data(), bytes, cudaMemcpyHostToDevice));
        } else {
            CHECK(cudaMemcpyAsync(device, host.data(), bytes, cudaMemcpyHostToDevice, stream));
        }
        sum_slowly<<<1, 1, 0, stream>>>(device, bytes, sums + step);
        CHECK_LAUNCH();
    }
    CHECK(cudaMemcpyAsync(found, sums, sizeof(found), cudaMemcpyDeviceToHost, stream));
    CHECK(cudaStreamSynchronize(stream));
    const bool right = found[0] == bytes && found[1] == 2 * bytes && found[2] == 3 * bytes;
    std::printf("%s copies between kernels: %s\n", synchronous ? "synchronous" : "asynchronous",
                right ? "in order" : "out of order");
    CHECK(cudaFree(device));
    CHECK(cudaFree(sums));
    return right;
}

// While one thread fills a buffer again and again, another copies it to the host, on the same
// stream: each copy is of one moment.
static bool of_one_moment(size_t bytes, int copies) {
    cudaStream_t stream = new_stream();
    unsigned char *device = nullptr;
    CHECK(cudaMalloc(&device, bytes));
    CHECK(cudaMemsetAsync(device, 0, bytes, stream));
    CHECK(cudaStreamSynchronize(stream));
    std::atomic<bool> over{false};
    std::thread filler([&] {
        for (int value = 1; !over; ++value) {
            CHECK(cudaMemsetAsync(device, value % 256, bytes, stream));
            // Else the queue would grow faster than it is worked off.
            CHECK(cudaStreamSynchronize(stream));
        }
    });
    std::vector<unsigned char> host(bytes);
    bool right = true;
    for (int i = 0; i < copies; ++i) {
        CHECK(cudaMemcpyAsync(host.data(), device, bytes, cudaMemcpyDeviceToHost, stream));
        CHECK(cudaStreamSynchronize(stream));
        for (size_t at = 1; at < bytes && right; ++at) {
            right = host[at] == host[0];
        }
    }
    over = true;
    filler.join();
    CHECK(cudaFree(device));
    CHECK(cudaStreamDestroy(stream));
    std::printf("copies of %zu bytes: %s\n", bytes, right ? "of one moment" : "torn");
    return right;
}

static bool many_threads() {
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (unsigned thread = 0; thread < 8; ++thread) {
        threads.emplace_back([thread, &wrong] {
            cudaStream_t stream = new_stream();
            const Buffers buffers(700100);
            for (unsigned round = 0; round < 12; ++round) {
                const size_t bytes = 1 + (thread * 7919 + round * 104729) % 700000;
                wrong += !round_trip(buffers, bytes, round, 100 * thread + round, stream, false);
            }
            CHECK(cudaStreamDestroy(stream));
        });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    std::printf("copies of many threads: %d wrong\n", wrong.load());
    return wrong == 0;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Copies in all sizes and checks every byte.");
    bool right = all_sizes(false);
    right = all_sizes(true) && right;
    right = in_order(false) && right;
    right = in_order(true) && right;
    for (size_t bytes : {100000, 3000000, 12000000}) {
        right = of_one_moment(bytes, 20) && right;
    }
    right = many_threads() && right;
    return report("copies", right);
}
