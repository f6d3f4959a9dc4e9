// SPDX-License-Identifier: Apache-2.0
// Copies of every kind in a graph: between host and device, in two and three dimensions, from
// pageable and page-locked memory; and memsets of every element size, with and without a pitch.

#include "check.h"

#include <vector>

static int errors = 0;

static void expect(const char* what, long value, long expected) {
    std::printf("%s: %ld\n", what, value);
    errors += value != expected;
}

static cudaGraphNode_t add_memset(cudaGraph_t graph, const cudaGraphNode_t* before, void* to,
                                  unsigned value, unsigned size, size_t width, size_t height,
                                  size_t pitch) {
    cudaMemsetParams params = {};
    params.dst = to;
    params.value = value;
    params.elementSize = size;
    params.width = width;
    params.height = height;
    params.pitch = pitch;
    cudaGraphNode_t node;
    CHECK(cudaGraphAddMemsetNode(&node, graph, before, before ? 1 : 0, &params));
    return node;
}

static void run(cudaGraph_t graph) {
    cudaGraphExec_t exec;
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    CHECK(cudaGraphLaunch(exec, 0));
    CHECK(cudaDeviceSynchronize());
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
}

// A box of 5 x 4 x 3 bytes is cut out of a larger one, and put into another.
static void boxes() {
    const int w = 16, h = 8, d = 6;
    std::vector<unsigned char> from(w * h * d), to(w * h * d, 0);
    for (int i = 0; i < w * h * d; i++) from[i] = static_cast<unsigned char>(i * 31 + i / 7);
    unsigned char* device;
    CHECK(cudaMalloc(&device, w * h * d));
    CHECK(cudaMemset(device, 0, w * h * d));
    cudaMemcpy3DParms up = {}, down = {};
    up.srcPtr = make_cudaPitchedPtr(from.data(), w, w, h);
    up.dstPtr = make_cudaPitchedPtr(device, w, w, h);
    up.srcPos = make_cudaPos(2, 1, 1);
    up.dstPos = make_cudaPos(3, 2, 0);
    up.extent = make_cudaExtent(5, 4, 3);
    up.kind = cudaMemcpyHostToDevice;
    down.srcPtr = make_cudaPitchedPtr(device, w, w, h);
    down.dstPtr = make_cudaPitchedPtr(to.data(), w, w, h);
    down.extent = make_cudaExtent(w, h, d);
    down.kind = cudaMemcpyDeviceToHost;
    cudaGraph_t graph;
    CHECK(cudaGraphCreate(&graph, 0));
    cudaGraphNode_t first, second;
    CHECK(cudaGraphAddMemcpyNode(&first, graph, nullptr, 0, &up));
    CHECK(cudaGraphAddMemcpyNode(&second, graph, &first, 1, &down));
    cudaMemcpy3DParms known = {};
    CHECK(cudaGraphMemcpyNodeGetParams(first, &known));
    std::printf("box: %zu x %zu x %zu\n", known.extent.width, known.extent.height,
                known.extent.depth);
    run(graph);
    int wrong = 0;
    for (int z = 0; z < d; z++)
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) {
                bool inside = x >= 3 && x < 8 && y >= 2 && y < 6 && z < 3;
                int expected = inside ? from[((z + 1) * h + y - 1) * w + x - 1] : 0;
                wrong += to[(z * h + y) * w + x] != expected;
            }
    expect("bytes of boxes that are wrong", wrong, 0);
    CHECK(cudaFree(device));
}

