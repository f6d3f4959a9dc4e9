// SPDX-License-Identifier: Apache-2.0
// Copies of graphs, the same node in the copy, and edges that are added and removed.

#include "check.h"

#include <vector>

#if CUDART_VERSION >= 13000
#define NO_DATA nullptr,
#else
#define NO_DATA
#endif

static int errors = 0;

static void expect(const char* what, long value, long expected) {
    std::printf("%s: %ld\n", what, value);
    errors += value != expected;
}

static void expect_error(const char* what, cudaError_t status, cudaError_t expected) {
    std::printf("%s: %s\n", what, cudaGetErrorName(status));
    errors += status != expected;
    (void)cudaGetLastError();
}

static size_t edges(cudaGraph_t graph) {
    size_t count = 0;
    CHECK(cudaGraphGetEdges(graph, nullptr, nullptr, NO_DATA & count));
    return count;
}

int main(int argc, char** argv) {
    no_arguments(argc, argv, "clones graphs and changes edges");
    cudaGraph_t graph, clone;
    CHECK(cudaGraphCreate(&graph, 0));
    std::vector<cudaGraphNode_t> nodes(4);
    for (auto& node : nodes) CHECK(cudaGraphAddEmptyNode(&node, graph, nullptr, 0));
    // A diamond: 0 before 1 and 2, both before 3.
    cudaGraphNode_t from[] = {nodes[0], nodes[0], nodes[1], nodes[2]};
    cudaGraphNode_t to[] = {nodes[1], nodes[2], nodes[3], nodes[3]};
    CHECK(cudaGraphAddDependencies(graph, from, to, NO_DATA 4));
    expect("edges", long(edges(graph)), 4);
    expect_error("an edge twice", cudaGraphAddDependencies(graph, from, to, NO_DATA 1),
                 cudaErrorInvalidValue);

    size_t count = 0;
    CHECK(cudaGraphNodeGetDependencies(nodes[3], nullptr, NO_DATA & count));
    expect("before the last", long(count), 2);
    CHECK(cudaGraphNodeGetDependentNodes(nodes[0], nullptr, NO_DATA & count));
    expect("after the first", long(count), 2);
    std::vector<cudaGraphNode_t> room(5, nodes[0]);
    count = room.size();
    CHECK(cudaGraphGetNodes(graph, room.data(), &count));
    expect("of five places filled", long(count), 4);
    expect("the last place is cleared", room[4] == nullptr, 1);

    CHECK(cudaGraphClone(&clone, graph));
    cudaGraphNode_t same;
    CHECK(cudaGraphNodeFindInClone(&same, nodes[1], clone));
    expect("a node of its own", same != nodes[1], 1);
    expect_error("a node that is not of the original",
                 cudaGraphNodeFindInClone(&same, same, clone), cudaErrorInvalidValue);
    expect("edges of the clone", long(edges(clone)), 4);

    CHECK(cudaGraphRemoveDependencies(graph, from, to, NO_DATA 2));
    expect("edges left", long(edges(graph)), 2);
    expect_error("an edge that is gone",
                 cudaGraphRemoveDependencies(graph, from, to, NO_DATA 1), cudaErrorInvalidValue);
    expect("edges of the clone", long(edges(clone)), 4);
    CHECK(cudaGraphGetRootNodes(graph, nullptr, &count));
    expect("roots", long(count), 3);
    CHECK(cudaGraphDestroyNode(nodes[3]));
    expect("edges without the last node", long(edges(graph)), 0);

    // Nodes that wait for each other cannot be executed.
    cudaGraphNode_t round_from[] = {nodes[0], nodes[1]}, round_to[] = {nodes[1], nodes[0]};
    CHECK(cudaGraphAddDependencies(graph, round_from, round_to, NO_DATA 2));
    cudaGraphExec_t exec;
    cudaError_t status = cudaGraphInstantiate(&exec, graph, 0);
    expect("a cycle is refused", status != cudaSuccess, 1);
    (void)cudaGetLastError();
    CHECK(cudaGraphInstantiate(&exec, clone, 0));
    CHECK(cudaGraphLaunch(exec, 0));
    CHECK(cudaDeviceSynchronize());
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(clone));
    CHECK(cudaGraphDestroy(graph));
    if (errors != 0) return 1;
    std::printf("ok graph_clone_and_edges\n");
    return 0;
}
