// SPDX-License-Identifier: Apache-2.0

use std::sync::Arc;
use std::time::{Duration, Instant};

use gvirtus_kubernetes::Request;
use gvirtus_kubernetes::names::{BACKEND_GATE, ENABLED, ENDPOINT};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::look::{self, LEASED, Shadows, Standing};
use super::manifest::{self, Ask};
use super::work::Task;
use super::{Kai, Note, lost};
use crate::broker::pods;
use crate::limits::{SHADOW_PARTLY, SHADOW_PAUSE, SHADOW_PAUSE_MAX, SHADOW_ROOM};

fn kai() -> Kai {
    Kai {
        image: "registry.example/cluster:1".into(),
        scheduler: "kai-scheduler".into(),
    }
}

/// A frontend with a container for each request.
fn frontend(requests: &[&str], change: impl FnOnce(&mut Value)) -> Arc<Pod> {
    let containers = requests.iter().enumerate().map(|(number, request)| {
        let mut env = vec![json!({"name": ENDPOINT, "value": "broker://b:1"})];
        if !request.is_empty() {
            env.push(json!({"name": "GVIRTUS_REQUEST", "value": request}));
        }
        json!({"name": format!("c{number}"), "env": env})
    });
    let mut pod = json!({
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {
            ENABLED: "true", "kai.scheduler/queue": "team", "priorityClassName": "train",
            "app": "theirs"}},
        "spec": {
            "schedulerName": "kai-scheduler",
            "priorityClassName": "high",
            "imagePullSecrets": [{"name": "registry"}],
            "schedulingGates": [{"name": BACKEND_GATE}],
            "containers": containers.collect::<Vec<_>>(),
        },
        "status": {"phase": "Pending"},
    });
    change(&mut pod);
    Arc::new(serde_json::from_value(pod).expect("a pod"))
}

/// The shadow of a container, as the API server would have it after a change.
fn shadow(pod: &Pod, number: usize, change: impl FnOnce(&mut Value)) -> Arc<Pod> {
    let client = &pods::clients(pod).expect("valid")[number];
    let shadow = manifest::shadow(pod, client, &kai(), &[]).expect("a pod");
    let mut shadow = serde_json::to_value(shadow).expect("JSON");
    change(&mut shadow);
    Arc::new(serde_json::from_value(shadow).expect("a pod"))
}

fn at(node: &str) -> impl FnOnce(&mut Value) {
    move |shadow| shadow["spec"]["nodeName"] = json!(node)
}

fn standings(pod: &Pod, shadows: &[Arc<Pod>]) -> Vec<Standing> {
    let clients = pods::clients(pod).expect("valid");
    let standings = clients.iter().map(|client| {
        let name = manifest::name(pod, &client.account.container);
        let shadow = shadows.iter().find(|shadow| shadow.name_any() == name);
        look::standing(shadow.map(|shadow| &**shadow), client)
    });
    standings.collect()
}

#[test]
fn kai_is_asked_for_what_the_container_has() {
    for (request, annotations, whole) in [
        ("gpu-memory=1024", json!({"gpu-memory": "1024"}), None),
        ("gpu-core=5", json!({"gpu-fraction": "0.05"}), None),
        (
            "gpu-count=2,gpu-core=50",
            json!({"gpu-fraction": "0.50", "gpu-fraction-num-devices": "2"}),
            None,
        ),
        ("gpu-memory=7,gpu-core=50", json!({"gpu-memory": "7"}), None),
        ("gpu-count=3", Value::Null, Some("3")),
        ("gpu-core=100", Value::Null, Some("1")),
        ("", Value::Null, Some("1")),
    ] {
        let pod = frontend(&[request], |_| {});
        let shadow = serde_json::to_value(&*shadow(&pod, 0, |_| {})).expect("JSON");
        let made = &shadow["metadata"]["annotations"];
        let is_empty = made.as_object().is_none_or(serde_json::Map::is_empty);
        assert!(
            *made == annotations || annotations.is_null() && is_empty,
            "{request}: {made}"
        );
        let limits = &shadow["spec"]["containers"][0]["resources"]["limits"];
        assert_eq!(limits["nvidia.com/gpu"].as_str(), whole, "{request}");
    }
}

