// SPDX-License-Identifier: Apache-2.0
// CUDA arrays in graphs: copies between arrays, device memory and the host as nodes, built and
// captured, in two and three dimensions; kernels between them read the arrays as textures.

#include "check.h"

#include <vector>

static bool right = true;

static void expect(const char *what, long value, long expected) {
    std::printf("%s: %ld\n", what, value);
    right = right && value == expected;
}

__global__ void transpose(cudaTextureObject_t from, float *to, int width, int height) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x < width && y < height) to[x * height + y] = tex2D<float>(from, x, y);
}

__global__ void sum_layers(cudaTextureObject_t from, float *to, int width, int height, int depth) {
    int x = threadIdx.x, y = threadIdx.y;
    if (x >= width || y >= height) return;
    float sum = 0;
    for (int z = 0; z < depth; z++) sum += tex3D<float>(from, x, y, z);
    to[y * width + x] = sum;
}

static cudaTextureObject_t texture(cudaArray_t array) {
    cudaResourceDesc resource = {};
    resource.resType = cudaResourceTypeArray;
    resource.res.array.array = array;
    cudaTextureDesc description = {};
    for (auto &mode : description.addressMode) mode = cudaAddressModeClamp;
    cudaTextureObject_t object;
    CHECK(cudaCreateTextureObject(&object, &resource, &description, nullptr));
    return object;
}

// Host, array, kernel, host: what is captured is copied anew at each launch.
static void captured(cudaStream_t stream) {
    const int width = 37, height = 19;
    cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
    cudaArray_t array, other;
    CHECK(cudaMallocArray(&array, &format, width, height));
    CHECK(cudaMallocArray(&other, &format, width, height));
    float *from, *to, *device;
    CHECK(cudaMallocHost(&from, width * height * sizeof(float)));
    CHECK(cudaMallocHost(&to, width * height * sizeof(float)));
    CHECK(cudaMalloc(&device, width * height * sizeof(float)));
    cudaTextureObject_t object = texture(other);
    const size_t row = width * sizeof(float);
    cudaGraph_t graph;
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    CHECK(cudaMemcpy2DToArrayAsync(array, 0, 0, from, row, row, height, cudaMemcpyHostToDevice,
                                   stream));
    // From array to array.
    cudaMemcpy3DParms between = {};
    between.srcArray = array;
    between.dstArray = other;
    between.extent = make_cudaExtent(width, height, 1);
    between.kind = cudaMemcpyDeviceToDevice;
    CHECK(cudaMemcpy3DAsync(&between, stream));
    dim3 block(16, 16), grid((width + 15) / 16, (height + 15) / 16);
    transpose<<<grid, block, 0, stream>>>(object, device, width, height);
    CHECK(cudaMemcpyAsync(to, device, width * height * sizeof(float), cudaMemcpyDeviceToHost,
                          stream));
    CHECK(cudaStreamEndCapture(stream, &graph));
    size_t nodes = 0;
    CHECK(cudaGraphGetNodes(graph, nullptr, &nodes));
    expect("captured nodes", nodes, 4);
    cudaGraphNode_t first;
    size_t one = 1;
    CHECK(cudaGraphGetRootNodes(graph, &first, &one));
    cudaMemcpy3DParms known = {};
    CHECK(cudaGraphMemcpyNodeGetParams(first, &known));
    expect("the first copies to the array", known.dstArray == array, 1);
    expect("elements of a row", known.extent.width, width);
    expect("rows", known.extent.height, height);
    cudaGraphExec_t exec;
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < width * height; i++) from[i] = static_cast<float>(i + round);
        CHECK(cudaGraphLaunch(exec, stream));
        CHECK(cudaStreamSynchronize(stream));
        int wrong = 0;
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                wrong += to[x * height + y] != static_cast<float>(y * width + x + round);
        expect("transposed elements that are wrong", wrong, 0);
    }
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
    CHECK(cudaDestroyTextureObject(object));
    CHECK(cudaFreeArray(array));
    CHECK(cudaFreeArray(other));
    CHECK(cudaFree(device));
    CHECK(cudaFreeHost(from));
    CHECK(cudaFreeHost(to));
}

