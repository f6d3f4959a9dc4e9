// SPDX-License-Identifier: Apache-2.0
//
// Order among grids that kernels launch: the default stream of a block, streams and events made by
// a kernel, the tail stream, and copies, memsets and memory of the device's own.
//
// nvcc: -rdc=true -lcudadevrt

#include "check.h"

// Appends a number to a list: the list tells the order.
__global__ void append(int *list, int number) {
    list[1 + atomicAdd(list, 1)] = number;
}

// Launches append in the default stream too, which is its own business: whoever waits for the
// parent waits for these as well.
__global__ void append_by_children(int *list, int first, int count) {
    for (int i = 0; i < count; ++i) {
        append<<<1, 1>>>(list, first + i);
    }
}

__global__ void default_stream(int *list) {
    append<<<1, 1>>>(list, 1);
    append_by_children<<<1, 1>>>(list, 2, 3);
    append<<<1, 1>>>(list, 5);
}

// The tail begins when all else is complete, in whatever order it was launched.
__global__ void tail(int *list) {
    append_by_children<<<1, 1, 0, cudaStreamTailLaunch>>>(list, 10, 2);
    append<<<1, 1, 0, cudaStreamTailLaunch>>>(list, 12);
    append_by_children<<<1, 1>>>(list, 1, 3);
    append<<<1, 1, 0, cudaStreamFireAndForget>>>(list, 4);
}

// A kernel that launches itself again until it has done enough rounds.
__global__ void repeat(int *list, int rounds) {
    list[1 + atomicAdd(list, 1)] = rounds;
    if (rounds > 1) {
        repeat<<<1, 1, 0, cudaStreamTailLaunch>>>(list, rounds - 1);
    }
}

__global__ void events(int *list, int *codes) {
    cudaStream_t first, second;
    cudaEvent_t event;
    codes[0] = cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking);
    codes[1] = cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking);
    codes[2] = cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    append_by_children<<<1, 1, 0, first>>>(list, 1, 3);
    codes[3] = cudaEventRecord(event, first);
    codes[4] = cudaStreamWaitEvent(second, event, 0);
    append<<<1, 1, 0, second>>>(list, 4);
    codes[5] = cudaEventDestroy(event);
    codes[6] = cudaStreamDestroy(first);
    codes[7] = cudaStreamDestroy(second);
    codes[8] = cudaGetLastError();
}

__global__ void sum(const int *values, int count, int *result) {
    int total = 0;
    for (int i = 0; i < count; ++i) {
        total += values[i];
    }
    *result = total;
}

__global__ void transfers(int *from, int *to, int *result, int *codes) {
    codes[0] = cudaMemsetAsync(from, 1, 32 * sizeof(int), 0);
    codes[1] = cudaMemcpyAsync(to, from, 32 * sizeof(int), cudaMemcpyDeviceToDevice, 0);
    sum<<<1, 1>>>(to, 32, result);
    int *own = nullptr;
    codes[2] = cudaMalloc(&own, 256);
    codes[3] = own != nullptr;
    own[5] = 9;
    codes[4] = own[5];
    codes[5] = cudaFree(own);
    int device = -1, warp = 0;
    codes[6] = cudaGetDevice(&device);
    codes[7] = device;
    codes[8] = cudaDeviceGetAttribute(&warp, cudaDevAttrWarpSize, device);
    codes[9] = warp;
}

static int *list, *codes;

static bool order(const char *what, int expected) {
    int host[64];
    CHECK(cudaMemcpy(host, list, sizeof host, cudaMemcpyDeviceToHost));
    std::printf("%s:", what);
    for (int i = 0; i < host[0] && i < 63; ++i) {
        std::printf(" %d", host[1 + i]);
    }
    std::printf("\n");
    CHECK(cudaMemset(list, 0, sizeof host));
    return host[0] == expected;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "The order of grids that kernels launch.");
    CHECK(cudaMalloc(&list, 256));
    CHECK(cudaMalloc(&codes, 256));
    CHECK(cudaMemset(list, 0, 256));
    CHECK(cudaMemset(codes, 0xff, 256));
    bool right = true;
    int host[16];

    default_stream<<<1, 1>>>(list);
    CHECK_LAUNCH();
    right &= order("in the default stream", 5);

    tail<<<1, 1>>>(list);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(host, list, sizeof host, cudaMemcpyDeviceToHost));
    // What is not in the tail may be in any order, but is all before it.
    int before = 0;
    for (int i = 0; i < 4; ++i) {
        before |= 1 << host[1 + i];
    }
    const bool tails = host[0] == 7 && before == 0x1e && host[5] == 10 && host[6] == 11 &&
                       host[7] == 12;
    std::printf("the tail is last and in order: %s\n", tails ? "yes" : "no");
    right &= tails;
    CHECK(cudaMemset(list, 0, 256));

    repeat<<<1, 1>>>(list, 12);
    CHECK_LAUNCH();
    right &= order("a kernel that launches itself", 12);

    events<<<1, 1>>>(list, codes);
    CHECK_LAUNCH();
    right &= order("a stream that waits for another", 4);
    CHECK(cudaMemcpy(host, codes, sizeof host, cudaMemcpyDeviceToHost));
    bool succeeded = true;
    for (int i = 0; i <= 8; ++i) {
        succeeded = succeeded && host[i] == cudaSuccess;
    }
    std::printf("streams and events of a kernel: %s\n", succeeded ? "right" : "wrong");
    right &= succeeded;

    int *from, *to, *result;
    CHECK(cudaMalloc(&from, 128));
    CHECK(cudaMalloc(&to, 128));
    CHECK(cudaMalloc(&result, sizeof(int)));
    CHECK(cudaMemset(codes, 0xff, 256));
    transfers<<<1, 1>>>(from, to, result, codes);
    CHECK_LAUNCH();
    int total = 0;
    CHECK(cudaMemcpy(&total, result, sizeof total, cudaMemcpyDeviceToHost));
    CHECK(cudaMemcpy(host, codes, sizeof host, cudaMemcpyDeviceToHost));
    std::printf("the sum of what a kernel filled and copied: %#x\n", total);
    right &= total == 32 * 0x1010101 && host[0] == 0 && host[1] == 0;
    const bool memory = host[2] == 0 && host[3] == 1 && host[4] == 9 && host[5] == 0;
    std::printf("memory that a kernel allocates: %s\n", memory ? "right" : "wrong");
    int device = -1;
    CHECK(cudaGetDevice(&device));
    const bool facts = host[6] == 0 && host[7] == device && host[8] == 0 && host[9] == 32;
    std::printf("what a kernel asks of its device: %s\n", facts ? "right" : "wrong");
    right &= memory && facts;

    for (int *pointer : {list, codes, from, to, result}) {
        CHECK(cudaFree(pointer));
    }
    return report("dynamic_parallelism_streams", right);
}
