// SPDX-License-Identifier: Apache-2.0
//
// Contexts of the driver API: the primary context, contexts of one's own, the stack of a thread,
// memory and streams that belong to a context, and events behind all work of one.

#include "driver.h"

#include <thread>

DRIVER_FUNCTION(cuCtxCreate, 3020);
DRIVER_FUNCTION(cuCtxDestroy, 4000);
DRIVER_FUNCTION(cuCtxGetCurrent, 4000);
DRIVER_FUNCTION(cuCtxSetCurrent, 4000);
DRIVER_FUNCTION(cuCtxPushCurrent, 4000);
DRIVER_FUNCTION(cuCtxPopCurrent, 4000);
DRIVER_FUNCTION(cuCtxGetDevice, 2000);
DRIVER_FUNCTION(cuCtxGetFlags, 7000);
DRIVER_FUNCTION(cuCtxGetId, 12000);
DRIVER_FUNCTION(cuCtxGetApiVersion, 3020);
DRIVER_FUNCTION(cuCtxSynchronize, 2000);
DRIVER_FUNCTION(cuCtxRecordEvent, 12050);
DRIVER_FUNCTION(cuCtxWaitEvent, 12050);
DRIVER_FUNCTION(cuDeviceGet, 2000);
DRIVER_FUNCTION(cuDevicePrimaryCtxRetain, 7000);
DRIVER_FUNCTION(cuDevicePrimaryCtxRelease, 11000);
DRIVER_FUNCTION(cuDevicePrimaryCtxGetState, 7000);
DRIVER_FUNCTION(cuMemAlloc, 3020);
DRIVER_FUNCTION(cuMemFree, 3020);
DRIVER_FUNCTION(cuMemsetD32, 3020);
DRIVER_FUNCTION(cuMemsetD32Async, 3020);
DRIVER_FUNCTION(cuMemcpyDtoH, 3020);
DRIVER_FUNCTION(cuStreamCreate, 2000);
DRIVER_FUNCTION(cuStreamDestroy, 4000);
DRIVER_FUNCTION(cuStreamSynchronize, 2000);
DRIVER_FUNCTION(cuStreamGetCtx, 9020);
DRIVER_FUNCTION(cuStreamWaitValue32, 11070);
DRIVER_FUNCTION(cuStreamWriteValue32, 11070);
DRIVER_FUNCTION(cuStreamQuery, 2000);
DRIVER_FUNCTION(cuEventCreate, 2000);
DRIVER_FUNCTION(cuEventDestroy, 4000);
DRIVER_FUNCTION(cuEventQuery, 2000);
DRIVER_FUNCTION(cuEventSynchronize, 2000);

static bool tell(const char *what, bool right) {
    std::printf("%s: %s\n", what, right ? "yes" : "no");
    return right;
}

static CUcontext current() {
    CUcontext context = nullptr;
    CHECK_DRIVER(driver::cuCtxGetCurrent(&context));
    return context;
}

