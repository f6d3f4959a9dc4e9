// SPDX-License-Identifier: Apache-2.0
//
// Surfaces of one and three dimensions, with layers, and of cubemaps; elements of 1 to 16 bytes.

#include "texture.h"

#include <vector>

constexpr int WIDTH = 16, HEIGHT = 8, DEPTH = 6;

template <typename T> __host__ __device__ static T element(int x, int y, int z) {
    T value;
    unsigned char *bytes = reinterpret_cast<unsigned char *>(&value);
    for (int i = 0; i < static_cast<int>(sizeof(T)); ++i) {
        bytes[i] = static_cast<unsigned char>(x + y * 17 + z * 71 + i * 3);
    }
    return value;
}

// What kind of surface it is.
enum Shape { VOLUME, PLANES, LINES, CUBE, LINE };

template <typename T, Shape SHAPE> __global__ void write(cudaSurfaceObject_t surface) {
    const int x = threadIdx.x, y = blockIdx.x, z = blockIdx.y, bytes = x * sizeof(T);
    const T value = element<T>(x, y, z);
    if (SHAPE == VOLUME) {
        surf3Dwrite(value, surface, bytes, y, z);
    } else if (SHAPE == PLANES) {
        surf2DLayeredwrite(value, surface, bytes, y, z);
    } else if (SHAPE == LINES) {
        surf1DLayeredwrite(value, surface, bytes, z);
    } else if (SHAPE == CUBE) {
        surfCubemapwrite(value, surface, bytes, y, z);
    } else {
        surf1Dwrite(value, surface, bytes);
    }
}

// Copies each element to the place that mirrors its own in a row.
template <typename T, Shape SHAPE> __global__ void mirror(cudaSurfaceObject_t surface) {
    const int x = threadIdx.x, y = blockIdx.x, z = blockIdx.y;
    const int from = x * sizeof(T), to = (WIDTH - 1 - x) * sizeof(T);
    T value;
    if (SHAPE == VOLUME) {
        value = surf3Dread<T>(surface, from, y, z);
        __syncthreads();
        surf3Dwrite(value, surface, to, y, z);
    } else if (SHAPE == PLANES) {
        value = surf2DLayeredread<T>(surface, from, y, z);
        __syncthreads();
        surf2DLayeredwrite(value, surface, to, y, z);
    } else if (SHAPE == LINES) {
        value = surf1DLayeredread<T>(surface, from, z);
        __syncthreads();
        surf1DLayeredwrite(value, surface, to, z);
    } else if (SHAPE == CUBE) {
        value = surfCubemapread<T>(surface, from, y, z);
        __syncthreads();
        surfCubemapwrite(value, surface, to, y, z);
    } else {
        value = surf1Dread<T>(surface, from);
        __syncthreads();
        surf1Dwrite(value, surface, to);
    }
}

template <typename T, Shape SHAPE> static int mismatches(const char *name) {
    const int height = SHAPE == LINES || SHAPE == LINE ? 1 : (SHAPE == CUBE ? WIDTH : HEIGHT);
    const int depth = SHAPE == LINE ? 1 : DEPTH;
    const unsigned flags = cudaArraySurfaceLoadStore |
                           (SHAPE == PLANES || SHAPE == LINES ? cudaArrayLayered : 0) |
                           (SHAPE == CUBE ? cudaArrayCubemap : 0);
    const cudaExtent extent = make_cudaExtent(WIDTH, SHAPE == LINES || SHAPE == LINE ? 0 : height,
                                              SHAPE == LINE ? 0 : depth);
    const cudaChannelFormatDesc format = cudaCreateChannelDesc<T>();
    cudaArray_t array = nullptr;
    CHECK(cudaMalloc3DArray(&array, &format, extent, flags));
    const cudaSurfaceObject_t surface = surface_of(array);
    write<T, SHAPE><<<dim3(height, depth), WIDTH>>>(surface);
    CHECK_LAUNCH();
    mirror<T, SHAPE><<<dim3(height, depth), WIDTH>>>(surface);
    CHECK_LAUNCH();
    std::vector<T> result(WIDTH * height * depth);
    read_array(array, result.data(), sizeof(T), extent);
    int wrong = 0;
    for (int z = 0; z < depth; ++z) {
        for (int y = 0; y < height; ++y) {
            for (int x = 0; x < WIDTH; ++x) {
                const T want = element<T>(WIDTH - 1 - x, y, z);
                wrong += std::memcmp(&result[(z * height + y) * WIDTH + x], &want, sizeof(T)) != 0;
            }
        }
    }
    CHECK(cudaDestroySurfaceObject(surface));
    CHECK(cudaFreeArray(array));
    std::printf("%s: %d of %zu wrong\n", name, wrong, result.size());
    return wrong;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Writes and reads surfaces of all shapes.");
    const int wrong = mismatches<float, VOLUME>("three dimensions, float") +
                      mismatches<short4, VOLUME>("three dimensions, short4") +
                      mismatches<uint4, PLANES>("planes, uint4") +
                      mismatches<unsigned char, PLANES>("planes, unsigned char") +
                      mismatches<int2, LINES>("lines, int2") +
                      mismatches<ushort2, CUBE>("cubemap, ushort2") +
                      mismatches<short, LINE>("one dimension, short");
    return report("surface_3d_layered", wrong == 0);
}
