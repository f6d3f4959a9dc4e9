// SPDX-License-Identifier: Apache-2.0
//! Any pod in, a valid pod out, and a second application changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use gvirtus_kubernetes::{Request, names};
use gvirtus_webhook::{PullPolicy, Settings, inject};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

fn settings() -> Settings {
    Settings {
        shim_image: "registry.example/gvirtus-shim:1".into(),
        shim_pull_policy: PullPolicy::IfNotPresent,
        endpoint: "broker://gvirtus-broker.gvirtus-system:34568".into(),
        translate_resources: true,
        keep_resources: false,
        scheduling_gate: true,
    }
}

/// A variable of a container: ours, the linker's or any.
fn variable() -> impl Strategy<Value = Value> {
    let name = select(vec![
        "LD_LIBRARY_PATH",
        "GVIRTUS_ENDPOINT",
        "GVIRTUS_POD_UID",
        "PATH",
        "A",
    ]);
    let source = prop_oneof![
        Just(json!({})),
        "[a-z:/$().]{0,12}".prop_map(|value| json!({"value": value})),
        Just(json!({"valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}})),
        Just(json!({"valueFrom": {"secretKeyRef": {"name": "c", "key": "k", "optional": true}}})),
        Just(json!({"valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})),
    ];
    (name, source).prop_map(|(name, mut source)| {
        source["name"] = json!(name);
        source
    })
}

fn container(name: &'static str) -> impl Strategy<Value = Value> {
    let path = select(vec![
        "/data",
        "/opt",
        "/opt/gvirtus",
        "/opt//gvirtus/lib",
        "/usr/lib64",
        "/var/run/secrets",
        "/usr/lib64/libcuda.so.1",
    ]);
    let mounts = btree_map(path, (select(vec!["data", "config"]), any::<bool>()), 0..3);
    let resources = option::of(select(vec![
        "cpu",
        names::GPU_CORE,
        "nvidia.com/gpu",
        "gvirtus.io/other",
    ]));
    (
        vec(variable(), 0..4),
        option::of(mounts),
        resources,
        option::of(vec("[a-z $\"]{0,6}", 0..3)),
        any::<bool>(),
    )
        .prop_map(move |(env, mounts, resource, command, empty_lists)| {
            let mut container = json!({"name": name, "image": "any"});
            if !env.is_empty() || empty_lists {
                container["env"] = Value::Array(env);
            }
            if let Some(mounts) = mounts {
                let mounts = mounts.into_iter().map(|(path, (name, read_only))| {
                    json!({"name": name, "mountPath": path, "readOnly": read_only})
                });
                container["volumeMounts"] = mounts.collect();
            }
            if let Some(resource) = resource {
                container["resources"] = json!({"limits": {resource: "1", "memory": "1Gi"}});
            }
            if let Some(command) = command {
                container["command"] = json!(command);
            }
            container
        })
}

fn annotations() -> impl Strategy<Value = BTreeMap<&'static str, &'static str>> {
    let name = select(vec![
        "gvirtus.io/containers",
        "gvirtus.io/backend-policy",
        "gvirtus.io/injected",
        "gvirtus.io/backend",
        "other",
    ]);
    let value = select(vec![
        "*", "one", "one, two", "init", "", ",", "three", "random", "nearest", "fastest",
    ]);
    // Most pods have none of ours.
    prop_oneof![
        3 => Just(BTreeMap::new()),
        1 => Just(BTreeMap::from([("gvirtus.io/containers", "two,one")])),
        2 => btree_map(name, value, 0..3),
    ]
}

prop_compose! {
    fn pod()(
        annotations in option::of(annotations()),
        label in select(vec!["true", "true", "true", "false"]),
        init in option::of(vec(container("init"), 0..2)),
        one in container("one"),
        two in option::of(container("two")),
        own_volume in select(vec!["own", "own", "own", "gvirtus-shim"]),
        selector in option::of(select(vec!["true", "false"])),
        user in option::of(select(vec![0, 1000])),
        other in any::<bool>(),
    ) -> Value {
        let mut containers = vec![one];
        containers.extend(two);
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"generateName": "a-", "labels": {"gvirtus.io/enabled": label}},
            "spec": {"containers": containers, "volumes": [
                {"name": "data", "emptyDir": {}},
                {"name": "config", "configMap": {"name": "c"}},
                {"name": own_volume, "emptyDir": {}},
            ]},
        });
        if let Some(annotations) = annotations {
            pod["metadata"]["annotations"] = json!(annotations);
        }
        if let Some(init) = init {
            pod["spec"]["initContainers"] = json!(init);
        }
        if let Some(selector) = selector {
            pod["spec"]["nodeSelector"] = json!({"gvirtus.io/frontend.allowed": selector});
        }
        if let Some(user) = user {
            pod["spec"]["securityContext"] = json!({"runAsUser": user});
        }
        if other {
            // A field that this version of the API does not know yet.
            pod["spec"]["fieldOfTheFuture"] = json!({"a": [1]});
        }
        pod
    }
}

fn parse(pod: &Value) -> (Pod, PodSpec) {
    let pod: Pod = serde_json::from_value(pod.clone()).expect("a pod");
    let spec = pod.spec.clone().expect("a spec");
    (pod, spec)
}

fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers
        .iter()
        .flatten()
        .chain(&spec.containers)
}

/// What the API server checks of the parts that were written.
fn assert_valid(spec: &PodSpec) {
    let mut names = BTreeSet::new();
    let volumes: Vec<_> = spec.volumes.iter().flatten().map(|v| &v.name).collect();
    assert_eq!(volumes.iter().collect::<BTreeSet<_>>().len(), volumes.len());
    for container in containers(spec) {
        assert!(names.insert(&container.name), "{} twice", container.name);
        let mut paths = BTreeSet::new();
        for mount in container.volume_mounts.iter().flatten() {
            assert!(
                paths.insert(&mount.mount_path),
                "{} twice",
                mount.mount_path
            );
            assert!(volumes.contains(&&mount.name), "no volume {}", mount.name);
        }
        for variable in container.env.iter().flatten() {
            assert!(variable.value.is_none() || variable.value_from.is_none());
        }
    }
}

/// The last value of a variable.
fn value<'a>(container: &'a Container, name: &str) -> Option<&'a str> {
    let mut variables = container.env.iter().flatten();
    let last = variables.rfind(|variable| variable.name == name)?;
    last.value.as_deref()
}

