// SPDX-License-Identifier: Apache-2.0
//
// Every way in which the runtime copies and fills: symbols, rows, boxes and arrays, at once and in a
// stream. Data goes around through all of them and must come back.

#include "check.h"

#include <numeric>
#include <vector>

static const int WIDTH = 24, HEIGHT = 10, DEPTH = 3, COUNT = WIDTH * HEIGHT;

__device__ int table[COUNT];

static std::vector<int> numbers(int count, int first) {
    std::vector<int> values(count);
    std::iota(values.begin(), values.end(), first);
    return values;
}

static bool tell(const char *what, bool right) {
    std::printf("%s: %s\n", what, right ? "as sent" : "WRONG");
    return right;
}

static bool symbols(cudaStream_t stream) {
    const std::vector<int> sent = numbers(COUNT, 7);
    std::vector<int> back(COUNT);
    void *address = nullptr;
    size_t bytes = 0;
    CHECK(cudaGetSymbolAddress(&address, table));
    CHECK(cudaGetSymbolSize(&bytes, table));
    bool right = bytes == sizeof(int) * COUNT;
    CHECK(cudaMemcpyToSymbol(table, sent.data(), bytes));
    CHECK(cudaMemcpyFromSymbolAsync(back.data(), table, bytes - 8, 8, cudaMemcpyDeviceToHost, stream));
    CHECK(cudaStreamSynchronize(stream));
    right &= tell("a symbol, read behind its begin", right && back[0] == sent[2] &&
                                                         back[COUNT - 3] == sent[COUNT - 1]);
    CHECK(cudaMemcpyToSymbolAsync(table, sent.data() + 5, 20, 40, cudaMemcpyHostToDevice, stream));
    CHECK(cudaStreamSynchronize(stream));
    CHECK(cudaMemcpyFromSymbol(back.data(), table, bytes));
    right &= tell("a symbol, written in the middle",
                  back[9] == sent[9] && back[10] == sent[5] && back[15] == sent[15]);
    right &= tell("nothing behind a symbol's end",
                  cudaMemcpyToSymbol(table, sent.data(), bytes, 4) == cudaErrorInvalidValue &&
                      cudaGetLastError() == cudaErrorInvalidValue);
    return right;
}

static bool fills(cudaStream_t stream) {
    char *plain;
    size_t pitch = 0;
    cudaPitchedPtr box;
    CHECK(cudaMallocPitch(reinterpret_cast<void **>(&plain), &pitch, WIDTH, HEIGHT));
    CHECK(cudaMalloc3D(&box, make_cudaExtent(WIDTH, HEIGHT, DEPTH)));
    CHECK(cudaMemset2D(plain, pitch, 1, WIDTH, HEIGHT));
    CHECK(cudaMemset2DAsync(plain, pitch, 2, WIDTH / 2, HEIGHT, stream));
    CHECK(cudaMemset3D(box, 3, make_cudaExtent(WIDTH, HEIGHT, DEPTH)));
    CHECK(cudaMemset3DAsync(box, 4, make_cudaExtent(WIDTH / 2, HEIGHT / 2, DEPTH), stream));
    CHECK(cudaStreamSynchronize(stream));
    std::vector<char> back(COUNT), boxes(COUNT * DEPTH);
    CHECK(cudaMemcpy2D(back.data(), WIDTH, plain, pitch, WIDTH, HEIGHT, cudaMemcpyDeviceToHost));
    cudaMemcpy3DParms copy = {};
    copy.srcPtr = box;
    copy.dstPtr = make_cudaPitchedPtr(boxes.data(), WIDTH, WIDTH, HEIGHT);
    copy.extent = make_cudaExtent(WIDTH, HEIGHT, DEPTH);
    copy.kind = cudaMemcpyDeviceToHost;
    CHECK(cudaMemcpy3D(&copy));
    bool rows = true, slices = true;
    for (int i = 0; i < COUNT * DEPTH; ++i) {
        const int x = i % WIDTH, y = i / WIDTH % HEIGHT;
        rows &= i >= COUNT || back[i] == (x < WIDTH / 2 ? 2 : 1);
        slices &= boxes[i] == (x < WIDTH / 2 && y < HEIGHT / 2 ? 4 : 3);
    }
    CHECK(cudaFree(plain));
    CHECK(cudaFree(box.ptr));
    bool right = tell("rows that were filled", rows);
    right &= tell("boxes that were filled", slices);
    return right;
}

