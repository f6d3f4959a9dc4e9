// SPDX-License-Identifier: Apache-2.0
// Kernels whose results tests/kernels.rs computes too.
// kernels.ptx: nvcc -ptx -arch=compute_75 kernels.cu (CUDA 13.5)
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cstdio>

namespace cg = cooperative_groups;

extern "C" __global__ void vector_add(const float *a, const float *b, float *c, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        c[i] = a[i] + b[i];
}

extern "C" __global__ void reduce_shuffle(const int *in, long long *out, int n)
{
    __shared__ long long partial[32];
    long long sum = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        sum += in[i];
    for (int offset = 16; offset > 0; offset /= 2)
        sum += __shfl_down_sync(0xffffffff, sum, offset);
    if (threadIdx.x % 32 == 0)
        partial[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x < 32) {
        sum = threadIdx.x < blockDim.x / 32 ? partial[threadIdx.x] : 0;
        for (int offset = 16; offset > 0; offset /= 2)
            sum += __shfl_xor_sync(0xffffffff, sum, offset);
        if (threadIdx.x == 0)
            atomicAdd((unsigned long long *)out, (unsigned long long)sum);
    }
}

const int TILE = 16;

extern "C" __global__ void matrix_multiply(const float *a, const float *b, float *c, int n)
{
    __shared__ float left[TILE][TILE];
    __shared__ float right[TILE][TILE + 1];
    int row = blockIdx.y * TILE + threadIdx.y, column = blockIdx.x * TILE + threadIdx.x;
    float sum = 0;
    for (int tile = 0; tile < n / TILE; ++tile) {
        left[threadIdx.y][threadIdx.x] = a[row * n + tile * TILE + threadIdx.x];
        right[threadIdx.y][threadIdx.x] = b[(tile * TILE + threadIdx.y) * n + column];
        __syncthreads();
        for (int k = 0; k < TILE; ++k)
            sum += left[threadIdx.y][k] * right[k][threadIdx.x];
        __syncthreads();
    }
    c[row * n + column] = sum;
}

// Every thread takes another number of steps and another path.
extern "C" __global__ void collatz(const unsigned *in, unsigned *steps, unsigned *peak, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    unsigned value = in[i], count = 0, highest = value;
    while (value > 1) {
        if (value % 2)
            value = 3 * value + 1;
        else
            value /= 2;
        if (value > highest)
            highest = value;
        ++count;
        if (count > 10000)
            break;
    }
    steps[i] = count;
    peak[i] = highest;
}