/// One that was chosen has its library and its endpoint, and keeps what it had.
fn assert_equipped(before: &Container, after: &Container) {
    let has_mount = after
        .volume_mounts
        .iter()
        .flatten()
        .any(|mount| mount.mount_path == names::SHIM_FOLDER && mount.read_only == Some(true));
    assert!(has_mount);
    let endpoint = value(before, names::ENDPOINT).map_or_else(|| settings().endpoint, Into::into);
    let was_set = before
        .env
        .iter()
        .flatten()
        .any(|v| v.name == names::ENDPOINT);
    if !was_set || value(before, names::ENDPOINT).is_some() {
        assert_eq!(value(after, names::ENDPOINT), Some(endpoint.as_str()));
    }
    let list = value(after, names::LIBRARY_PATH);
    match value(before, names::LIBRARY_PATH) {
        Some(own) => {
            let list = list.expect("kept");
            assert!(
                list.starts_with(names::LIBRARY_FOLDER) && list.ends_with(own),
                "{list}"
            );
        }
        None => assert!(list.is_none_or(|list| list.starts_with(names::LIBRARY_FOLDER))),
    }
    for mount in before.volume_mounts.iter().flatten() {
        assert!(after.volume_mounts.iter().flatten().any(|m| m == mount));
    }
    assert_eq!(before.command, after.command);
    assert_translated(before, after);
}

