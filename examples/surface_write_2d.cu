// SPDX-License-Identifier: Apache-2.0
//
// A surface: a kernel writes an array, another reads it back by a surface and a third by a texture.
// Outside, reads give zero or the nearest texel, as they ask; writes outside do nothing.

#include "texture.h"

#include <vector>

constexpr int WIDTH = 48, HEIGHT = 20;

__host__ __device__ static uchar4 texel(int x, int y) {
    return make_uchar4(x, y, x ^ y, 255 - x);
}

__global__ void write(cudaSurfaceObject_t surface) {
    // One more on each side.
    const int x = static_cast<int>(threadIdx.x) - 1, y = static_cast<int>(blockIdx.x) - 1;
    surf2Dwrite(texel(x, y), surface, x * static_cast<int>(sizeof(uchar4)), y,
                cudaBoundaryModeZero);
}

__global__ void read(cudaSurfaceObject_t surface, cudaTextureObject_t texture, uchar4 *zero,
                     uchar4 *clamp, uchar4 *textured) {
    const int x = static_cast<int>(threadIdx.x) - 1, y = static_cast<int>(blockIdx.x) - 1;
    const int place = blockIdx.x * blockDim.x + threadIdx.x;
    const int bytes = x * static_cast<int>(sizeof(uchar4));
    surf2Dread(&zero[place], surface, bytes, y, cudaBoundaryModeZero);
    clamp[place] = surf2Dread<uchar4>(surface, bytes, y, cudaBoundaryModeClamp);
    textured[place] = tex2D<uchar4>(texture, x + 0.5f, y + 0.5f);
}

static bool equal(uchar4 a, uchar4 b) { return std::memcmp(&a, &b, sizeof a) == 0; }

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Writes and reads a surface.");
    const cudaChannelFormatDesc format = cudaCreateChannelDesc<uchar4>();
    cudaArray_t array = nullptr;
    CHECK(cudaMallocArray(&array, &format, WIDTH, HEIGHT, cudaArraySurfaceLoadStore));
    const cudaSurfaceObject_t surface = surface_of(array);
    const cudaTextureObject_t texture =
        texture_of(array, texture_description(cudaAddressModeClamp, cudaFilterModePoint,
                                              cudaReadModeElementType, false));

    const int columns = WIDTH + 2, rows = HEIGHT + 2;
    std::vector<uchar4> result[3];
    uchar4 *output[3] = {};
    for (uchar4 *&one : output) {
        CHECK(cudaMalloc(&one, columns * rows * sizeof(uchar4)));
    }
    write<<<rows, columns>>>(surface);
    CHECK_LAUNCH();
    read<<<rows, columns>>>(surface, texture, output[0], output[1], output[2]);
    CHECK_LAUNCH();
    for (int i = 0; i < 3; ++i) {
        result[i].resize(columns * rows);
        CHECK(cudaMemcpy(result[i].data(), output[i], columns * rows * sizeof(uchar4),
                         cudaMemcpyDeviceToHost));
        CHECK(cudaFree(output[i]));
    }
    std::vector<uchar4> copied(WIDTH * HEIGHT);
    read_array(array, copied.data(), sizeof(uchar4), make_cudaExtent(WIDTH, HEIGHT, 0));

    int wrong[4] = {};
    for (int y = -1; y <= HEIGHT; ++y) {
        for (int x = -1; x <= WIDTH; ++x) {
            const int place = (y + 1) * columns + x + 1;
            const bool inside = x >= 0 && x < WIDTH && y >= 0 && y < HEIGHT;
            const int near_x = x < 0 ? 0 : (x < WIDTH ? x : WIDTH - 1);
            const int near_y = y < 0 ? 0 : (y < HEIGHT ? y : HEIGHT - 1);
            const uchar4 nearest = texel(near_x, near_y);
            wrong[0] += !equal(result[0][place], inside ? nearest : make_uchar4(0, 0, 0, 0));
            wrong[1] += !equal(result[1][place], nearest);
            wrong[2] += !equal(result[2][place], nearest);
            wrong[3] += inside && !equal(copied[y * WIDTH + x], nearest);
        }
    }
    std::printf("zero outside: %d wrong\nclamped outside: %d wrong\n", wrong[0], wrong[1]);
    std::printf("by the texture: %d wrong\ncopied: %d wrong\n", wrong[2], wrong[3]);
    CHECK(cudaDestroySurfaceObject(surface));
    CHECK(cudaDestroyTextureObject(texture));
    CHECK(cudaFreeArray(array));
    return report("surface_write_2d", wrong[0] + wrong[1] + wrong[2] + wrong[3] == 0);
}
