// SPDX-License-Identifier: Apache-2.0
//! What is written to nodes, applied as an API server applies it.

use super::*;

const ALL: Capacity = Capacity {
    memory_mib: 2000,
    percent: 200,
    devices: 2,
};

fn node(change: impl FnOnce(&mut Value)) -> Node {
    let mut node = json!({
        "metadata": {"name": "n", "uid": "u", "labels": {FRONTEND_ALLOWED: "true"}},
        "status": {"capacity": {"cpu": "4", "nvidia.com/gpu": "1"},
                   "allocatable": {"cpu": "3", "nvidia.com/gpu": "1"}},
    });
    change(&mut node);
    serde_json::from_value(node).expect("a node")
}

fn applied(node: &Node, patch: &Value) -> Node {
    let mut value = serde_json::to_value(node).expect("a node");
    let operations: json_patch::Patch = serde_json::from_value(patch.clone()).expect("a patch");
    json_patch::patch(&mut value, &operations).expect("applies");
    serde_json::from_value(value).expect("a node")
}

/// The node after the patch that it needs, which needs no other.
fn after(node: &Node, wanted: Option<Capacity>) -> Node {
    let after = applied(node, &patch(node, wanted).expect("a patch"));
    assert_eq!(patch(&after, wanted), None, "a second patch");
    after
}

fn amounts(node: &Node, name: &str) -> [Option<String>; 2] {
    let status = node.status.as_ref().expect("a status");
    [&status.capacity, &status.allocatable]
        .map(|amounts| Some(amounts.as_ref()?.get(name)?.0.clone()))
}

fn both(text: &str) -> [Option<String>; 2] {
    [Some(text.to_owned()), Some(text.to_owned())]
}

fn pod(node: &str, spec: Value, phase: &str) -> Arc<Pod> {
    let mut pod = json!({"metadata": {"name": "p"}, "spec": spec, "status": {"phase": phase}});
    pod["spec"]["nodeName"] = json!(node);
    Arc::new(serde_json::from_value(pod).expect("a pod"))
}

fn asking(memory: &str) -> Value {
    json!({"name": "c", "resources": {"limits": {GPU_MEMORY: memory}}})
}

#[test]
fn no_name_is_counted_as_a_gpu_of_the_node() {
    let names: Vec<_> = ALL.resources().into_keys().collect();
    assert!(names.iter().all(|name| !name.ends_with("gpu")), "{names:?}");
}

#[test]
fn a_node_shows_the_sum_beside_its_own() {
    let bare = node(|node| node["status"] = json!({}));
    for before in [node(|_| {}), bare] {
        let own = amounts(&before, "cpu");
        let shown = after(&before, Some(ALL));
        assert_eq!(amounts(&shown, GPU_MEMORY), both("2k"));
        assert_eq!(amounts(&shown, GPU_CORE), both("200"));
        assert_eq!(amounts(&shown, GPU_COUNT), both("2"));
        assert_eq!(amounts(&shown, "cpu"), own);
        let gone = after(&shown, None);
        assert_eq!(amounts(&gone, GPU_MEMORY), [None, None]);
        assert_eq!(amounts(&gone, "cpu"), own);
        assert!(!gone.annotations().contains_key(ADVERTISED));
    }
}

#[test]
fn a_changed_sum_is_written() {
    let shown = after(&node(|_| {}), Some(ALL));
    let none = after(&shown, Some(Capacity::default()));
    assert_eq!(amounts(&none, GPU_MEMORY), both("0"));
    // A kubelet that was started anew has forgotten it.
    let mut value = serde_json::to_value(&shown).expect("a node");
    value["status"]["capacity"][GPU_MEMORY] = json!("0");
    let reset: Node = serde_json::from_value(value).expect("a node");
    assert_eq!(
        amounts(&after(&reset, Some(ALL)), GPU_MEMORY)[0].as_deref(),
        Some("2k")
    );
}

#[test]
fn what_others_write_is_left_alone() {
    let foreign = node(|node| node["status"]["capacity"][GPU_CORE] = json!("100"));
    assert_eq!(patch(&foreign, Some(ALL)), None);
    assert_eq!(patch(&node(|_| {}), None), None);
    // A device plugin has begun to offer one of the names.
    let mut value = serde_json::to_value(after(&node(|_| {}), Some(ALL))).expect("a node");
    for field in ["capacity", "allocatable"] {
        value["status"][field][GPU_CORE] = json!("100");
    }
    let gone = after(&serde_json::from_value(value).expect("a node"), None);
    assert_eq!(amounts(&gone, GPU_CORE), both("100"));
    assert_eq!(amounts(&gone, GPU_COUNT), [None, None]);
}

#[test]
fn a_patch_of_another_node_does_not_apply() {
    let patch = patch(&node(|_| {}), Some(ALL)).expect("a patch");
    let other = node(|node| node["metadata"]["uid"] = json!("v"));
    let mut value = serde_json::to_value(other).expect("a node");
    let patch: json_patch::Patch = serde_json::from_value(patch).expect("a patch");
    assert!(json_patch::patch(&mut value, &patch).is_err());
}

#[test]
fn nodes_of_frontends_show_it_and_no_others() {
    let plugin = json!({"containers": [{"name": "backend"}, {"name": PLUGIN}]});
    let backends = [
        pod("gpu-1", plugin, "Running"),
        pod(
            "gpu-2",
            json!({"containers": [{"name": "backend"}]}),
            "Running",
        ),
    ];
    let view = View::new(Vec::new(), &backends, &[], ALL);
    let wanted = |name: &str, label: &str, mode| {
        let node = node(|node| {
            node["metadata"]["name"] = json!(name);
            node["metadata"]["labels"][FRONTEND_ALLOWED] = json!(label);
        });
        view.wanted(&node, mode)
    };
    assert_eq!(wanted("n", "true", Mode::Advertise), Some(ALL));
    assert_eq!(wanted("gpu-2", "true", Mode::Advertise), Some(ALL));
    assert_eq!(wanted("gpu-1", "true", Mode::Advertise), None);
    assert_eq!(wanted("n", "false", Mode::Advertise), None);
    assert_eq!(wanted("n", "true", Mode::Remove), None);
}

#[test]
fn a_node_shows_no_less_than_its_pods_have() {
    let spec = json!({
        "initContainers": [asking("900"), {"name": "s", "restartPolicy": "Always",
            "resources": {"limits": {GPU_MEMORY: "100"}}}],
        "containers": [asking("1k"), asking("500"), {"name": "without"}],
    });
    let pods = [
        pod("n", spec, "Running"),
        pod("n", json!({"containers": [asking("7")]}), "Pending"),
        pod("n", json!({"containers": [asking("5k")]}), "Succeeded"),
        pod("m", json!({"containers": [asking("9k")]}), "Running"),
    ];
    let few = Capacity {
        devices: 1,
        ..Capacity::default()
    };
    let view = View::new(Vec::new(), &[], &pods, few);
    let wanted = view.wanted(&node(|_| {}), Mode::Advertise).expect("shown");
    assert_eq!((wanted.memory_mib, wanted.devices), (1607, 1));
    let init = json!({"initContainers": [asking("900")], "containers": [asking("1")]});
    let pods = [pod("n", init, "Running")];
    let view = View::new(Vec::new(), &[], &pods, few);
    let wanted = view.wanted(&node(|_| {}), Mode::Advertise).expect("shown");
    assert_eq!(wanted.memory_mib, 900);
}
