// SPDX-License-Identifier: Apache-2.0
//
// Many copies with one call: lines between host and device in both directions, boxes with gaps to
// and from an array, and a source that may change as soon as the call has returned.

#include "check.h"

#include <vector>


constexpr int PIECES = 64;
constexpr int LENGTH = 100;

static bool tell(const char *what, bool right) {
    std::printf("%s: %s\n", what, right ? "yes" : "no");
    return right;
}

static cudaMemcpyAttributes attributes(cudaMemcpySrcAccessOrder order) {
    cudaMemcpyAttributes made = {};
    made.srcAccessOrder = order;
    return made;
}

// Sends PIECES pieces in reverse order, and gets them back.
static bool lines(cudaStream_t stream) {
    std::vector<int> sent(PIECES * LENGTH), got(PIECES * LENGTH, -1);
    for (int i = 0; i < PIECES * LENGTH; ++i) {
        sent[i] = i * 3 + 1;
    }
    const std::vector<int> copy = sent;
    int *device = nullptr;
    CHECK(cudaMalloc(&device, sent.size() * sizeof(int)));
    std::vector<const void *> from;
    std::vector<void *> to;
    std::vector<size_t> sizes(PIECES, LENGTH * sizeof(int));
    for (int piece = 0; piece < PIECES; ++piece) {
        from.push_back(&sent[piece * LENGTH]);
        to.push_back(device + (PIECES - 1 - piece) * LENGTH);
    }
    cudaMemcpyAttributes up = attributes(cudaMemcpySrcAccessOrderDuringApiCall);
    size_t first = 0;
    CHECK(cudaMemcpyBatchAsync(to.data(), from.data(), sizes.data(), PIECES, &up, &first, 1, stream));
    // They have been read.
    sent.assign(sent.size(), 0);

    for (int piece = 0; piece < PIECES; ++piece) {
        from[piece] = device + piece * LENGTH;
        to[piece] = &got[piece * LENGTH];
    }
    cudaMemcpyAttributes down[] = {attributes(cudaMemcpySrcAccessOrderStream),
                                   attributes(cudaMemcpySrcAccessOrderStream)};
    size_t firsts[] = {0, PIECES / 2};
    CHECK(cudaMemcpyBatchAsync(to.data(), from.data(), sizes.data(), PIECES, down, firsts, 2,
                               stream));
    CHECK(cudaStreamSynchronize(stream));
    bool right = true;
    for (int i = 0; i < PIECES * LENGTH; ++i) {
        const int piece = PIECES - 1 - i / LENGTH;
        right = right && got[i] == copy[piece * LENGTH + i % LENGTH];
    }
    right = tell("all pieces arrive in their places", right);

    firsts[1] = 0;
    right = tell("attributes out of order are refused",
                 cudaMemcpyBatchAsync(to.data(), from.data(), sizes.data(), PIECES, down, firsts, 2,
                                      stream) == cudaErrorInvalidValue) && right;
    down[0] = attributes(cudaMemcpySrcAccessOrderInvalid);
    right = tell("so is a copy without an order",
                 cudaMemcpyBatchAsync(to.data(), from.data(), sizes.data(), PIECES, down, firsts, 1,
                                      stream) == cudaErrorInvalidValue) && right;
    cudaGetLastError();
    CHECK(cudaFree(device));
    return right;
}

static cudaMemcpy3DOperand memory(void *address, size_t row, size_t height) {
    cudaMemcpy3DOperand operand = {};
    operand.type = cudaMemcpyOperandTypePointer;
    operand.op.ptr.ptr = address;
    operand.op.ptr.rowLength = row;
    operand.op.ptr.layerHeight = height;
    return operand;
}

static cudaMemcpy3DOperand part(cudaArray_t array, size_t x, size_t y, size_t z) {
    cudaMemcpy3DOperand operand = {};
    operand.type = cudaMemcpyOperandTypeArray;
    operand.op.array.array = array;
    operand.op.array.offset = {x, y, z};
    return operand;
}

static bool boxes(cudaStream_t stream) {
    constexpr size_t W = 16, H = 8, D = 4;
    std::vector<float> volume(W * H * D), got((W + 3) * (H + 1) * D, -1.0f);
    for (size_t i = 0; i < volume.size(); ++i) {
        volume[i] = static_cast<float>(i);
    }
    cudaArray_t array;
    const cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
    CHECK(cudaMalloc3DArray(&array, &format, make_cudaExtent(W, H, D)));
    cudaMemcpy3DBatchOp operations[2] = {};
    // The two halves of the volume, exchanged.
    for (int half = 0; half < 2; ++half) {
        operations[half].src = memory(&volume[half * W * H * D / 2], 0, 0);
        operations[half].dst = part(array, 0, 0, (1 - half) * D / 2);
        operations[half].extent = make_cudaExtent(W, H, D / 2);
        operations[half].srcAccessOrder = cudaMemcpySrcAccessOrderStream;
    }
    CHECK(cudaMemcpy3DBatchAsync(2, operations, 0, stream));
    operations[0].src = part(array, 0, 0, 0);
    operations[0].dst = memory(got.data(), W + 3, H + 1);
    operations[0].extent = make_cudaExtent(W, H, D);
    CHECK(cudaMemcpy3DBatchAsync(1, operations, 0, stream));
    CHECK(cudaStreamSynchronize(stream));
    bool right = true;
    for (size_t z = 0; z < D; ++z) {
        for (size_t y = 0; y < H; ++y) {
            for (size_t x = 0; x < W + 3; ++x) {
                const float expected = x < W ? volume[((z + D / 2) % D * H + y) * W + x] : -1.0f;
                right = right && got[(z * (H + 1) + y) * (W + 3) + x] == expected;
            }
        }
    }
    right = tell("boxes keep their shape and leave gaps alone", right);
    operations[0].extent.depth = 0;
    right = tell("a box without depth is refused",
                 cudaMemcpy3DBatchAsync(1, operations, 0, stream) == cudaErrorInvalidValue) && right;
    cudaGetLastError();
    CHECK(cudaFreeArray(array));
    return right;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Many copies with one call.");
    cudaStream_t stream;
    CHECK(cudaStreamCreate(&stream));
    bool right = lines(stream);
    right = boxes(stream) && right;
    CHECK(cudaStreamDestroy(stream));
    return report("copy_batch", right);
}
