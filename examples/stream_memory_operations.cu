// SPDX-License-Identifier: Apache-2.0
//
// Stream memory operations: a stream writes words and waits for words, so that streams, kernels and
// the host wait for each other without events.

#include "driver.h"

DRIVER_FUNCTION(cuStreamWriteValue32, 11070);
DRIVER_FUNCTION(cuStreamWriteValue64, 11070);
DRIVER_FUNCTION(cuStreamWaitValue32, 11070);
DRIVER_FUNCTION(cuStreamWaitValue64, 11070);
DRIVER_FUNCTION(cuStreamBatchMemOp, 11070);

static CUdeviceptr address(const void *pointer) {
    return reinterpret_cast<CUdeviceptr>(pointer);
}

__global__ void set(volatile unsigned *word, unsigned value) {
    *word = value;
}

static unsigned read(const unsigned *word, cudaStream_t stream) {
    unsigned value = 0;
    CHECK(cudaMemcpyAsync(&value, word, sizeof value, cudaMemcpyDeviceToHost, stream));
    CHECK(cudaStreamSynchronize(stream));
    return value;
}

static bool tell(const char *what, bool right) {
    std::printf("%s: %s\n", what, right ? "yes" : "no");
    return right;
}

// Whether a stream that waits for `word` is held at `before` and goes on at `after`.
static bool condition(const char *what, unsigned *word, cudaStream_t waiter, cudaStream_t writer,
                      unsigned flags, unsigned value, unsigned before, unsigned after) {
    CHECK_DRIVER(driver::cuStreamWriteValue32(writer, address(word), before, 0));
    CHECK(cudaStreamSynchronize(writer));
    CHECK_DRIVER(driver::cuStreamWaitValue32(waiter, address(word), value, flags));
    const bool held = cudaStreamQuery(waiter) == cudaErrorNotReady;
    CHECK_DRIVER(driver::cuStreamWriteValue32(writer, address(word), after, 0));
    CHECK(cudaStreamSynchronize(waiter));
    return tell(what, held);
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Streams that write words and wait for words.");
    cudaFuncAttributes attributes;
    CHECK(cudaFuncGetAttributes(&attributes, set));
    unsigned *words;
    CHECK(cudaMalloc(&words, 64));
    CHECK(cudaMemset(words, 0, 64));
    cudaStream_t waiter, writer;
    CHECK(cudaStreamCreateWithFlags(&waiter, cudaStreamNonBlocking));
    CHECK(cudaStreamCreateWithFlags(&writer, cudaStreamNonBlocking));
    CHECK(cudaDeviceSynchronize());
    bool right = true;

    // Writes.
    CHECK_DRIVER(driver::cuStreamWriteValue32(writer, address(words), 0xdecade, 0));
    right &= tell("a word is written", read(words, writer) == 0xdecade);
    CHECK_DRIVER(driver::cuStreamWriteValue64(writer, address(words + 2), 0x123456789abcdefull, 0));
    right &= tell("a word of 64 bits is written", read(words + 2, writer) == 0x89abcdef &&
                                                      read(words + 3, writer) == 0x1234567);

    // Conditions.
    right &= condition("waits for at least 5", words, waiter, writer, CU_STREAM_WAIT_VALUE_GEQ, 5,
                       4, 6);
    right &= condition("the comparison goes round the end", words, waiter, writer,
                       CU_STREAM_WAIT_VALUE_GEQ, 2, 0xffffffff, 3);
    right &= condition("waits for 9 exactly", words, waiter, writer, CU_STREAM_WAIT_VALUE_EQ, 9, 10,
                       9);
    right &= condition("waits for a bit", words, waiter, writer, CU_STREAM_WAIT_VALUE_AND, 0x10,
                       0xf, 0x30);
    right &= condition("waits for a missing bit", words, waiter, writer, CU_STREAM_WAIT_VALUE_NOR,
                       0xfffffff0, 0xf, 0xe);

    // A kernel releases a stream, whose next kernel sees what was written before.
    CHECK(cudaMemset(words, 0, 64));
    CHECK(cudaDeviceSynchronize());
    CHECK_DRIVER(driver::cuStreamWaitValue64(waiter, address(words + 4), 77, CU_STREAM_WAIT_VALUE_EQ));
    CHECK_DRIVER(driver::cuStreamWriteValue32(waiter, address(words + 6), 5, 0));
    set<<<1, 1, 0, writer>>>(words + 4, 77);
    CHECK_LAUNCH();
    right &= tell("a kernel releases a stream", read(words + 6, waiter) == 5);

    // A batch: both streams, there and back.
    CUstreamBatchMemOpParams ping[2] = {}, pong[2] = {};
    ping[0].writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
    ping[0].writeValue.address = address(words + 8);
    ping[0].writeValue.value = 1;
    ping[1].waitValue.operation = CU_STREAM_MEM_OP_WAIT_VALUE_32;
    ping[1].waitValue.address = address(words + 9);
    ping[1].waitValue.value = 2;
    ping[1].waitValue.flags = CU_STREAM_WAIT_VALUE_EQ;
    pong[0].waitValue.operation = CU_STREAM_MEM_OP_WAIT_VALUE_32;
    pong[0].waitValue.address = address(words + 8);
    pong[0].waitValue.value = 1;
    pong[0].waitValue.flags = CU_STREAM_WAIT_VALUE_EQ;
    pong[1].writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_64;
    pong[1].writeValue.address = address(words + 10);
    pong[1].writeValue.value64 = 0x500000004;
    CHECK_DRIVER(driver::cuStreamBatchMemOp(writer, 2, ping, 0));
    CHECK_DRIVER(driver::cuStreamBatchMemOp(waiter, 2, pong, 0));
    CHECK(cudaStreamSynchronize(waiter));
    right &= tell("the first stream of a batch waits for the second",
                  cudaStreamQuery(writer) == cudaErrorNotReady);
    CHECK_DRIVER(driver::cuStreamWriteValue32(waiter, address(words + 9), 2, 0));
    CHECK(cudaStreamSynchronize(writer));
    right &= tell("a batch writes and waits",
                  read(words + 8, waiter) == 1 && read(words + 10, waiter) == 4 &&
                      read(words + 11, waiter) == 5);

    // What is refused at once.
    right &= tell("a crooked address is refused",
                  driver::cuStreamWriteValue32(writer, address(words) + 2, 0, 0) ==
                      CUDA_ERROR_INVALID_VALUE);
    right &= tell("no address is refused",
                  driver::cuStreamWriteValue32(writer, 0, 0, 0) == CUDA_ERROR_INVALID_VALUE);

    CHECK(cudaStreamDestroy(waiter));
    CHECK(cudaStreamDestroy(writer));
    CHECK(cudaFree(words));
    return report("stream_memory_operations", right);
}
