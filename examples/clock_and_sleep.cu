// SPDX-License-Identifier: Apache-2.0
//
// Time on the device: clocks that go forward, a thread that sleeps while it waits for another, and
// special registers that say where a thread is.
// nvcc: -arch=sm_75

#include "check.h"

__device__ unsigned long long global_timer() {
    unsigned long long now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    return now;
}

__device__ unsigned special(int which) {
    unsigned value = 0;
    switch (which) {
    case 0: asm volatile("mov.u32 %0, %%laneid;" : "=r"(value)); break;
    case 1: asm volatile("mov.u32 %0, %%warpid;" : "=r"(value)); break;
    case 2: asm volatile("mov.u32 %0, %%lanemask_lt;" : "=r"(value)); break;
    case 3: asm volatile("mov.u32 %0, %%lanemask_ge;" : "=r"(value)); break;
    case 4: asm volatile("mov.u32 %0, %%dynamic_smem_size;" : "=r"(value)); break;
    }
    return value;
}

__global__ void times(int *results) {
    const long long start = clock64();
    const clock_t short_start = clock();
    const unsigned long long timer = global_timer();
    for (int i = 0; i < 100; ++i)
        __nanosleep(100);
    // A device may look at its timer only every microsecond: enough of them have passed then.
    while (global_timer() == timer)
        __nanosleep(1000);
    results[0] = clock64() > start;
    results[1] = clock() != short_start;
    results[2] = global_timer() > timer;
}

// The second warp sleeps until the first one has counted.
__global__ void wait_asleep(volatile int *flag, int *results) {
    if (threadIdx.x >= 32) {
        unsigned pause = 8;
        while (*flag == 0) {
            __nanosleep(pause);
            pause = pause < 256 ? pause * 2 : pause;
        }
        __threadfence();
        results[threadIdx.x - 32] = *flag + threadIdx.x;
    } else if (threadIdx.x == 0) {
        const long long until = clock64() + 10000;
        while (clock64() < until) {
        }
        __threadfence();
        *flag = 1000;
    }
}

__global__ void places(unsigned *results) {
    for (int which = 0; which < 5; ++which)
        results[threadIdx.x * 5 + which] = special(which);
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Clocks, sleep and special registers.");
    int *device = nullptr, host[64 * 5];
    CHECK(cudaMalloc(&device, sizeof(host)));
    CHECK(cudaMemset(device, 0, sizeof(host)));
    auto fetch = [&] {
        CHECK_LAUNCH();
        CHECK(cudaMemcpy(host, device, sizeof(host), cudaMemcpyDeviceToHost));
    };
    times<<<1, 1>>>(device);
    fetch();
    const bool goes_on = host[0] && host[1] && host[2];
    std::printf("clocks go forward: %s\n", goes_on ? "yes" : "no");

    CHECK(cudaMemset(device, 0, sizeof(host)));
    wait_asleep<<<1, 64>>>(device + 64, device);
    fetch();
    int wrong = 0;
    for (int i = 0; i < 32; ++i)
        wrong += host[i] != 1032 + i;
    std::printf("threads that slept: %d results differ\n", wrong);

    places<<<1, 64, 160>>>(reinterpret_cast<unsigned *>(device));
    fetch();
    for (int i = 0; i < 64; ++i) {
        const unsigned lane = i % 32, *row = reinterpret_cast<unsigned *>(host) + i * 5;
        wrong += row[0] != lane || row[1] != unsigned(i / 32) || row[2] != (1u << lane) - 1 ||
                 row[3] != 0xffffffff << lane || row[4] != 160;
    }
    std::printf("threads in the wrong place: %d\n", wrong);
    CHECK(cudaFree(device));
    return report("clock_and_sleep", goes_on && wrong == 0);
}
