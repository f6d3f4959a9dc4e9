// SPDX-License-Identifier: Apache-2.0
//
// Textures on linear memory: `tex1Dfetch` reads texels of one, two and four channels by their
// number. Writing the memory later shows in the same texture.

#include "texture.h"

#include <vector>

template <typename T> __global__ void fetch(cudaTextureObject_t texture, T *output, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        // Backwards, so that the order is not that of memory.
        output[i] = tex1Dfetch<T>(texture, count - 1 - i);
    }
}

template <typename T> static int mismatches(const char *name) {
    const int count = 5000;
    std::vector<T> values(count);
    unsigned char *bytes = reinterpret_cast<unsigned char *>(values.data());
    for (size_t i = 0; i < count * sizeof(T); ++i) {
        // No byte that makes a NaN of a float: those need not keep their bits.
        bytes[i] = static_cast<unsigned char>(i * 7 % 113);
    }
    T *memory = nullptr, *output = nullptr;
    CHECK(cudaMalloc(&memory, count * sizeof(T)));
    CHECK(cudaMalloc(&output, count * sizeof(T)));

    cudaResourceDesc resource = {};
    resource.resType = cudaResourceTypeLinear;
    resource.res.linear.devPtr = memory;
    resource.res.linear.desc = cudaCreateChannelDesc<T>();
    resource.res.linear.sizeInBytes = count * sizeof(T);
    const cudaTextureDesc description = texture_description(
        cudaAddressModeClamp, cudaFilterModePoint, cudaReadModeElementType, false);
    cudaTextureObject_t texture = 0;
    CHECK(cudaCreateTextureObject(&texture, &resource, &description, nullptr));

    // The texture is a view: it shows what is written after it was made.
    CHECK(cudaMemcpy(memory, values.data(), count * sizeof(T), cudaMemcpyHostToDevice));
    fetch<<<(count + 255) / 256, 256>>>(texture, output, count);
    CHECK_LAUNCH();
    std::vector<T> result(count);
    CHECK(cudaMemcpy(result.data(), output, count * sizeof(T), cudaMemcpyDeviceToHost));
    CHECK(cudaDestroyTextureObject(texture));
    CHECK(cudaFree(memory));
    CHECK(cudaFree(output));

    int wrong = 0;
    for (int i = 0; i < count; ++i) {
        wrong += std::memcmp(&result[i], &values[count - 1 - i], sizeof(T)) != 0;
    }
    std::printf("%s: %d of %d texels wrong\n", name, wrong, count);
    return wrong;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Reads linear memory through textures.");
    int wrong = mismatches<float>("float") + mismatches<float2>("float2") +
                mismatches<float4>("float4") + mismatches<int>("int") +
                mismatches<uint4>("uint4") + mismatches<short2>("short2") +
                mismatches<unsigned char>("unsigned char") + mismatches<char4>("char4");
    return report("texture_1d_linear", wrong == 0);
}