/// Resources of ours are gone, all others are there, and the broker is told the same.
fn assert_translated(before: &Container, after: &Container) {
    let limits = |container: &Container| {
        let resources = container.resources.clone();
        resources
            .and_then(|resources| resources.limits)
            .unwrap_or_default()
    };
    let mut rest = limits(before);
    rest.retain(|name, _| !name.starts_with(names::RESOURCE_PREFIX));
    assert_eq!(limits(after), rest);
    let asked = Request::from_resources(before).expect("accepted");
    assert_eq!(Request::of_container(after), Ok(asked));
    let written = after
        .env
        .iter()
        .flatten()
        .filter(|v| v.name == names::REQUEST);
    assert_eq!(written.count(), usize::from(!asked.is_empty()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_comes_out_is_valid_and_stays_as_it_is(pod in pod()) {
        let Ok(Some(patch)) = inject(&pod, &settings()) else {
            return Ok(());
        };
        let mut after = pod.clone();
        json_patch::patch(&mut after, &patch).expect("the patch applies");
        prop_assert_eq!(inject(&after, &settings()), Ok(None));
        prop_assert_eq!(&after["spec"]["fieldOfTheFuture"], &pod["spec"]["fieldOfTheFuture"]);
        let ((_, before), (_, spec)) = (parse(&pod), parse(&after));
        assert_valid(&spec);
        prop_assert_eq!(&containers(&spec).next().expect("one").name, names::SHIM_CONTAINER);
        let selector = spec.node_selector.expect("a selector");
        prop_assert_eq!(&selector[names::FRONTEND_ALLOWED], "true");
        let before: Vec<_> = containers(&before).collect();
        let asks = |container: &&&Container| {
            Request::from_resources(container).is_ok_and(|request| !request.is_empty())
        };
        let asking: Vec<_> = before.iter().filter(asks).map(|c| c.name.as_str()).collect();
        let asking = if asking.is_empty() { "*".into() } else { asking.join(",") };
        let chosen = pod["metadata"]["annotations"][names::CONTAINERS].as_str();
        let chosen = chosen.unwrap_or(&asking);
        let own = |c: &&&Container| c.env.iter().flatten().any(|v| v.name == names::ENDPOINT);
        let is_chosen = |c: &&&Container| chosen == "*" || chosen.contains(&c.name);
        if before.iter().filter(is_chosen).any(|c| !own(&c)) {
            let gates = spec.scheduling_gates.iter().flatten();
            prop_assert_eq!(gates.filter(|g| g.name == names::BACKEND_GATE).count(), 1);
        }
        let spec = PodSpec { init_containers: spec.init_containers, containers: spec.containers,
            ..PodSpec::default() };
        let after: Vec<_> = containers(&spec).skip(1).collect();
        prop_assert_eq!(before.len(), after.len());
        for (before, after) in before.into_iter().zip(after) {
            prop_assert_eq!(&before.name, &after.name);
            if chosen == "*" || chosen.contains(&before.name) {
                assert_equipped(before, after);
            } else {
                prop_assert_eq!(before, after);
            }
        }
    }

    #[test]
    fn resources_stay_where_nodes_advertise_them(pod in pod()) {
        let settings = Settings { keep_resources: true, ..settings() };
        let Ok(Some(patch)) = inject(&pod, &settings) else {
            return Ok(());
        };
        let mut after = pod.clone();
        json_patch::patch(&mut after, &patch).expect("the patch applies");
        prop_assert_eq!(inject(&after, &settings), Ok(None));
        let ((_, before), (_, after)) = (parse(&pod), parse(&after));
        let after: Vec<_> = containers(&after).skip(1).collect();
        for (before, after) in containers(&before).zip(after) {
            prop_assert_eq!(&before.resources, &after.resources);
            prop_assert_eq!(Request::of_container(after), Request::from_resources(before));
        }
    }

    #[test]
    fn a_pod_without_the_label_is_left_alone(mut pod in pod()) {
        pod["metadata"]["labels"] = json!({"gvirtus.io/enabled": "yes"});
        prop_assert_eq!(inject(&pod, &settings()), Ok(None));
    }
}

#[test]
fn enough_of_the_pods_made_up_here_are_accepted() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let accepted = (0..1000)
        .filter(|_| {
            let pod = pod().new_tree(&mut runner).expect("a pod").current();
            matches!(inject(&pod, &settings()), Ok(Some(_)))
        })
        .count();
    assert!(accepted > 50, "{accepted} of 1000");
}
