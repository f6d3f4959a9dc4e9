// SPDX-License-Identifier: Apache-2.0
//
// Events and time: an event's time is that at which its stream reaches it, not that of the call;
// queries before and after; and the errors of events that have no time.

#include "check.h"

// Waits on the device for so many nanoseconds.
__global__ void wait_ns(long long nanoseconds) {
    long long start, now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(start));
    do {
        asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    } while (now - start < nanoseconds);
}

static bool tell(const char *what, bool right) {
    std::printf("%s: %s\n", what, right ? "yes" : "no");
    return right;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "The time of work, measured by events.");
    cudaFuncAttributes attributes;
    CHECK(cudaFuncGetAttributes(&attributes, wait_ns));
    cudaStream_t stream, other;
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    CHECK(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
    cudaEvent_t start, middle, stop, beside, untimed, unrecorded;
    for (cudaEvent_t *event : {&start, &middle, &stop, &beside, &unrecorded}) {
        CHECK(cudaEventCreate(event));
    }
    CHECK(cudaEventCreateWithFlags(&untimed, cudaEventDisableTiming));
    bool right = true;
    float ms = -1;

    CHECK(cudaEventRecord(start, stream));
    wait_ns<<<1, 1, 0, stream>>>(20'000'000);
    CHECK(cudaEventRecord(middle, stream));
    wait_ns<<<1, 1, 0, stream>>>(5'000'000);
    CHECK(cudaEventRecord(stop, stream));
    CHECK(cudaEventRecord(untimed, stream));
    CHECK_LAUNCH();
    right &= tell("an event behind a running kernel is not ready",
                  cudaEventQuery(stop) == cudaErrorNotReady);
    right &= tell("nor has it a time",
                  cudaEventElapsedTime(&ms, start, stop) == cudaErrorNotReady);
    // Recorded later than `stop`, but in a stream that has nothing to do.
    CHECK(cudaEventRecord(beside, other));
    CHECK(cudaEventSynchronize(beside));
    right &= tell("another stream's event is ready meanwhile",
                  cudaEventQuery(beside) == cudaSuccess && cudaEventQuery(stop) != cudaSuccess);
    CHECK(cudaEventSynchronize(stop));
    right &= tell("after synchronising all are ready",
                  cudaEventQuery(start) == cudaSuccess && cudaEventQuery(middle) == cudaSuccess &&
                      cudaEventQuery(stop) == cudaSuccess);

    CHECK(cudaEventElapsedTime(&ms, start, middle));
    std::fprintf(stderr, "the first kernel took %.3f ms\n", ms);
    right &= tell("a kernel of 20 ms takes that long", ms >= 19.9f);
    CHECK(cudaEventElapsedTime(&ms, middle, stop));
    std::fprintf(stderr, "the second kernel took %.3f ms\n", ms);
    right &= tell("a kernel of 5 ms takes that long", ms >= 4.9f);
    CHECK(cudaEventElapsedTime(&ms, start, stop));
    right &= tell("both together take 25 ms", ms >= 24.9f);
    CHECK(cudaEventElapsedTime(&ms, stop, start));
    right &= tell("backwards the time is negative", ms <= -24.9f);
    CHECK(cudaEventElapsedTime(&ms, beside, stop));
    right &= tell("the other stream's event was earlier", ms > 0);

    right &= tell("an event without timing has none",
                  cudaEventElapsedTime(&ms, start, untimed) == cudaErrorInvalidResourceHandle);
    right &= tell("an event that was never recorded neither",
                  cudaEventElapsedTime(&ms, start, unrecorded) == cudaErrorInvalidResourceHandle);
    right &= tell("but it counts as complete", cudaEventQuery(unrecorded) == cudaSuccess);
    right &= tell("none of that stays behind", cudaGetLastError() != cudaSuccess &&
                                                   cudaGetLastError() == cudaSuccess);

    for (cudaEvent_t event : {start, middle, stop, beside, untimed, unrecorded}) {
        CHECK(cudaEventDestroy(event));
    }
    CHECK(cudaStreamDestroy(stream));
    CHECK(cudaStreamDestroy(other));
    return report("event_timing", right);
}