static void memsets() {
    const int n = 64;
    unsigned char* device;
    CHECK(cudaMalloc(&device, 4 * n));
    cudaGraph_t graph;
    CHECK(cudaGraphCreate(&graph, 0));
    cudaGraphNode_t node = add_memset(graph, nullptr, device, 0x11, 1, 4 * n, 1, 0);
    node = add_memset(graph, &node, device + n, 0x2233, 2, n / 2, 1, 0);
    node = add_memset(graph, &node, device + 2 * n, 0x44556677, 4, n / 4, 1, 0);
    // Three rows of five bytes, sixteen apart.
    node = add_memset(graph, &node, device + 3 * n, 0x88, 1, 5, 3, 16);
    std::vector<unsigned char> host(4 * n);
    CHECK(cudaGraphAddMemcpyNode1D(&node, graph, &node, 1, host.data(), device, 4 * n,
                                   cudaMemcpyDeviceToHost));
    run(graph);
    const unsigned char two[] = {0x33, 0x22}, four[] = {0x77, 0x66, 0x55, 0x44};
    int wrong = 0;
    for (int i = 0; i < 4 * n; i++) {
        int expected = 0x11, row = (i - 3 * n) / 16, column = (i - 3 * n) % 16;
        if (i >= n && i < 2 * n) expected = two[i % 2];
        if (i >= 2 * n && i < 3 * n) expected = four[i % 4];
        if (i >= 3 * n && row < 3 && column < 5) expected = 0x88;
        wrong += host[i] != expected;
    }
    expect("bytes of memsets that are wrong", wrong, 0);
    CHECK(cudaFree(device));
}

// Data goes round: pageable, device, device, page-locked, device, pageable.
static void round_trip() {
    const int n = 3000;
    std::vector<int> from(n), to(n, 0);
    for (int i = 0; i < n; i++) from[i] = i * i;
    int *a, *b, *locked;
    CHECK(cudaMalloc(&a, n * sizeof(int)));
    CHECK(cudaMalloc(&b, n * sizeof(int)));
    CHECK(cudaMallocHost(&locked, n * sizeof(int)));
    cudaGraph_t graph;
    CHECK(cudaGraphCreate(&graph, 0));
    cudaGraphNode_t node;
    const size_t bytes = n * sizeof(int);
    CHECK(cudaGraphAddMemcpyNode1D(&node, graph, nullptr, 0, a, from.data(), bytes,
                                   cudaMemcpyHostToDevice));
    CHECK(cudaGraphAddMemcpyNode1D(&node, graph, &node, 1, b, a, bytes, cudaMemcpyDeviceToDevice));
    CHECK(cudaGraphAddMemcpyNode1D(&node, graph, &node, 1, locked, b, bytes,
                                   cudaMemcpyDeviceToHost));
    CHECK(cudaGraphAddMemcpyNode1D(&node, graph, &node, 1, a, locked + 1, bytes - sizeof(int),
                                   cudaMemcpyHostToDevice));
    CHECK(cudaGraphAddMemcpyNode1D(&node, graph, &node, 1, to.data(), a, bytes,
                                   cudaMemcpyDefault));
    cudaGraphExec_t exec;
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    for (int round = 0; round < 2; round++) {
        // The graph reads what the memory holds when it is launched.
        for (int i = 0; i < n; i++) from[i] += round;
        CHECK(cudaGraphLaunch(exec, 0));
        CHECK(cudaDeviceSynchronize());
        int wrong = 0;
        for (int i = 0; i < n; i++) wrong += to[i] != from[i + 1 < n ? i + 1 : i];
        expect("words of the round trip that are wrong", wrong, 0);
    }
    // Another source of the same kind.
    std::vector<int> other(n, 5);
    cudaGraphNode_t first;
    size_t one = 1;
    CHECK(cudaGraphGetRootNodes(graph, &first, &one));
    CHECK(cudaGraphExecMemcpyNodeSetParams1D(exec, first, a, other.data(), bytes,
                                             cudaMemcpyHostToDevice));
    CHECK(cudaGraphLaunch(exec, 0));
    CHECK(cudaDeviceSynchronize());
    expect("from another source", to[7], 5);
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
    CHECK(cudaFree(a));
    CHECK(cudaFree(b));
    CHECK(cudaFreeHost(locked));
}

int main(int argc, char** argv) {
    no_arguments(argc, argv, "copies and fills memory in graphs");
    boxes();
    memsets();
    round_trip();
    if (errors != 0) return 1;
    std::printf("ok graph_memcpy_nodes\n");
    return 0;
}
