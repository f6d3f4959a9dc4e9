// SPDX-License-Identifier: Apache-2.0
//
// A three-dimensional texture with trilinear filtering: positions from 0 to 1, and weights that are
// exact.

#include "texture.h"

#include <cmath>
#include <vector>

constexpr int WIDTH = 16, HEIGHT = 8, DEPTH = 4;
constexpr int STEPS = 4;

__global__ void sample(cudaTextureObject_t texture, float2 *output, int columns, int rows,
                       int slices) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x;
    const int y = blockIdx.y * blockDim.y + threadIdx.y;
    const int z = blockIdx.z;
    if (x < columns && y < rows && z < slices) {
        output[(z * rows + y) * columns + x] =
            tex3D<float2>(texture, x * (1.0f / (WIDTH * STEPS)), y * (1.0f / (HEIGHT * STEPS)),
                          z * (1.0f / (DEPTH * STEPS)));
    }
}

static int clamped(int i, int length) { return i < 0 ? 0 : (i < length ? i : length - 1); }

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Reads a three-dimensional texture with trilinear filtering.");
    std::vector<float2> image(WIDTH * HEIGHT * DEPTH);
    for (size_t i = 0; i < image.size(); ++i) {
        image[i] = make_float2(static_cast<float>(i * 37 % 101), -static_cast<float>(i % 13));
    }
    const cudaExtent extent = make_cudaExtent(WIDTH, HEIGHT, DEPTH);
    const cudaChannelFormatDesc format = cudaCreateChannelDesc<float2>();
    cudaArray_t array = nullptr;
    CHECK(cudaMalloc3DArray(&array, &format, extent));
    fill_array(array, image.data(), sizeof(float2), extent);
    const cudaTextureObject_t texture =
        texture_of(array, texture_description(cudaAddressModeClamp, cudaFilterModeLinear,
                                              cudaReadModeElementType, true));

    const int columns = WIDTH * STEPS, rows = HEIGHT * STEPS, slices = DEPTH * STEPS;
    std::vector<float2> result(columns * rows * slices);
    float2 *output = nullptr;
    CHECK(cudaMalloc(&output, result.size() * sizeof(float2)));
    sample<<<dim3((columns + 15) / 16, (rows + 15) / 16, slices), dim3(16, 16)>>>(
        texture, output, columns, rows, slices);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(result.data(), output, result.size() * sizeof(float2),
                     cudaMemcpyDeviceToHost));

    int wrong = 0;
    for (int z = 0; z < slices; ++z) {
        for (int y = 0; y < rows; ++y) {
            for (int x = 0; x < columns; ++x) {
                const float at[3] = {x / float(STEPS) - 0.5f, y / float(STEPS) - 0.5f,
                                     z / float(STEPS) - 0.5f};
                float2 want = make_float2(0, 0);
                for (int corner = 0; corner < 8; ++corner) {
                    float weight = 1;
                    int index[3];
                    for (int axis = 0; axis < 3; ++axis) {
                        const float low = std::floor(at[axis]), fraction = at[axis] - low;
                        const int side = corner >> axis & 1;
                        weight *= side ? fraction : 1 - fraction;
                        index[axis] = static_cast<int>(low) + side;
                    }
                    const float2 texel = image[(clamped(index[2], DEPTH) * HEIGHT +
                                                clamped(index[1], HEIGHT)) *
                                                   WIDTH +
                                               clamped(index[0], WIDTH)];
                    want.x += weight * texel.x;
                    want.y += weight * texel.y;
                }
                const float2 got = result[(z * rows + y) * columns + x];
                wrong += std::fabs(got.x - want.x) > 0.001f || std::fabs(got.y - want.y) > 0.001f;
            }
        }
    }
    CHECK(cudaDestroyTextureObject(texture));
    CHECK(cudaFree(output));
    CHECK(cudaFreeArray(array));
    std::printf("%zu positions in %d x %d x %d texels, %d wrong\n", result.size(), WIDTH, HEIGHT,
                DEPTH, wrong);
    return report("texture_3d", wrong == 0);
}
