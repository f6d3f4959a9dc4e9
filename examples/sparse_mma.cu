// SPDX-License-Identifier: Apache-2.0
//
// Sparse tensor cores: two of four neighbours in each row of A are zero and left out, and the
// metadata of `mma.sp` says which; halves and 8-bit integers.
// nvcc: -arch=sm_80

#include "check.h"

#include <cuda_fp16.h>

#include <vector>

// D (16 x 8) = A (16 x 32, half of it kept) * B (32 x 8, column by column).
// Lanes 0 and 1 of each four give the metadata of columns 0 to 15 and 16 to 31.
__global__ void halves(const half *kept, const unsigned *places, const half *b, float *d) {
    const int lane = threadIdx.x, row = lane / 4, part = lane % 4;
    const unsigned *words_a = reinterpret_cast<const unsigned *>(kept);
    const unsigned *words_b = reinterpret_cast<const unsigned *>(b);
    unsigned ra[4], rb[4];
    for (int i = 0; i < 4; ++i) {
        ra[i] = words_a[(row + i % 2 * 8) * 8 + i / 2 * 4 + part];
        rb[i] = words_b[row * 16 + i * 4 + part];
    }
    // Sixteen bits a row and sixteen columns: four chunks of two places.
    const unsigned block = part % 2 * 16;
    const unsigned low = places[row] >> block & 0xffff, high = places[row + 8] >> block & 0xffff;
    const unsigned metadata = low | high << 16;
    float sum[4] = {};
    asm volatile("mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32.f16.f16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9, %10, %11}, {%0, %1, %2, %3}, %12, 0x0;"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(ra[0]), "r"(ra[1]), "r"(ra[2]), "r"(ra[3]), "r"(rb[0]), "r"(rb[1]),
                   "r"(rb[2]), "r"(rb[3]), "r"(metadata));
    for (int i = 0; i < 4; ++i)
        d[(row + i / 2 * 8) * 8 + part * 2 + i % 2] = sum[i];
}

// The same of bytes: lanes 0 and 1 give the metadata of rows g and g + 8, in all 32 columns.
__global__ void bytes(const signed char *kept, const unsigned *places, const signed char *b, int *d) {
    const int lane = threadIdx.x, row = lane / 4, part = lane % 4;
    const unsigned *words_a = reinterpret_cast<const unsigned *>(kept);
    const unsigned *words_b = reinterpret_cast<const unsigned *>(b);
    const unsigned a0 = words_a[row * 4 + part], a1 = words_a[(row + 8) * 4 + part];
    const unsigned b0 = words_b[row * 8 + part], b1 = words_b[row * 8 + 4 + part];
    const unsigned metadata = places[row + part % 2 * 8];
    int sum[4] = {};
    asm volatile("mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
                 "{%0, %1, %2, %3}, {%4, %5}, {%6, %7}, {%0, %1, %2, %3}, %8, 0x0;"
                 : "+r"(sum[0]), "+r"(sum[1]), "+r"(sum[2]), "+r"(sum[3])
                 : "r"(a0), "r"(a1), "r"(b0), "r"(b1), "r"(metadata));
    for (int i = 0; i < 4; ++i)
        d[(row + i / 2 * 8) * 8 + part * 2 + i % 2] = sum[i];
}

template <typename T> T *upload(const std::vector<T> &values) {
    T *device = nullptr;
    CHECK(cudaMalloc(&device, values.size() * sizeof(T)));
    CHECK(cudaMemcpy(device, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
    return device;
}

int main() {
    // The two places of each chunk of four, in order.
    const int pairs[6][2] = {{0, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3}, {2, 3}};
    std::vector<int> whole(16 * 32), kept(16 * 16), right(8 * 32);
    std::vector<unsigned> places(16);
    for (int row = 0; row < 16; ++row) {
        for (int chunk = 0; chunk < 8; ++chunk) {
            const int *pair = pairs[(row * 5 + chunk * 7) % 6];
            places[row] |= (unsigned)(pair[0] | pair[1] << 2) << chunk * 4;
            for (int i = 0; i < 2; ++i) {
                const int value = (row * 3 + chunk * 5 + i * 2) % 9 - 4;
                kept[row * 16 + chunk * 2 + i] = value;
                whole[row * 32 + chunk * 4 + pair[i]] = value;
            }
        }
    }
    for (int i = 0; i < 8 * 32; ++i)
        right[i] = i * 11 % 13 - 6;
    std::vector<half> half_kept, half_right;
    for (const int value : kept)
        half_kept.push_back(__float2half((float)value));
    for (const int value : right)
        half_right.push_back(__float2half((float)value));
    const std::vector<signed char> byte_kept(kept.begin(), kept.end()), byte_right(right.begin(), right.end());

    unsigned *device_places = upload(places);
    half *device_a = upload(half_kept), *device_b = upload(half_right);
    signed char *device_bytes_a = upload(byte_kept), *device_bytes_b = upload(byte_right);
    float *device_sums = upload(std::vector<float>(16 * 8));
    int *device_integer_sums = upload(std::vector<int>(16 * 8));
    halves<<<1, 32>>>(device_a, device_places, device_b, device_sums);
    bytes<<<1, 32>>>(device_bytes_a, device_places, device_bytes_b, device_integer_sums);
    CHECK(cudaGetLastError());
    float sums[16 * 8];
    int integer_sums[16 * 8];
    CHECK(cudaMemcpy(sums, device_sums, sizeof sums, cudaMemcpyDeviceToHost));
    CHECK(cudaMemcpy(integer_sums, device_integer_sums, sizeof integer_sums, cudaMemcpyDeviceToHost));
    int wrong_halves = 0, wrong_bytes = 0;
    for (int row = 0; row < 16; ++row) {
        for (int column = 0; column < 8; ++column) {
            int sum = 0;
            for (int k = 0; k < 32; ++k)
                sum += whole[row * 32 + k] * right[column * 32 + k];
            wrong_halves += sums[row * 8 + column] != (float)sum;
            wrong_bytes += integer_sums[row * 8 + column] != sum;
        }
    }
    CHECK(cudaFree(device_places));
    CHECK(cudaFree(device_a));
    CHECK(cudaFree(device_b));
    CHECK(cudaFree(device_bytes_a));
    CHECK(cudaFree(device_bytes_b));
    CHECK(cudaFree(device_sums));
    CHECK(cudaFree(device_integer_sums));
    std::printf("halves: %d of 128 elements differ\n", wrong_halves);
    std::printf("bytes: %d of 128 elements differ\n", wrong_bytes);
    return report("sparse_mma", wrong_halves + wrong_bytes == 0);
}