#[test]
fn a_shadow_counts_where_its_frontend_does_and_is_none_itself() {
    let pod = frontend(&["gpu-memory=7"], |_| {});
    let shadow = shadow(&pod, 0, |_| {});
    let labels = shadow.labels();
    assert_eq!(labels["kai.scheduler/queue"], "team");
    assert_eq!(labels["priorityClassName"], "train");
    assert_eq!(labels["gvirtus.io/shadow-of"], "u");
    assert!(
        !labels.contains_key(ENABLED) && !labels.contains_key("app"),
        "{labels:?}"
    );
    assert_eq!(shadow.namespace().as_deref(), Some("n"));
    assert_eq!(shadow.owner_references()[0].uid, "u");
    let spec = serde_json::to_value(&shadow.spec).expect("JSON");
    assert_eq!(spec["schedulerName"], "kai-scheduler");
    assert_eq!(spec["priorityClassName"], "high");
    assert_eq!(spec["imagePullSecrets"][0]["name"], "registry");
    assert_eq!(spec["nodeSelector"]["gvirtus.io/backend.allowed"], "true");
    assert_eq!(spec["containers"][0]["args"], json!(["wait"]));
}

#[test]
fn names_are_those_of_the_container_and_within_their_limit() {
    let long = "a".repeat(253);
    let pod = frontend(&["", ""], |pod| pod["metadata"]["name"] = json!(long));
    let names = ["c0", "c1"].map(|container| manifest::name(&pod, container));
    assert!(names[0] != names[1] && names[0] == manifest::name(&pod, "c0"));
    assert!(
        names[0].len() <= 253 && names[0].starts_with("aaa"),
        "{}",
        names[0]
    );
}

