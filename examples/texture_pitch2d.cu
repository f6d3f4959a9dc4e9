// SPDX-License-Identifier: Apache-2.0
//
// A two-dimensional texture on pitched linear memory, which kernels can write as well.

#include "texture.h"

#include <cmath>
#include <vector>

constexpr int WIDTH = 100, HEIGHT = 60;

__global__ void fill(char *memory, size_t pitch) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y;
    if (x < WIDTH) {
        reinterpret_cast<float *>(memory + y * pitch)[x] = x * 0.5f + y * 100.0f;
    }
}

__global__ void sample(cudaTextureObject_t texture, float *output, float dx, float dy) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y;
    if (x < WIDTH) {
        output[y * WIDTH + x] = tex2D<float>(texture, x + dx, y + dy);
    }
}

static float texel(int x, int y) {
    x = x < WIDTH ? x : WIDTH - 1;
    y = y < HEIGHT ? y : HEIGHT - 1;
    return x * 0.5f + y * 100.0f;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Reads pitched memory through a texture.");
    char *memory = nullptr;
    size_t pitch = 0;
    CHECK(cudaMallocPitch(&memory, &pitch, WIDTH * sizeof(float), HEIGHT));
    cudaResourceDesc resource = {};
    resource.resType = cudaResourceTypePitch2D;
    resource.res.pitch2D.devPtr = memory;
    resource.res.pitch2D.desc = cudaCreateChannelDesc<float>();
    resource.res.pitch2D.width = WIDTH;
    resource.res.pitch2D.height = HEIGHT;
    resource.res.pitch2D.pitchInBytes = pitch;
    const cudaTextureDesc description = texture_description(
        cudaAddressModeClamp, cudaFilterModeLinear, cudaReadModeElementType, false);
    cudaTextureObject_t texture = 0;
    CHECK(cudaCreateTextureObject(&texture, &resource, &description, nullptr));

    const dim3 grid((WIDTH + 63) / 64, HEIGHT);
    fill<<<grid, 64>>>(memory, pitch);
    CHECK_LAUNCH();
    float *output = nullptr;
    std::vector<float> result(WIDTH * HEIGHT);
    CHECK(cudaMalloc(&output, result.size() * sizeof(float)));
    bool right = true;
    const struct {
        const char *name;
        float dx, dy;
    } cases[] = {{"at the middle of texels", 0.5f, 0.5f}, {"between four texels", 1.0f, 0.75f}};
    for (const auto &one : cases) {
        sample<<<grid, 64>>>(texture, output, one.dx, one.dy);
        CHECK_LAUNCH();
        CHECK(cudaMemcpy(result.data(), output, result.size() * sizeof(float),
                         cudaMemcpyDeviceToHost));
        const float alpha = one.dx - 0.5f, beta = one.dy - 0.5f;
        int wrong = 0;
        for (int y = 0; y < HEIGHT; ++y) {
            for (int x = 0; x < WIDTH; ++x) {
                const float want =
                    (1 - beta) * ((1 - alpha) * texel(x, y) + alpha * texel(x + 1, y)) +
                    beta * ((1 - alpha) * texel(x, y + 1) + alpha * texel(x + 1, y + 1));
                wrong += std::fabs(result[y * WIDTH + x] - want) > 0.01f;
            }
        }
        std::printf("%s: %d wrong\n", one.name, wrong);
        right = right && wrong == 0;
    }
    CHECK(cudaDestroyTextureObject(texture));
    CHECK(cudaFree(output));
    CHECK(cudaFree(memory));
    return report("texture_pitch2d", right);
}