static bool arrays(cudaStream_t stream) {
    const std::vector<int> sent = numbers(COUNT, 100);
    std::vector<int> back(COUNT);
    const size_t row = WIDTH * sizeof(int), all = COUNT * sizeof(int);
    const cudaChannelFormatDesc desc = cudaCreateChannelDesc<int>();
    cudaArray_t first, second;
    CHECK(cudaMallocArray(&first, &desc, WIDTH, HEIGHT));
    CHECK(cudaMallocArray(&second, &desc, WIDTH, HEIGHT));

    CHECK(cudaMemcpy2DToArray(first, 0, 0, sent.data(), row, row, HEIGHT, cudaMemcpyHostToDevice));
    CHECK(cudaMemcpy2DArrayToArray(second, 0, 0, first, 0, 0, row, HEIGHT));
    CHECK(cudaMemcpy2DFromArray(back.data(), row, second, 0, 0, row, HEIGHT, cudaMemcpyDeviceToHost));
    bool right = tell("rows through two arrays", back == sent);

    std::fill(back.begin(), back.end(), 0);
    CHECK(cudaMemcpy2DToArrayAsync(first, row / 2, 1, sent.data(), row, row / 2, 3,
                                   cudaMemcpyHostToDevice, stream));
    CHECK(cudaMemcpy2DFromArrayAsync(back.data(), row, first, row / 2, 1, row / 2, 3,
                                     cudaMemcpyDeviceToHost, stream));
    CHECK(cudaStreamSynchronize(stream));
    bool same = true;
    for (int i = 0; i < 3 * WIDTH; ++i) {
        same &= i % WIDTH >= WIDTH / 2 || back[i] == sent[i];
    }
    right &= tell("a part of an array, in a stream", same);

    cudaChannelFormatDesc told;
    cudaExtent extent;
    unsigned flags = 1;
    CHECK(cudaArrayGetInfo(&told, &extent, &flags, first));
    right &= tell("what an array is", told.x == 32 && told.y == 0 &&
                                          told.f == cudaChannelFormatKindSigned &&
                                          extent.width == WIDTH && extent.height == HEIGHT &&
                                          extent.depth == 0 && flags == 0);
    cudaMemcpy3DParms copy = {};
    copy.srcArray = second;
    copy.srcPos = make_cudaPos(2, 1, 0);
    copy.dstPtr = make_cudaPitchedPtr(back.data(), row, row, HEIGHT);
    copy.extent = make_cudaExtent(4, 2, 1);
    copy.kind = cudaMemcpyDeviceToHost;
    CHECK(cudaMemcpy3DAsync(&copy, stream));
    CHECK(cudaStreamSynchronize(stream));
    right &= tell("a box of an array", back[0] == sent[WIDTH + 2] && back[3] == sent[WIDTH + 5] &&
                                           back[WIDTH] == sent[2 * WIDTH + 2]);

    int *plain;
    CHECK(cudaMalloc(&plain, all));
    CHECK(cudaMemcpy2DFromArray(plain, row, second, 0, 0, row, HEIGHT, cudaMemcpyDeviceToDevice));
    CHECK(cudaMemcpy2DAsync(back.data(), row, plain, row, row, HEIGHT, cudaMemcpyDefault, stream));
    CHECK(cudaStreamSynchronize(stream));
    right &= tell("an array through plain memory", back == sent);
    CHECK(cudaFree(plain));
    CHECK(cudaFreeArray(first));
    CHECK(cudaFreeArray(second));
    return right;
}

static bool between_devices(cudaStream_t stream) {
    const std::vector<int> sent = numbers(COUNT, 1);
    std::vector<int> back(COUNT);
    const size_t bytes = COUNT * sizeof(int);
    int *from, *to;
    CHECK(cudaMalloc(&from, bytes));
    CHECK(cudaMalloc(&to, bytes));
    CHECK(cudaMemcpy(from, sent.data(), bytes, cudaMemcpyDefault));
    CHECK(cudaMemcpyPeer(to, 0, from, 0, bytes));
    CHECK(cudaMemcpy(back.data(), to, bytes, cudaMemcpyDefault));
    bool right = tell("a copy from a device to itself", back == sent);
    cudaMemcpy3DPeerParms copy = {};
    copy.srcPtr = make_cudaPitchedPtr(to, WIDTH, WIDTH, HEIGHT);
    copy.dstPtr = make_cudaPitchedPtr(from, WIDTH, WIDTH, HEIGHT);
    copy.extent = make_cudaExtent(WIDTH, HEIGHT, 1);
    CHECK(cudaMemset(from, 0, bytes));
    CHECK(cudaMemcpy3DPeerAsync(&copy, stream));
    CHECK(cudaStreamSynchronize(stream));
    CHECK(cudaMemcpy(back.data(), from, WIDTH * HEIGHT, cudaMemcpyDeviceToHost));
    right &= tell("a box from a device to itself",
                  std::memcmp(back.data(), sent.data(), WIDTH * HEIGHT) == 0);
    CHECK(cudaFree(from));
    CHECK(cudaFree(to));
    return right;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Every way in which the runtime copies and fills.");
    cudaStream_t stream;
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    bool right = symbols(stream);
    right &= fills(stream);
    right &= arrays(stream);
    right &= between_devices(stream);
    CHECK(cudaStreamDestroy(stream));
    return report("runtime_copies", right);
}