#[test]
fn tolerations_are_those_of_backends() {
    let backend = frontend(&[], |pod| {
        pod["spec"]["tolerations"] = json!([
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists"},
            {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
            {"key": "team", "operator": "Exists"}]);
    });
    let all = manifest::tolerations([&*backend, &*backend].into_iter());
    let keys: Vec<_> = all
        .iter()
        .filter_map(|toleration| toleration.key.as_deref())
        .collect();
    assert_eq!(keys, ["nvidia.com/gpu", "team"]);
}

#[test]
fn a_shadow_tells_how_it_stands() {
    let pod = frontend(&["gpu-memory=7"], |_| {});
    let one = |change: &dyn Fn(&mut Value)| standings(&pod, &[shadow(&pod, 0, change)]).remove(0);
    assert_eq!(standings(&pod, &[]), [Standing::Missing]);
    assert_eq!(one(&|_| {}), Standing::Waits);
    assert_eq!(
        one(&|shadow| shadow["spec"]["nodeName"] = json!("gpu-1")),
        Standing::Placed("gpu-1".into())
    );
    assert_eq!(
        one(&|shadow| {
            shadow["spec"]["nodeName"] = json!("gpu-1");
            shadow["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }),
        Standing::Going
    );
    assert_eq!(
        one(&|shadow| shadow["status"] = json!({"phase": "Failed", "reason": "Evicted"})),
        Standing::Ended("Evicted".into())
    );
    assert_eq!(
        one(&|shadow| shadow["metadata"]["annotations"]["gpu-memory"] = json!("1")),
        Standing::Changed
    );
}

#[test]
fn what_kai_says_of_a_shadow_is_told() {
    let pod = frontend(&["gpu-memory=7"], |_| {});
    let said = |status: &str| {
        let shadow = shadow(&pod, 0, |shadow| {
            shadow["status"] = json!({"conditions": [
                {"type": "PodScheduled", "status": status, "message": "queue is over its limit"}]});
        });
        look::refusal(&shadow).map(str::to_owned)
    };
    assert_eq!(said("False").as_deref(), Some("queue is over its limit"));
    assert_eq!(said("True"), None);
}

#[test]
fn shadows_belong_to_one_pod_of_their_own_namespace() {
    let pod = frontend(&["", ""], |_| {});
    let stranger = shadow(&pod, 0, |shadow| {
        shadow["metadata"]["namespace"] = json!("other")
    });
    let all = vec![stranger, shadow(&pod, 0, |_| {}), shadow(&pod, 1, |_| {})];
    let mut shadows = Shadows::new(all);
    assert_eq!(shadows.take(&pod).len(), 2);
    assert!(shadows.take(&pod).is_empty());
    assert_eq!(shadows.rest().count(), 1);
}

#[test]
fn who_loses_a_shadow_while_it_runs_is_ended() {
    let pod = frontend(&["gpu-memory=7", "gpu-memory=9"], |_| {});
    let clients = pods::clients(&pod).expect("valid");
    let first = shadow(&pod, 0, at("gpu-1"));
    let both = [Arc::clone(&first), shadow(&pod, 1, at("gpu-2"))];
    let lost = |shadows: &[Arc<Pod>]| lost(&pod, &clients, standings(&pod, shadows).into_iter());
    assert!(lost(&both).is_none());
    // Who changes its annotations by hand has what he had.
    let changed = shadow(&pod, 0, |shadow| {
        shadow["metadata"]["annotations"]["gpu-memory"] = json!("1");
    });
    assert!(lost(&[changed, Arc::clone(&both[1])]).is_none());
    let Some(Task::End {
        shadow: name, why, ..
    }) = lost(&[first])
    else {
        panic!("the second one was not missed");
    };
    assert_eq!(name, both[1].name_any());
    assert!(why.contains("does not exist"), "{why}");
}

#[test]
fn an_init_container_that_has_completed_needs_no_shadow() {
    let with_init = |state: Value| {
        frontend(&[], |pod| {
            let env = json!([{"name": ENDPOINT, "value": "broker://b:1"}]);
            pod["spec"]["initContainers"] = json!([{"name": "init", "env": env}]);
            pod["status"]["initContainerStatuses"] = json!([{"name": "init", "state": state,
                "image": "", "imageID": "", "ready": true, "restartCount": 0}]);
        })
    };
    for (state, completed) in [
        (json!({"running": {}}), false),
        (json!({"terminated": {"exitCode": 1}}), false),
        (json!({"terminated": {"exitCode": 0}}), true),
    ] {
        let pod = with_init(state);
        let client = &pods::clients(&pod).expect("valid")[0];
        assert_eq!(look::has_completed(&pod, client), completed);
    }
}

#[test]
fn the_mark_of_a_lease_is_a_toleration() {
    let pod = frontend(&[""], |_| {});
    assert!(!look::is_leased(&pod));
    let pod = frontend(&[""], |pod| {
        pod["spec"]["tolerations"] = json!([{"key": LEASED, "operator": "Exists"}]);
    });
    assert!(look::is_leased(&pod));
}

#[test]
fn pods_that_hold_what_others_need_let_it_go() {
    let start = Instant::now();
    let mut note = Note::default();
    let partly = [Standing::Placed("a".into()), Standing::Waits];
    assert_eq!(note.look(&partly, start), None);
    assert_eq!(note.look(&partly, start + SHADOW_PARTLY / 2), None);
    let reason = note
        .look(&partly, start + SHADOW_PARTLY)
        .expect("long enough");
    assert!(reason.contains("1 of its 2"), "{reason}");
    // Waiting for all of them holds nobody up.
    let mut note = Note::default();
    let none = [Standing::Waits, Standing::Waits];
    assert_eq!(note.look(&none, start), None);
    assert_eq!(note.look(&none, start + SHADOW_PARTLY * 2), None);
}

#[test]
fn a_shadow_where_there_is_no_room_goes_and_comes_again() {
    let start = Instant::now();
    let placed = [Standing::Placed("a".into())];
    let mut note = Note {
        without_room: Some((start, "full".into())),
        ..Note::default()
    };
    assert_eq!(note.look(&placed, start), None);
    let now = start + SHADOW_ROOM;
    let reason = note.look(&placed, now).expect("long enough");
    assert_eq!(reason, "full");
    note.rest(reason, now, 1);
    assert_eq!(note.look(&[Standing::Missing], now), None);
    let until = |note: &Note| {
        note.pause
            .as_ref()
            .map(|(until, _)| *until)
            .expect("a pause")
    };
    let first = until(&note) - now;
    assert!(
        first >= SHADOW_PAUSE && first < SHADOW_PAUSE * 2,
        "{first:?}"
    );
    let again = until(&note);
    assert_eq!(note.look(&[Standing::Missing], again), None);
    assert!(note.pause.is_none());
    for seed in 0..40 {
        note.rest("full".into(), again, seed);
    }
    let last = until(&note) - again;
    assert!(
        last >= SHADOW_PAUSE_MAX && last < SHADOW_PAUSE_MAX * 2,
        "{last:?}"
    );
}

#[test]
fn a_shadow_that_fails_is_not_made_again_at_once() {
    let mut note = Note::default();
    let ended = [Standing::Ended("UnexpectedAdmissionError".into())];
    let reason = note.look(&ended, Instant::now()).expect("a reason");
    assert!(reason.contains("UnexpectedAdmissionError"), "{reason}");
    assert!(
        note.look(
            &[Standing::Changed],
            Instant::now() + Duration::from_secs(1)
        )
        .is_some()
    );
}

#[test]
fn what_is_made_is_what_is_wanted() {
    for request in ["", "gpu-core=100", "gpu-count=2,gpu-memory=7", "gpu-core=1"] {
        let pod = frontend(&[request], |_| {});
        let request = if request.is_empty() {
            Request::default()
        } else {
            request.parse().expect("valid")
        };
        assert!(
            Ask::new(&request).is_of(&shadow(&pod, 0, |_| {})),
            "{request}"
        );
        let other: Request = "gpu-count=9,gpu-core=3".parse().expect("valid");
        assert!(
            !Ask::new(&other).is_of(&shadow(&pod, 0, |_| {})),
            "{request}"
        );
    }
}
