// SPDX-License-Identifier: Apache-2.0
// Kernels whose rate `rates.rs` measures. To PTX: nvcc -ptx -arch=compute_75 rates.cu
#include <cuda_fp16.h>

// 256 dependent multiply-adds on four values.
extern "C" __global__ void fp32(float* out, float a, float b)
{
    float x = threadIdx.x, y = x + 1, z = x + 2, w = x + 3;
    for (int i = 0; i < 256; i++) {
        x = x * a + b; y = y * a + b; z = z * a + b; w = w * a + b;
        x = x * b + a; y = y * b + a; z = z * b + a; w = w * b + a;
    }
    out[blockIdx.x * blockDim.x + threadIdx.x] = x + y + z + w;
}

extern "C" __global__ void fp64(double* out, double a, double b)
{
    double x = threadIdx.x, y = x + 1;
    for (int i = 0; i < 256; i++) {
        x = x * a + b; y = y * a + b;
        x = x * b + a; y = y * b + a;
    }
    out[blockIdx.x * blockDim.x + threadIdx.x] = x + y;
}

extern "C" __global__ void integers(unsigned* out)
{
    unsigned x = blockIdx.x * blockDim.x + threadIdx.x, y = x * 3;
    for (int i = 0; i < 256; i++) {
        x ^= x << 13; x ^= x >> 17; x ^= x << 5;
        y = y * 1664525u + 1013904223u + (x & 0xff);
    }
    out[blockIdx.x * blockDim.x + threadIdx.x] = x + y;
}

extern "C" __global__ void halves(__half2* out, __half2 a, __half2 b)
{
    __half2 x = __floats2half2_rn(threadIdx.x, 1.0f);
    for (int i = 0; i < 64; i++) {
        x = __hfma2(x, a, b);
        x = __hadd2(x, __hmul2(a, b));
    }
    out[blockIdx.x * blockDim.x + threadIdx.x] = x;
}

extern "C" __global__ void vector_add(float* c, const float* a, const float* b, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) c[i] = a[i] + b[i];
}

template <int T> __device__ void matmul(float* c, const float* a, const float* b, int n)
{
    __shared__ float as[T][T], bs[T][T];
    int tx = threadIdx.x, ty = threadIdx.y;
    int row = blockIdx.y * T + ty, column = blockIdx.x * T + tx;
    float sum = 0;
    for (int k = 0; k < n; k += T) {
        as[ty][tx] = a[row * n + k + tx];
        bs[ty][tx] = b[(k + ty) * n + column];
        __syncthreads();
        for (int j = 0; j < T; j++) sum += as[ty][j] * bs[j][tx];
        __syncthreads();
    }
    c[row * n + column] = sum;
}

extern "C" __global__ void matmul16(float* c, const float* a, const float* b, int n) { matmul<16>(c, a, b, n); }
extern "C" __global__ void matmul32(float* c, const float* a, const float* b, int n) { matmul<32>(c, a, b, n); }

// Any sizes that are multiples of 32: a is as wide as b is high.
extern "C" __global__ void matmul_sizes(float* c, const float* a, const float* b, int a_width, int b_width)
{
    __shared__ float as[32][32], bs[32][32];
    int tx = threadIdx.x, ty = threadIdx.y;
    int row = blockIdx.y * 32 + ty, column = blockIdx.x * 32 + tx;
    float sum = 0;
    for (int k = 0; k < a_width; k += 32) {
        as[ty][tx] = a[row * a_width + k + tx];
        bs[ty][tx] = b[(k + ty) * b_width + column];
        __syncthreads();
#pragma unroll
        for (int j = 0; j < 32; j++) sum += as[ty][j] * bs[j][tx];
        __syncthreads();
    }
    c[row * b_width + column] = sum;
}

extern "C" __global__ void matmul_naive(float* c, const float* a, const float* b, int n)
{
    int row = blockIdx.y * blockDim.y + threadIdx.y, column = blockIdx.x * blockDim.x + threadIdx.x;
    float sum = 0;
    for (int k = 0; k < n; k++) sum += a[row * n + k] * b[k * n + column];
    c[row * n + column] = sum;
}

extern "C" __global__ void bodies(float4* out, const float4* in, int n)
{
    __shared__ float4 tile[256];
    float4 me = in[blockIdx.x * 256 + threadIdx.x];
    float3 sum = make_float3(0, 0, 0);
    for (int base = 0; base < n; base += 256) {
        tile[threadIdx.x] = in[base + threadIdx.x];
        __syncthreads();
        for (int j = 0; j < 256; j++) {
            float4 other = tile[j];
            float dx = other.x - me.x, dy = other.y - me.y, dz = other.z - me.z;
            float inverse = rsqrtf(dx * dx + dy * dy + dz * dz + 0.01f);
            float s = other.w * inverse * inverse * inverse;
            sum.x += dx * s; sum.y += dy * s; sum.z += dz * s;
        }
        __syncthreads();
    }
    out[blockIdx.x * 256 + threadIdx.x] = make_float4(sum.x, sum.y, sum.z, me.w);
}

