// SPDX-License-Identifier: Apache-2.0
// What must not be done while a stream is captured: every error that CUDA documents, and that the
// capture ends with it.

#include "check.h"

__global__ void nothing() {}

static int unexpected = 0;

static void expect(const char* what, cudaError_t status, cudaError_t expected) {
    std::printf("%s: %s\n", what, cudaGetErrorName(status));
    unexpected += status != expected;
    (void)cudaGetLastError();
}

static void begin(cudaStream_t stream, cudaStreamCaptureMode mode) {
    CHECK(cudaStreamBeginCapture(stream, mode));
    nothing<<<1, 1, 0, stream>>>();
    CHECK_LAUNCH();
}

// Ends a capture that an error has invalidated.
static void expect_lost(cudaStream_t stream) {
    cudaStreamCaptureStatus status;
    CHECK(cudaStreamIsCapturing(stream, &status));
    std::printf("  invalidated: %d\n", status == cudaStreamCaptureStatusInvalidated);
    cudaGraph_t graph = nullptr;
    expect("  end", cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
    unexpected += graph != nullptr;
}

int main(int argc, char** argv) {
    no_arguments(argc, argv, "does what captures do not allow");
    const auto global = cudaStreamCaptureModeGlobal, relaxed = cudaStreamCaptureModeRelaxed;
    cudaStream_t stream, other;
    CHECK(cudaStreamCreate(&stream));
    CHECK(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
    cudaEvent_t event, outside;
    CHECK(cudaEventCreate(&event));
    CHECK(cudaEventCreate(&outside));
    CHECK(cudaEventRecord(outside, other));
    nothing<<<1, 1>>>();
    CHECK(cudaDeviceSynchronize());
    cudaGraph_t graph = nullptr;

    expect("capture the legacy stream", cudaStreamBeginCapture(cudaStreamLegacy, global),
           cudaErrorStreamCaptureUnsupported);

    begin(stream, relaxed);
    expect("begin twice", cudaStreamBeginCapture(stream, relaxed), cudaErrorIllegalState);
    CHECK(cudaStreamEndCapture(stream, &graph));
    CHECK(cudaGraphDestroy(graph));
    expect("end twice", cudaStreamEndCapture(stream, &graph), cudaErrorIllegalState);

    begin(stream, relaxed);
    expect("synchronize the stream", cudaStreamSynchronize(stream),
           cudaErrorStreamCaptureUnsupported);
    expect_lost(stream);
    begin(stream, relaxed);
    expect("query the stream", cudaStreamQuery(stream), cudaErrorStreamCaptureUnsupported);
    expect_lost(stream);
    begin(stream, relaxed);
    expect("synchronize the device", cudaDeviceSynchronize(), cudaErrorStreamCaptureUnsupported);
    expect_lost(stream);

    begin(stream, relaxed);
    CHECK(cudaEventRecord(event, stream));
    expect("query a captured event", cudaEventQuery(event), cudaErrorCapturedEvent);
    expect_lost(stream);

    begin(stream, relaxed);
    nothing<<<1, 1, 0, cudaStreamLegacy>>>();
    expect("use the legacy stream", cudaGetLastError(), cudaErrorStreamCaptureImplicit);
    expect_lost(stream);

    // A stream that does not wait for the legacy stream does not mind.
    begin(other, relaxed);
    nothing<<<1, 1, 0, cudaStreamLegacy>>>();
    expect("use the legacy stream beside", cudaGetLastError(), cudaSuccess);
    CHECK(cudaStreamEndCapture(other, &graph));
    CHECK(cudaGraphDestroy(graph));

    begin(stream, relaxed);
    expect("wait for an event from outside", cudaStreamWaitEvent(stream, outside, 0),
           cudaErrorStreamCaptureIsolation);
    expect_lost(stream);

    begin(stream, relaxed);
    begin(other, relaxed);
    CHECK(cudaEventRecord(event, other));
    expect("join two captures", cudaStreamWaitEvent(stream, event, 0),
           cudaErrorStreamCaptureMerge);
    expect_lost(stream);
    expect_lost(other);

    begin(stream, relaxed);
    CHECK(cudaEventRecord(event, stream));
    CHECK(cudaStreamWaitEvent(other, event, 0));
    expect("end at another stream", cudaStreamEndCapture(other, &graph),
           cudaErrorStreamCaptureUnmatched);
    expect_lost(stream);

    // Allocations may disturb a capture, unless it or the thread is relaxed about them.
    void* memory = nullptr;
    begin(stream, global);
    expect("allocate", cudaMalloc(&memory, 100), cudaErrorStreamCaptureUnsupported);
    expect_lost(stream);
    begin(stream, relaxed);
    expect("allocate in a relaxed capture", cudaMalloc(&memory, 100), cudaSuccess);
    CHECK(cudaStreamEndCapture(stream, &graph));
    CHECK(cudaGraphDestroy(graph));
    CHECK(cudaFree(memory));
    begin(stream, global);
    cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    CHECK(cudaThreadExchangeStreamCaptureMode(&mode));
    expect("allocate in a relaxed thread", cudaMalloc(&memory, 100), cudaSuccess);
    CHECK(cudaThreadExchangeStreamCaptureMode(&mode));
    std::printf("the thread was relaxed: %d\n", mode == cudaStreamCaptureModeRelaxed);
    CHECK(cudaStreamEndCapture(stream, &graph));
    CHECK(cudaGraphDestroy(graph));
    CHECK(cudaFree(memory));

    // All is well afterwards.
    nothing<<<1, 1, 0, stream>>>();
    CHECK_LAUNCH();
    CHECK(cudaDeviceSynchronize());
    CHECK(cudaEventDestroy(event));
    CHECK(cudaEventDestroy(outside));
    CHECK(cudaStreamDestroy(stream));
    CHECK(cudaStreamDestroy(other));
    if (unexpected != 0) {
        std::printf("unexpected: %d\n", unexpected);
        return 1;
    }
    std::printf("ok capture_errors\n");
    return 0;
}