// Events behind all work of a context, and work of a context behind an event.
static bool context_events(CUdeviceptr word) {
    CUstream first, second, third;
    CUevent all, gate;
    CHECK_DRIVER(driver::cuStreamCreate(&first, CU_STREAM_NON_BLOCKING));
    CHECK_DRIVER(driver::cuStreamCreate(&second, CU_STREAM_NON_BLOCKING));
    CHECK_DRIVER(driver::cuEventCreate(&all, CU_EVENT_DISABLE_TIMING));
    CHECK_DRIVER(driver::cuEventCreate(&gate, CU_EVENT_DISABLE_TIMING));
    CHECK_DRIVER(driver::cuMemsetD32(word, 0, 2));
    CHECK_DRIVER(driver::cuCtxSynchronize());
    // One stream is held, the other has nothing to do.
    CHECK_DRIVER(driver::cuStreamWaitValue32(first, word, 1, CU_STREAM_WAIT_VALUE_EQ));
    CHECK_DRIVER(driver::cuCtxRecordEvent(current(), all));
    bool right = tell("an event of a context waits for all its streams",
                      driver::cuEventQuery(all) == CUDA_ERROR_NOT_READY);
    CHECK_DRIVER(driver::cuStreamWriteValue32(second, word, 1, 0));
    CHECK_DRIVER(driver::cuEventSynchronize(all));
    CHECK_DRIVER(driver::cuCtxSynchronize());
    // The event is not behind what was submitted later, but everything later is behind it.
    CHECK_DRIVER(driver::cuMemsetD32(word, 0, 2));
    CHECK_DRIVER(driver::cuCtxSynchronize());
    CHECK_DRIVER(driver::cuCtxWaitEvent(current(), all));
    CHECK_DRIVER(driver::cuStreamCreate(&third, CU_STREAM_NON_BLOCKING));
    CHECK_DRIVER(driver::cuMemsetD32Async(word + 4, 9, 1, third));
    CHECK_DRIVER(driver::cuCtxSynchronize());
    unsigned host[2];
    CHECK_DRIVER(driver::cuMemcpyDtoH(host, word, sizeof host));
    right &= tell("a context that waits for an event goes on", host[1] == 9);
    for (CUstream stream : {first, second, third}) {
        CHECK_DRIVER(driver::cuStreamDestroy(stream));
    }
    CHECK_DRIVER(driver::cuEventDestroy(all));
    CHECK_DRIVER(driver::cuEventDestroy(gate));
    return right;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Contexts of the driver API.");
    bool right = true;
    CHECK(cudaSetDevice(0));
    CUdevice device;
    CHECK_DRIVER(driver::cuDeviceGet(&device, 0));

    CUcontext primary = nullptr, retained = nullptr;
    CHECK(cudaFree(nullptr));
    primary = current();
    CHECK_DRIVER(driver::cuDevicePrimaryCtxRetain(&retained, device));
    right &= tell("the runtime uses the primary context", primary == retained);
    unsigned flags = 0;
    int active = 0;
    CHECK_DRIVER(driver::cuDevicePrimaryCtxGetState(device, &flags, &active));
    right &= tell("which is active", active == 1);

    CUcontext own, other;
    CHECK_DRIVER(driver::cuCtxCreate(&own, CU_CTX_SCHED_YIELD, device));
    right &= tell("a new context is current", current() == own);
    CHECK_DRIVER(driver::cuCtxCreate(&other, 0, device));
    unsigned long long ids[2];
    CHECK_DRIVER(driver::cuCtxGetId(own, &ids[0]));
    CHECK_DRIVER(driver::cuCtxGetId(other, &ids[1]));
    right &= tell("each context has a number of its own", ids[0] != ids[1] && own != other);
    unsigned version = 0;
    CHECK_DRIVER(driver::cuCtxGetApiVersion(own, &version));
    right &= tell("and a version of the API", version >= 3010);
    CUcontext popped;
    CHECK_DRIVER(driver::cuCtxPopCurrent(&popped));
    right &= tell("popping gives the one below", popped == other && current() == own);
    CHECK_DRIVER(driver::cuCtxGetFlags(&flags));
    right &= tell("flags are kept", (flags & CU_CTX_SCHED_MASK) == CU_CTX_SCHED_YIELD);
    CUdevice of_context;
    CHECK_DRIVER(driver::cuCtxGetDevice(&of_context));
    right &= tell("a context has a device", of_context == device);

    CUcontext elsewhere = own;
    std::thread([&] { elsewhere = current(); }).join();
    right &= tell("another thread has none current", elsewhere == nullptr);

    // A stream belongs to its context, also when another one is current.
    CUstream stream;
    CHECK_DRIVER(driver::cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CHECK_DRIVER(driver::cuCtxPushCurrent(other));
    CUcontext of_stream;
    CHECK_DRIVER(driver::cuStreamGetCtx(stream, &of_stream));
    right &= tell("a stream belongs to the context it was made in", of_stream == own);
    CHECK_DRIVER(driver::cuCtxPopCurrent(nullptr));

    CUdeviceptr memory;
    CHECK_DRIVER(driver::cuMemAlloc(&memory, 1024));
    CHECK_DRIVER(driver::cuMemsetD32(memory, 42, 256));
    unsigned value = 0;
    CHECK_DRIVER(driver::cuMemcpyDtoH(&value, memory + 1020, sizeof value));
    right &= tell("memory of a context of one's own", value == 42);
    right &= context_events(memory);

    CHECK_DRIVER(driver::cuStreamDestroy(stream));
    CHECK_DRIVER(driver::cuMemFree(memory));
    CHECK_DRIVER(driver::cuCtxDestroy(other));
    CHECK_DRIVER(driver::cuCtxDestroy(own));
    right &= tell("the primary context is current again", current() == primary);
    right &= tell("a destroyed context cannot be made current",
                  driver::cuCtxPushCurrent(own) != CUDA_SUCCESS);
    CHECK_DRIVER(driver::cuDevicePrimaryCtxRelease(device));
    CHECK(cudaFree(nullptr));
    return report("context_management", right);
}
