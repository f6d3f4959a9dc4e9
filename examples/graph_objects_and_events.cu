// SPDX-License-Identifier: Apache-2.0
// What goes along with graphs: objects that live as long as a graph needs them, events that a graph
// records and waits for, attributes of kernel nodes.

#include "check.h"

#include <atomic>
#include <chrono>
#include <thread>

static std::atomic<int> destroyed{0};

static void CUDART_CB destroy(void* data) { destroyed += *static_cast<int*>(data); }

static int errors = 0;

static void expect(const char* what, long value, long expected) {
    std::printf("%s: %ld\n", what, value);
    errors += value != expected;
}

// A destructor may run a little later, on another thread.
static void expect_destroyed(const char* what, int expected) {
    for (int i = 0; i < 1000 && destroyed < expected; i++) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    expect(what, destroyed, expected);
}

__global__ void nothing() {}

static cudaGraphNode_t add_kernel(cudaGraph_t graph) {
    cudaKernelNodeParams kernel = {};
    kernel.func = (void*)nothing;
    kernel.gridDim = dim3(1);
    kernel.blockDim = dim3(1);
    cudaGraphNode_t node;
    CHECK(cudaGraphAddKernelNode(&node, graph, nullptr, 0, &kernel));
    return node;
}

static void objects() {
    static int one = 1, ten = 10;
    cudaUserObject_t first, second;
    CHECK(cudaUserObjectCreate(&first, &one, destroy, 1, cudaUserObjectNoDestructorSync));
    CHECK(cudaUserObjectCreate(&second, &ten, destroy, 2, cudaUserObjectNoDestructorSync));
    CHECK(cudaUserObjectRelease(second, 1));
    expect("kept by the program", destroyed, 0);
    cudaGraph_t graph;
    CHECK(cudaGraphCreate(&graph, 0));
    cudaGraphNode_t node;
    CHECK(cudaGraphAddEmptyNode(&node, graph, nullptr, 0));
    CHECK(cudaGraphRetainUserObject(graph, first, 1, cudaGraphUserObjectMove));
    CHECK(cudaUserObjectRelease(second, 1));
    expect_destroyed("the one that nobody keeps is gone", 10);
    cudaGraphExec_t exec;
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    CHECK(cudaGraphDestroy(graph));
    expect("kept by the executable graph", destroyed, 10);
    CHECK(cudaGraphLaunch(exec, 0));
    CHECK(cudaDeviceSynchronize());
    CHECK(cudaGraphExecDestroy(exec));
    expect_destroyed("nobody keeps anything", 11);
}

static void events() {
    cudaEvent_t begin, end;
    CHECK(cudaEventCreate(&begin));
    CHECK(cudaEventCreate(&end));
    cudaGraph_t graph;
    CHECK(cudaGraphCreate(&graph, 0));
    cudaGraphNode_t first, kernel = add_kernel(graph), last, wait;
    CHECK(cudaGraphAddEventRecordNode(&first, graph, nullptr, 0, begin));
    CHECK(cudaGraphAddEventRecordNode(&last, graph, &kernel, 1, end));
    CHECK(cudaGraphAddEventWaitNode(&wait, graph, &last, 1, begin));
    cudaEvent_t known = nullptr;
    CHECK(cudaGraphEventRecordNodeGetEvent(last, &known));
    expect("the event is known", known == end, 1);
    cudaGraphExec_t exec;
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    float time = -1;
    cudaError_t status = cudaEventElapsedTime(&time, begin, end);
    expect("not recorded yet", status == cudaErrorInvalidResourceHandle, 1);
    (void)cudaGetLastError();
    CHECK(cudaGraphLaunch(exec, 0));
    CHECK(cudaEventSynchronize(end));
    CHECK(cudaDeviceSynchronize());
    CHECK(cudaEventElapsedTime(&time, begin, end));
    expect("recorded by the graph", cudaEventQuery(begin) == cudaSuccess, 1);
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
    CHECK(cudaEventDestroy(begin));
    CHECK(cudaEventDestroy(end));
}

static void attributes() {
    cudaGraph_t graph;
    CHECK(cudaGraphCreate(&graph, 0));
    cudaGraphNode_t node = add_kernel(graph), other = add_kernel(graph);
    cudaKernelNodeAttrValue value = {};
    value.cooperative = 1;
    CHECK(cudaGraphKernelNodeSetAttribute(node, cudaKernelNodeAttributeCooperative, &value));
    CHECK(cudaGraphKernelNodeCopyAttributes(other, node));
    value = {};
    CHECK(cudaGraphKernelNodeGetAttribute(other, cudaKernelNodeAttributeCooperative, &value));
    expect("copied attribute", value.cooperative, 1);
    cudaGraphExec_t exec;
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    CHECK(cudaGraphLaunch(exec, 0));
    CHECK(cudaDeviceSynchronize());
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
}

int main(int argc, char** argv) {
    no_arguments(argc, argv, "keeps objects, records events and sets attributes with graphs");
    objects();
    events();
    attributes();
    if (errors != 0) return 1;
    std::printf("ok graph_objects_and_events\n");
    return 0;
}
