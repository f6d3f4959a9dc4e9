// SPDX-License-Identifier: Apache-2.0
//
// Atomics of all kinds: CUDA's functions on integers, floats, doubles and halves, in global and in
// shared memory, and `cuda::atomic_ref` from libcu++.
// nvcc: -arch=sm_80 -std=c++17

#include "check.h"

#include <cuda/atomic>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

constexpr int BLOCKS = 8, THREADS = 96, ALL = BLOCKS * THREADS;

struct Cells {
    int sum, difference, least, largest, bits_and, bits_or, bits_xor, last;
    unsigned increments, decrements, swaps;
    unsigned long long wide_sum, wide_largest, wide_bits;
    long long wide_least;
    float single_sum;
    double double_sum;
    __half2 half_sum;
    __nv_bfloat162 brain_sum;
    unsigned short short_swaps;
    int block_scope, from_shared;
    int reference_sum, reference_largest;
    unsigned long long tickets;
};

__global__ void prepare(Cells *c) {
    *c = Cells();
    c->least = 1 << 30;
    c->bits_and = -1;
    c->wide_least = 1ll << 60;
}

__global__ void count(Cells *c) {
    __shared__ int local;
    if (threadIdx.x == 0)
        local = 0;
    __syncthreads();
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    atomicAdd(&c->sum, i);
    atomicSub(&c->difference, i);
    atomicMin(&c->least, i - 500);
    atomicMax(&c->largest, i * 3);
    atomicAnd(&c->bits_and, ~(1 << i % 7));
    atomicOr(&c->bits_or, 1 << i % 19);
    atomicXor(&c->bits_xor, i);
    atomicExch(&c->last, 7);
    atomicInc(&c->increments, 99);
    atomicDec(&c->decrements, 99);
    atomicAdd(&c->wide_sum, 1ull << 33 | i);
    atomicMax(&c->wide_largest, (unsigned long long)i << 40);
    atomicMin(&c->wide_least, -(long long)i << 34);
    atomicOr(&c->wide_bits, 1ull << i % 64);
    atomicAdd(&c->single_sum, 0.25f);
    atomicAdd(&c->double_sum, 0.125);
    atomicAdd(&c->half_sum, __floats2half2_rn(0.5f, 1.0f));
    if (i < 128)
        atomicAdd(&c->brain_sum, __floats2bfloat162_rn(1.0f, -1.0f));
    atomicAdd_block(&local, 1);

    // A sum by compare-and-swap, in 32 and in 16 bits.
    unsigned seen = c->swaps, before;
    do {
        before = seen;
        seen = atomicCAS(&c->swaps, before, before + 2);
    } while (seen != before);
    unsigned short small = c->short_swaps, old;
    do {
        old = small;
        small = atomicCAS(&c->short_swaps, old, (unsigned short)(old + 1));
    } while (small != old);

    cuda::atomic_ref<int, cuda::thread_scope_device> total(c->reference_sum);
    total.fetch_add(2, cuda::std::memory_order_relaxed);
    cuda::atomic_ref<int, cuda::thread_scope_device> largest(c->reference_largest);
    largest.fetch_max(i * i % 1009, cuda::std::memory_order_acq_rel);
    cuda::atomic_ref<unsigned long long, cuda::thread_scope_system> tickets(c->tickets);
    tickets++;

    __syncthreads();
    if (threadIdx.x == 0)
        atomicAdd(&c->from_shared, local);
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Atomic operations of many threads on few cells.");
    Cells *device = nullptr;
    CHECK(cudaMalloc(&device, sizeof(Cells)));
    prepare<<<1, 1>>>(device);
    count<<<BLOCKS, THREADS>>>(device);
    CHECK_LAUNCH();
    static Cells c;
    CHECK(cudaMemcpy(&c, device, sizeof(Cells), cudaMemcpyDeviceToHost));
    CHECK(cudaFree(device));

    int bits_xor = 0, bits_or = 0, largest = 0;
    for (int i = 0; i < ALL; ++i) {
        bits_xor ^= i;
        bits_or |= 1 << i % 19;
        largest = i * i % 1009 > largest ? i * i % 1009 : largest;
    }
    const int sum = ALL * (ALL - 1) / 2;
    bool right = true;
    auto expect = [&](const char *what, double got, double wanted) {
        if (got != wanted)
            std::printf("%s: %.17g instead of %.17g\n", what, got, wanted);
        right = right && got == wanted;
    };
    expect("add", c.sum, sum);
    expect("sub", c.difference, -sum);
    expect("min", c.least, -500);
    expect("max", c.largest, (ALL - 1) * 3);
    expect("and", c.bits_and, ~0x7f);
    expect("or", c.bits_or, bits_or);
    expect("xor", c.bits_xor, bits_xor);
    expect("exch", c.last, 7);
    expect("inc", c.increments, ALL % 100);
    expect("dec", c.decrements, (100 - ALL % 100) % 100);
    expect("add of 64 bits, upper half", double(c.wide_sum >> 33), ALL);
    expect("add of 64 bits, lower half", double(c.wide_sum & 0x1ffffffff), sum);
    expect("max of 64 bits", double(c.wide_largest >> 40), ALL - 1);
    expect("min of 64 bits", double(c.wide_least), -double(ALL - 1) * (1ll << 34));
    expect("or of 64 bits", c.wide_bits == ~0ull, 1);
    expect("add of float", c.single_sum, ALL * 0.25);
    expect("add of double", c.double_sum, ALL * 0.125);
    expect("add of half2, lower", __low2float(c.half_sum), ALL * 0.5);
    expect("add of half2, upper", __high2float(c.half_sum), ALL);
    expect("add of bfloat162, lower", __low2float(c.brain_sum), 128);
    expect("add of bfloat162, upper", __high2float(c.brain_sum), -128);
    expect("compare and swap", c.swaps, 2 * ALL);
    expect("compare and swap of 16 bits", c.short_swaps, ALL);
    expect("add in shared memory", c.from_shared, ALL);
    expect("atomic_ref fetch_add", c.reference_sum, 2 * ALL);
    expect("atomic_ref fetch_max", c.reference_largest, largest);
    expect("atomic_ref ++", double(c.tickets), ALL);
    std::printf("27 sums by %d threads\n", ALL);
    return report("cuda_atomics", right);
}