__device__ __noinline__ int fibonacci(int n)
{
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

__device__ __noinline__ unsigned ackermann(unsigned m, unsigned n)
{
    if (m == 0)
        return n + 1;
    if (n == 0)
        return ackermann(m - 1, 1);
    return ackermann(m - 1, ackermann(m, n - 1));
}

extern "C" __global__ void recursion(int *out)
{
    out[threadIdx.x] = fibonacci(threadIdx.x % 12) + (int)ackermann(2, threadIdx.x % 5);
}

struct Packed {
    char c;
    short s;
    int i;
    double d;
    unsigned char tail[5];
};

__device__ __noinline__ Packed change(Packed p, int by, float scale)
{
    p.c += by;
    p.s *= 2;
    p.i -= by;
    p.d *= scale;
    for (int k = 0; k < 5; ++k)
        p.tail[k] += by + k;
    return p;
}

extern "C" __global__ void structs(Packed in, Packed *out)
{
    Packed p = change(in, threadIdx.x, 0.5f);
    if (threadIdx.x & 1)
        p = change(p, 3, 4.0f);
    out[threadIdx.x] = p;
}

typedef int (*Operation)(int, int);
__device__ __noinline__ int operation_add(int a, int b) { return a + b; }
__device__ __noinline__ int operation_multiply(int a, int b) { return a * b; }
__device__ __noinline__ int operation_minus(int a, int b) { return a - b; }
__device__ Operation operations[3] = {operation_add, operation_multiply, operation_minus};

struct Shape {
    __device__ virtual int area() const { return -1; }
};
struct Square : Shape {
    int side;
    __device__ explicit Square(int s) : side(s) {}
    __device__ int area() const override { return side * side; }
};
struct Rectangle : Shape {
    int w, h;
    __device__ Rectangle(int a, int b) : w(a), h(b) {}
    __device__ int area() const override { return w * h; }
};

extern "C" __global__ void indirect(int *out)
{
    int t = threadIdx.x;
    out[t] = operations[t % 3](t, 7);
    Square square(t);
    Rectangle rectangle(t, 3);
    const Shape *shape = t % 2 ? (const Shape *)&square : (const Shape *)&rectangle;
    out[t + blockDim.x] = shape->area();
}

__constant__ int constant_table[8] = {3, 1, 4, 1, 5, 9, 2, 6};
__device__ int counter = 100;
__device__ int *counter_pointer = &counter;
__device__ const char *message = "pointer to text";

extern "C" __global__ void globals(int *out)
{
    int t = threadIdx.x;
    out[t] = constant_table[t % 8] * 10 + message[t % 8];
    atomicAdd(counter_pointer, 1);
}

extern "C" __global__ void print(int n)
{
    int t = threadIdx.x;
    if (t < n)
        printf("thread %d of %s: %5.2f %c %#llx %u%%\n", t, "text", t * 1.5, 'a' + t,
               0x123456789abcull + t, 7u);
}

extern "C" __global__ void switches(const int *in, int *out)
{
    int v = in[threadIdx.x], r;
    switch (v) {
    case 0: r = fibonacci(5); break;
    case 1: r = v * 17; break;
    case 2: r = v - 100; break;
    case 3: r = 1 << v; break;
    case 4: r = threadIdx.x; // falls through
    case 5: r = r * 2 + v; break;
    case 6: r = ~v; break;
    case 7: return;
    case 8: r = v / 3; break;
    default: r = -1;
    }
    out[threadIdx.x] = r;
}

extern __shared__ int dynamic_words[];

extern "C" __global__ void scan_dynamic(const int *in, int *out, int n)
{
    int t = threadIdx.x;
    __shared__ int offset;
    if (t == 0)
        offset = 1000;
    dynamic_words[t] = t < n ? in[t] : 0;
    __syncthreads();
    for (int step = 1; step < blockDim.x; step *= 2) {
        int add = t >= step ? dynamic_words[t - step] : 0;
        __syncthreads();
        dynamic_words[t] += add;
        __syncthreads();
    }
    if (t < n)
        out[t] = dynamic_words[t] + offset;
}

extern "C" __global__ void groups(const int *in, int *out)
{
    auto block = cg::this_thread_block();
    auto warp = cg::tiled_partition<32>(block);
    auto tile = cg::tiled_partition<4>(warp);
    int t = threadIdx.x, v = in[t];
    out[t] = cg::reduce(warp, v, cg::plus<int>());
    out[t + 64] = cg::reduce(tile, v, cg::greater<int>());
    int r = -1;
    if (v % 3 == 0) {
        auto active = cg::coalesced_threads();
        r = active.size() * 100 + active.thread_rank();
    }
    out[t + 128] = r;
    out[t + 192] = __ballot_sync(0xffffffff, v & 1);
    out[t + 256] = __match_any_sync(0xffffffff, v % 4);
    out[t + 320] = __syncthreads_count(v > 50);
}

extern "C" __global__ void local_array(const int *in, int *out, int n)
{
    int histogram[16];
    for (int i = 0; i < 16; ++i)
        histogram[i] = 0;
    for (int i = 0; i < n; ++i)
        histogram[(in[i] + threadIdx.x) % 16] += i;
    int best = 0;
    for (int i = 0; i < 16; ++i)
        if (histogram[i] > histogram[best])
            best = i;
    out[threadIdx.x] = best * 1000 + histogram[best];
}

extern "C" __global__ void wide(const unsigned long long *in, unsigned long long *out)
{
    int t = threadIdx.x;
    unsigned __int128 a = ((unsigned __int128)in[t] << 64) | in[t + 1];
    unsigned __int128 b = ((unsigned __int128)in[t + 2] << 64) | in[t + 3];
    unsigned __int128 sum = a + b, difference = a - b, product = a * b;
    out[6 * t + 0] = (unsigned long long)sum;
    out[6 * t + 1] = (unsigned long long)(sum >> 64);
    out[6 * t + 2] = (unsigned long long)difference;
    out[6 * t + 3] = (unsigned long long)(difference >> 64);
    out[6 * t + 4] = (unsigned long long)product;
    out[6 * t + 5] = (unsigned long long)(product >> 64);
}

extern "C" __global__ void heap(int *out)
{
    int *p = new int[4];
    for (int i = 0; i < 4; ++i)
        p[i] = threadIdx.x * i;
    out[threadIdx.x] = p[3] + p[1];
    delete[] p;
}

extern "C" __global__ void lock_and_count(int *lock, int *count)
{
    for (bool done = false; !done;) {
        if (atomicCAS(lock, 0, 1) == 0) {
            __threadfence();
            *(volatile int *)count = *(volatile int *)count + 1;
            __threadfence();
            atomicExch(lock, 0);
            done = true;
        }
    }
}

extern "C" __global__ void stack_allocation(int *out, int n)
{
    int *words = (int *)alloca(n * sizeof(int));
    for (int i = 0; i < n; ++i)
        words[i] = i * threadIdx.x;
    int sum = 0;
    for (int i = 0; i < n; ++i)
        sum += words[n - 1 - i] * (i + 1);
    out[threadIdx.x] = sum;
}

// The compiler computes `mirror - 4 t` in 32 bits, below zero, and adds the rest in the address.
extern "C" __global__ void mirrored(int *out)
{
    __shared__ int mirror[128];
    int t = threadIdx.x;
    mirror[t] = t * 2;
    __syncthreads();
    out[t] = t < 64 ? mirror[63 - t] : mirror[64 + (127 - t)];
}
