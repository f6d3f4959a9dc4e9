// SPDX-License-Identifier: Apache-2.0
//
// Tensor cores by their instructions: `ldmatrix` brings tiles from shared memory into the layout
// that `mma.sync` wants; a product of halves, one of 4-bit integers and one of bits.
// nvcc: -arch=sm_80

#include "check.h"

#include <cuda_fp16.h>

#include <vector>

// D (16 x 8) = A (16 x 16, row by row) * B (16 x 8, row by row) + C.
__global__ void halves(const half *a, const half *b, const float *c, float *d) {
    __shared__ __align__(16) half tile_a[16 * 16], tile_b[16 * 8];
    const int lane = threadIdx.x;
    for (int i = lane; i < 16 * 16; i += 32)
        tile_a[i] = a[i];
    for (int i = lane; i < 16 * 8; i += 32)
        tile_b[i] = b[i];
    __syncwarp();
    unsigned ra[4], rb[2];
    const unsigned at_a = (unsigned)__cvta_generic_to_shared(tile_a + lane % 16 * 16 + lane / 16 * 8);
    const unsigned at_b = (unsigned)__cvta_generic_to_shared(tile_b + lane % 16 * 8);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(ra[0]), "=r"(ra[1]), "=r"(ra[2]), "=r"(ra[3])
                 : "r"(at_a));
    // The columns of B are wanted, so its tiles are transposed on the way.
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(rb[0]), "=r"(rb[1])
                 : "r"(at_b));
    const int row = lane / 4, column = lane % 4 * 2;
    float sum[4] = {c[row * 8 + column], c[row * 8 + column + 1], c[(row + 8) * 8 + column],
                    c[(row + 8) * 8 + column + 1]};
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(ra[0]), "r"(ra[1]), "r"(ra[2]), "r"(ra[3]), "r"(rb[0]), "r"(rb[1]));
    d[row * 8 + column] = sum[0];
    d[row * 8 + column + 1] = sum[1];
    d[(row + 8) * 8 + column] = sum[2];
    d[(row + 8) * 8 + column + 1] = sum[3];
}

// D (8 x 8) = A (8 x 32 nibbles, row by row) * B (32 x 8 nibbles, column by column).
__global__ void nibbles(const unsigned *a, const unsigned *b, int *d) {
    const int lane = threadIdx.x;
    int sum[2];
    asm volatile("mma.sync.aligned.m8n8k32.row.col.s32.s4.u4.s32 {%0, %1}, {%2}, {%3}, {%4, %4};"
                 : "=r"(sum[0]), "=r"(sum[1])
                 : "r"(a[lane]), "r"(b[lane]), "r"(100));
    d[lane * 2] = sum[0];
    d[lane * 2 + 1] = sum[1];
}

// Counts bits that A (8 x 128, row by row) and B (128 x 8, column by column) both have.
__global__ void bits(const unsigned *a, const unsigned *b, int *d) {
    const int lane = threadIdx.x;
    int sum[2];
    asm volatile("mma.sync.aligned.m8n8k128.row.col.s32.b1.b1.s32.and.popc {%0, %1}, {%2}, {%3}, "
                 "{%4, %4};"
                 : "=r"(sum[0]), "=r"(sum[1])
                 : "r"(a[lane]), "r"(b[lane]), "r"(0));
    d[lane * 2] = sum[0];
    d[lane * 2 + 1] = sum[1];
}

template <typename T> T *upload(const std::vector<T> &values) {
    T *device = nullptr;
    CHECK(cudaMalloc(&device, values.size() * sizeof(T)));
    CHECK(cudaMemcpy(device, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
    return device;
}

template <typename T> std::vector<T> download(T *device, size_t count) {
    std::vector<T> values(count);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(values.data(), device, count * sizeof(T), cudaMemcpyDeviceToHost));
    CHECK(cudaFree(device));
    return values;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "The instructions of tensor cores.");
    std::vector<half> a(16 * 16), b(16 * 8);
    std::vector<float> c(16 * 8);
    auto number = [](int i, int step) { return (i * step % 17 - 8) * 0.25f; };
    for (int i = 0; i < 16 * 16; ++i)
        a[i] = __float2half(number(i, 5));
    for (int i = 0; i < 16 * 8; ++i)
        b[i] = __float2half(number(i, 3));
    for (int i = 0; i < 16 * 8; ++i)
        c[i] = i;
    half *device_a = upload(a), *device_b = upload(b);
    float *device_c = upload(c), *device_d = upload(c);
    halves<<<1, 32>>>(device_a, device_b, device_c, device_d);
    const std::vector<float> d = download(device_d, 16 * 8);
    int wrong_halves = 0;
    for (int row = 0; row < 16; ++row) {
        for (int column = 0; column < 8; ++column) {
            float sum = row * 8 + column;
            for (int k = 0; k < 16; ++k)
                sum += number(row * 16 + k, 5) * number(k * 8 + column, 3);
            wrong_halves += d[row * 8 + column] != sum;
        }
    }

    std::vector<unsigned> words_a(32), words_b(32);
    std::vector<int> none(64);
    for (unsigned i = 0; i < 32; ++i) {
        words_a[i] = i * 2654435761u ^ 0x13579bdf;
        words_b[i] = i * 2246822519u ^ 0x2468ace0;
    }
    unsigned *device_words_a = upload(words_a), *device_words_b = upload(words_b);
    int *device_sums = upload(none);
    nibbles<<<1, 32>>>(device_words_a, device_words_b, device_sums);
    const std::vector<int> nibble_sums = download(device_sums, 64);
    device_sums = upload(none);
    bits<<<1, 32>>>(device_words_a, device_words_b, device_sums);
    const std::vector<int> bit_sums = download(device_sums, 64);
    int wrong_nibbles = 0, wrong_bits = 0;
    for (int row = 0; row < 8; ++row) {
        for (int column = 0; column < 8; ++column) {
            int nibble_sum = 100, bit_sum = 0;
            for (int k = 0; k < 32; ++k) {
                const int left = words_a[row * 4 + k / 8] >> k % 8 * 4 & 15;
                const int right = words_b[column * 4 + k / 8] >> k % 8 * 4 & 15;
                nibble_sum += (left < 8 ? left : left - 16) * right;
            }
            for (int k = 0; k < 128; ++k)
                bit_sum += words_a[row * 4 + k / 32] >> k % 32 & words_b[column * 4 + k / 32] >> k % 32 & 1;
            // Lane 4 * row + column / 2 has two neighbours of a row.
            wrong_nibbles += nibble_sums[row * 8 + column] != nibble_sum;
            wrong_bits += bit_sums[row * 8 + column] != bit_sum;
        }
    }
    CHECK(cudaFree(device_a));
    CHECK(cudaFree(device_b));
    CHECK(cudaFree(device_c));
    CHECK(cudaFree(device_words_a));
    CHECK(cudaFree(device_words_b));
    std::printf("halves: %d of 128 elements differ\n", wrong_halves);
    std::printf("4-bit integers: %d of 64 elements differ\n", wrong_nibbles);
    std::printf("bits: %d of 64 elements differ\n", wrong_bits);
    return report("mma_sync", wrong_halves + wrong_nibbles + wrong_bits == 0);
}