extern "C" __global__ void reduce(float* out, const float* in, int n)
{
    float sum = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) sum += in[i];
    for (int d = 16; d; d /= 2) sum += __shfl_down_sync(~0u, sum, d);
    if (threadIdx.x % 32 == 0) atomicAdd(out, sum);
}

extern "C" __global__ void shuffles(float* out)
{
    float x = threadIdx.x;
    for (int i = 0; i < 64; i++)
        for (int d = 16; d; d /= 2) x += __shfl_xor_sync(~0u, x, d);
    out[blockIdx.x * blockDim.x + threadIdx.x] = x;
}

extern "C" __global__ void histogram(unsigned* out, const unsigned char* in, int n)
{
    __shared__ unsigned bins[256];
    bins[threadIdx.x] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        atomicAdd(&bins[in[i]], 1);
    __syncthreads();
    atomicAdd(&out[threadIdx.x], bins[threadIdx.x]);
}

extern "C" __global__ void mandelbrot(int* out, int width, int limit)
{
    int px = blockIdx.x * blockDim.x + threadIdx.x, py = blockIdx.y * blockDim.y + threadIdx.y;
    float cx = -2.0f + 3.0f * px / width, cy = -1.5f + 3.0f * py / width, x = 0, y = 0;
    int i = 0;
    for (; i < limit && x * x + y * y < 4.0f; i++) {
        float t = x * x - y * y + cx;
        y = 2 * x * y + cy;
        x = t;
    }
    out[py * width + px] = i;
}

extern "C" __global__ void gather(float* out, const float* in, const int* index, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    float sum = 0;
    for (int k = 0; k < 32; k++) sum += in[index[(i + k * 997) & (n - 1)]];
    out[i] = sum;
}

extern "C" __global__ void transcendental(float* out)
{
    float x = (blockIdx.x * blockDim.x + threadIdx.x) * 1e-4f, sum = 0;
    for (int i = 0; i < 16; i++) { sum += __expf(x) + __logf(x + 1) + __sinf(x); x += 0.1f; }
    out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

extern "C" __global__ void nothing() {}

__device__ __noinline__ float called(float x, float y) { return x * y + 1.0f; }

extern "C" __global__ void calls(float* out)
{
    float x = threadIdx.x;
    for (int i = 0; i < 64; i++) x = called(x, 0.5f);
    out[blockIdx.x * blockDim.x + threadIdx.x] = x;
}

extern "C" __global__ void local_array(int* out, int n)
{
    int table[32];
    for (int i = 0; i < 32; i++) table[i] = i * n;
    int sum = threadIdx.x;
    for (int i = 0; i < 64; i++) sum += table[(sum + i) & 31];
    out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

extern "C" __global__ void bytes(unsigned char* out, const unsigned char* in, int n)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        out[i] = 255 - in[i];
}

extern "C" __global__ void copy4(float4* out, const float4* in, int n)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        out[i] = in[i];
}

extern "C" __global__ void transpose(float* out, const float* in, int n)
{
    __shared__ float tile[32][33];
    int x = blockIdx.x * 32 + threadIdx.x, y = blockIdx.y * 32 + threadIdx.y;
    for (int j = 0; j < 32; j += 8) tile[threadIdx.y + j][threadIdx.x] = in[(y + j) * n + x];
    __syncthreads();
    x = blockIdx.y * 32 + threadIdx.x; y = blockIdx.x * 32 + threadIdx.y;
    for (int j = 0; j < 32; j += 8) out[(y + j) * n + x] = tile[threadIdx.x][threadIdx.y + j];
}

extern "C" __global__ void bitonic(unsigned* data)
{
    __shared__ unsigned s[1024];
    unsigned i = threadIdx.x;
    s[i] = data[blockIdx.x * 1024 + i] * 2654435761u + i * 40503u;
    for (unsigned k = 2; k <= 1024; k *= 2)
        for (unsigned j = k / 2; j; j /= 2) {
            __syncthreads();
            unsigned other = i ^ j;
            if (other > i) {
                unsigned a = s[i], b = s[other];
                if ((a > b) == ((i & k) == 0)) { s[i] = b; s[other] = a; }
            }
        }
    __syncthreads();
    data[blockIdx.x * 1024 + i] = s[i];
}

extern "C" __global__ void diverge(int* out)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x, x = i;
    for (int k = 0; k < 64; k++)
        switch ((x ^ k) & 7) {
        case 0: x = x * 3 + 1; break;
        case 1: x ^= 0x5555; break;
        case 2: x += k * k; break;
        case 3: x = (x << 3) | (x >> 29); break;
        case 4: x -= 77; break;
        case 5: x = ~x; break;
        case 6: x *= 5; break;
        default: x += 13;
        }
    out[i] = x;
}

extern "C" __global__ void atomics(unsigned* out, int n)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        atomicAdd(&out[(i * 2654435761u) >> 22], 1);
}