// A box of a three-dimensional array is filled, and another one read back.
static void built() {
    const int width = 8, height = 6, depth = 5;
    cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
    cudaArray_t array;
    cudaExtent extent = make_cudaExtent(width, height, depth);
    CHECK(cudaMalloc3DArray(&array, &format, extent));
    std::vector<float> from(width * height * depth), box(3 * 2 * 2, 0.0f);
    for (size_t i = 0; i < from.size(); i++) from[i] = static_cast<float>(i);
    const std::vector<float> patch(2 * 2 * 2, 1000.0f);
    float *sums;
    CHECK(cudaMalloc(&sums, width * height * sizeof(float)));
    cudaTextureObject_t object = texture(array);

    cudaGraph_t graph;
    CHECK(cudaGraphCreate(&graph, 0));
    cudaMemcpy3DParms whole = {}, part = {}, back = {};
    whole.srcPtr = make_cudaPitchedPtr(from.data(), width * sizeof(float), width, height);
    whole.dstArray = array;
    whole.extent = extent;
    whole.kind = cudaMemcpyHostToDevice;
    part.srcPtr = make_cudaPitchedPtr(const_cast<float *>(patch.data()), 2 * sizeof(float), 2, 2);
    part.dstArray = array;
    part.dstPos = make_cudaPos(1, 2, 3);
    part.extent = make_cudaExtent(2, 2, 2);
    part.kind = cudaMemcpyHostToDevice;
    back.srcArray = array;
    back.srcPos = make_cudaPos(0, 2, 3);
    back.dstPtr = make_cudaPitchedPtr(box.data(), 3 * sizeof(float), 3, 2);
    back.extent = make_cudaExtent(3, 2, 2);
    back.kind = cudaMemcpyDeviceToHost;
    cudaGraphNode_t node, kernel, last;
    CHECK(cudaGraphAddMemcpyNode(&node, graph, nullptr, 0, &whole));
    CHECK(cudaGraphAddMemcpyNode(&node, graph, &node, 1, &part));
    cudaKernelNodeParams launch = {};
    int w = width, h = height, d = depth;
    void *arguments[] = {&object, &sums, &w, &h, &d};
    launch.func = reinterpret_cast<void *>(sum_layers);
    launch.gridDim = dim3(1);
    launch.blockDim = dim3(width, height);
    launch.kernelParams = arguments;
    CHECK(cudaGraphAddKernelNode(&kernel, graph, &node, 1, &launch));
    CHECK(cudaGraphAddMemcpyNode(&last, graph, &node, 1, &back));
    cudaGraphExec_t exec;
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    CHECK(cudaGraphLaunch(exec, 0));
    CHECK(cudaDeviceSynchronize());

    auto at = [&](int x, int y, int z) {
        bool patched = x >= 1 && x < 3 && y >= 2 && y < 4 && z >= 3;
        return patched ? 1000.0f : from[(z * height + y) * width + x];
    };
    std::vector<float> host(width * height);
    CHECK(cudaMemcpy(host.data(), sums, host.size() * sizeof(float), cudaMemcpyDeviceToHost));
    int wrong = 0;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            float sum = 0;
            for (int z = 0; z < depth; z++) sum += at(x, y, z);
            wrong += host[y * width + x] != sum;
        }
    expect("sums that are wrong", wrong, 0);
    wrong = 0;
    for (int z = 0; z < 2; z++)
        for (int y = 0; y < 2; y++)
            for (int x = 0; x < 3; x++)
                wrong += box[(z * 2 + y) * 3 + x] != at(x, y + 2, z + 3);
    expect("elements of the box that are wrong", wrong, 0);

    // Beyond the array.
    part.dstPos = make_cudaPos(7, 2, 3);
    cudaError_t status = cudaGraphAddMemcpyNode(&node, graph, nullptr, 0, &part);
    std::printf("a box beyond the array: %s\n", cudaGetErrorName(status));
    right = right && status == cudaErrorInvalidValue;
    (void)cudaGetLastError();
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
    CHECK(cudaDestroyTextureObject(object));
    CHECK(cudaFreeArray(array));
    CHECK(cudaFree(sums));
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "copies arrays in graphs");
    cudaStream_t stream;
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    captured(stream);
    built();
    CHECK(cudaStreamDestroy(stream));
    return report("graph_array_copies", right);
}
