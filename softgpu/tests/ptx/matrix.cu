// SPDX-License-Identifier: Apache-2.0
// One warp multiplies one tile in each way that tensor cores offer; tests/matrix.rs checks.
// matrix.ptx: nvcc -std=c++17 -ptx -arch=compute_80 matrix.cu (CUDA 13.5)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>

using namespace nvcuda;

// D = A * B + C; A is M x K, B is K x N, C and D are M x N and row by row.
template <int M, int N, int K, typename In, typename Stored, typename Out, typename LayoutA,
          typename LayoutB>
__device__ void multiply(const Stored *a, const Stored *b, const Out *c, Out *d)
{
    constexpr bool row_a = std::is_same<LayoutA, wmma::row_major>::value;
    constexpr bool row_b = std::is_same<LayoutB, wmma::row_major>::value;
    wmma::fragment<wmma::matrix_a, M, N, K, In, LayoutA> fa;
    wmma::fragment<wmma::matrix_b, M, N, K, In, LayoutB> fb;
    wmma::fragment<wmma::accumulator, M, N, K, Out> fc;
    wmma::load_matrix_sync(fa, a, row_a ? K : M);
    wmma::load_matrix_sync(fb, b, row_b ? N : K);
    wmma::load_matrix_sync(fc, c, N, wmma::mem_row_major);
    wmma::mma_sync(fc, fa, fb, fc);
    wmma::store_matrix_sync(d, fc, N, wmma::mem_row_major);
}

#define KERNEL(name, M, N, K, In, Stored, Out, la, lb)                                            \
    extern "C" __global__ void name(const Stored *a, const Stored *b, const Out *c, Out *d)        \
    {                                                                                              \
        multiply<M, N, K, In, Stored, Out, wmma::la, wmma::lb>(a, b, c, d);                        \
    }

KERNEL(half_rr, 16, 16, 16, half, half, float, row_major, row_major)
KERNEL(half_rc, 16, 16, 16, half, half, float, row_major, col_major)
KERNEL(half_cr, 16, 16, 16, half, half, float, col_major, row_major)
KERNEL(half_cc, 16, 16, 16, half, half, float, col_major, col_major)
KERNEL(half_wide, 8, 32, 16, half, half, float, row_major, row_major)
KERNEL(half_tall, 32, 8, 16, half, half, float, col_major, row_major)
KERNEL(half_sum, 16, 16, 16, half, half, half, row_major, col_major)
KERNEL(brain, 16, 16, 16, __nv_bfloat16, __nv_bfloat16, float, row_major, row_major)
KERNEL(brain_tall, 32, 8, 16, __nv_bfloat16, __nv_bfloat16, float, row_major, col_major)
KERNEL(tensor_float, 16, 16, 8, wmma::precision::tf32, float, float, row_major, col_major)
KERNEL(signed_bytes, 16, 16, 16, signed char, signed char, int, row_major, col_major)
KERNEL(unsigned_bytes, 8, 32, 16, unsigned char, unsigned char, int, col_major, row_major)
KERNEL(doubles, 8, 8, 4, double, double, double, row_major, col_major)

// A through shared memory with ldmatrix, B with ldmatrix.trans, then mma.
extern "C" __global__ void half_by_hand(const half *a, const half *b, const float *c, float *d)
{
    __shared__ __align__(16) half sa[16 * 16], sb[16 * 8];
    int lane = threadIdx.x;
    for (int i = lane; i < 256; i += 32)
        sa[i] = a[i];
    for (int i = lane; i < 128; i += 32)
        sb[i] = b[i];
    __syncwarp();
    unsigned ra[4], rb[2];
    unsigned pa = (unsigned)__cvta_generic_to_shared(&sa[(lane % 16) * 16 + lane / 16 * 8]);
    unsigned pb = (unsigned)__cvta_generic_to_shared(&sb[(lane % 16) * 8]);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(ra[0]), "=r"(ra[1]), "=r"(ra[2]), "=r"(ra[3]) : "r"(pa));
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(rb[0]), "=r"(rb[1]) : "r"(pb));
    float r[4];
    for (int i = 0; i < 4; ++i)
        r[i] = c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2];
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, "
                 "{%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(r[0]), "+f"(r[1]), "+f"(r[2]), "+f"(r[3])
                 : "r"(ra[0]), "r"(ra[1]), "r"(ra[2]), "r"(ra[3]), "r"(rb[0]), "r"(rb[1]));
    for (int i = 0; i < 4; ++i)
        d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = r[i];
}

// Bytes in the layout that the PTX manual draws for m16n8k32.
extern "C" __global__ void bytes_by_hand(const signed char *a, const unsigned char *b,
                                         const int *c, int *d)
{
    int g = threadIdx.x / 4, t = threadIdx.x % 4;
    unsigned ra[4], rb[2];
    for (int i = 0; i < 4; ++i)
        ra[i] = *(const unsigned *)&a[(g + i % 2 * 8) * 32 + t * 4 + i / 2 * 16];
    for (int i = 0; i < 2; ++i)
        rb[i] = *(const unsigned *)&b[g * 32 + t * 4 + i * 16];
    int r[4];
    for (int i = 0; i < 4; ++i)
        r[i] = c[(g + i / 2 * 8) * 8 + t * 2 + i % 2];
    asm volatile("mma.sync.aligned.m16n8k32.row.col.satfinite.s32.s8.u8.s32 {%0,%1,%2,%3}, "
                 "{%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+r"(r[0]), "+r"(r[1]), "+r"(r[2]), "+r"(r[3])
                 : "r"(ra[0]), "r"(ra[1]), "r"(ra[2]), "r"(ra[3]), "r"(rb[0]), "r"(rb[1]));
    for (int i = 0; i < 4; ++i)
        d[(g + i / 2 * 8) * 8 + t * 2 + i % 2] = r[i];
}

extern "C" __global__ void transpose(const unsigned *in, unsigned *out)
{
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;"
                 : "=r"(out[threadIdx.x]) : "r"(in[threadIdx.x]));
}
