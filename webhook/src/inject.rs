// SPDX-License-Identifier: Apache-2.0
//! The change to a pod that gives it a GPU: an init container that brings the client libraries, and
//! for each container what lets it find them and a backend.
//!
//! Nothing in the pod's images is needed for it: no shell, no writable root, no particular user.

use std::collections::BTreeMap;

use gvirtus_kubernetes::Policy;
use gvirtus_kubernetes::names::{
    BACKEND_GATE, BACKEND_POLICY, CONTAINER_NAME, ENABLED, ENDPOINT, FRONTEND_ALLOWED, INJECTED,
    LIBRARIES_IN_VOLUME, LIBRARY_FOLDER, LIBRARY_PATH, MIRROR, POD_FIELDS, POD_LIBRARY_PATH,
    REQUEST, RESERVED_ANNOTATIONS, SHIM_CONTAINER, SHIM_FOLDER, SHIM_VOLUME, TOKEN_AUDIENCE,
    TOKEN_FILE, TOKEN_FOLDER, TOKEN_VOLUME,
};
use json_patch::Patch;
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, Pod, PodSpec};
use serde_json::{Value, json};

use crate::patch::Editor;
use crate::paths;
use crate::refusal::Refusal;
use crate::resources;
use crate::selection::{self, Chosen};
use crate::settings::Settings;

/// How long a token for us is valid, in seconds; the kubelet renews it before.
const TOKEN_LIFETIME_S: u64 = 3600;
/// A user that owns nothing: the `nonroot` of distroless images.
const UNPRIVILEGED_USER: i64 = 65532;

/// What to change in `pod` as it is created: nothing where it does not ask for a GPU or has
/// been given one.
///
/// # Errors
/// Where the pod asks for what cannot be given, or takes a name that is needed.
pub fn inject(pod: &Value, settings: &Settings) -> Result<Option<Patch>, Refusal> {
    let parsed: Pod =
        serde_json::from_value(pod.clone()).map_err(|error| Refusal::NotAPod(error.to_string()))?;
    let labels = parsed.metadata.labels.unwrap_or_default();
    let annotations = parsed.metadata.annotations.unwrap_or_default();
    let Some(spec) = parsed.spec else {
        return Err(Refusal::NotAPod("it has no spec".into()));
    };
    // The kubelet runs a static pod from its own file; its copy here must stay a copy.
    let is_mirror = annotations.contains_key(MIRROR);
    if labels.get(ENABLED).is_none_or(|value| value != "true") || is_mirror {
        return Ok(None);
    }
    check_annotations(&annotations)?;
    if annotations.contains_key(INJECTED) {
        return check_complete(&spec).map(|()| None);
    }
    check_spec(&spec)?;
    let chosen = selection::choose(&annotations, &spec)?;
    resources::check(&spec, &chosen)?;
    let mut editor = Editor::new(pod.clone());
    // A pod that names its node is not scheduled.
    let is_gated = settings.scheduling_gate
        && spec.node_name.is_none()
        && chosen
            .iter()
            .any(|chosen| resources::asks_broker(chosen.container, settings));
    for Chosen {
        list,
        index,
        container,
    } in chosen
    {
        paths::check(container, spec.volumes.as_deref().unwrap_or_default())?;
        let index = index.to_string();
        let path = ["spec", list, &index];
        equip(&mut editor, &path, container, settings)?;
        resources::translate(&mut editor, &path, container, settings)?;
    }
    add_volumes(&mut editor);
    // Last: it moves the others.
    editor.unshift(&["spec", "initContainers"], shim_container(&spec, settings));
    let node_selector = spec.node_selector.unwrap_or_default();
    if !node_selector.contains_key(FRONTEND_ALLOWED) {
        editor.set(&["spec", "nodeSelector"], FRONTEND_ALLOWED, json!("true"));
    }
    if is_gated {
        editor.push(&["spec", "schedulingGates"], json!({"name": BACKEND_GATE}));
    }
    let marker = settings.marker();
    editor.set(&["metadata", "annotations"], INJECTED, json!(marker));
    Ok(Some(editor.into_patch()))
}

fn check_annotations(annotations: &BTreeMap<String, String>) -> Result<(), Refusal> {
    for name in RESERVED_ANNOTATIONS {
        if annotations.contains_key(name) {
            return Err(Refusal::Reserved(name));
        }
    }
    if let Some(policy) = annotations.get(BACKEND_POLICY) {
        policy.parse::<Policy>()?;
    }
    Ok(())
}

/// The marker says that the pod has been given its parts: whether it has.
fn check_complete(spec: &PodSpec) -> Result<(), Refusal> {
    let forged = |what: String| Err(Refusal::Forged(what));
    let init = spec.init_containers.as_deref().unwrap_or_default();
    if init
        .iter()
        .all(|container| container.name != SHIM_CONTAINER)
    {
        return forged(format!("the init container {SHIM_CONTAINER}"));
    }
    let volumes = spec.volumes.as_deref().unwrap_or_default();
    for name in [SHIM_VOLUME, TOKEN_VOLUME] {
        if volumes.iter().all(|volume| volume.name != name) {
            return forged(format!("the volume {name}"));
        }
    }
    Ok(())
}

fn check_spec(spec: &PodSpec) -> Result<(), Refusal> {
    if let Some(os) = &spec.os
        && os.name != "linux"
    {
        return Err(Refusal::OperatingSystem(os.name.clone()));
    }
    let node_selector = spec.node_selector.as_ref();
    if let Some(value) = node_selector.and_then(|selector| selector.get(FRONTEND_ALLOWED))
        && value != "true"
    {
        return Err(Refusal::NodeSelector(value.clone()));
    }
    for volume in spec.volumes.as_deref().unwrap_or_default() {
        if [SHIM_VOLUME, TOKEN_VOLUME].contains(&volume.name.as_str()) {
            return Err(Refusal::NameTaken {
                place: "a volume",
                name: volume.name.clone(),
            });
        }
    }
    for (_, _, container) in selection::all(spec) {
        if container.name == SHIM_CONTAINER {
            return Err(Refusal::NameTaken {
                place: "a container",
                name: container.name.clone(),
            });
        }
        let variables = container.env.as_deref().unwrap_or_default();
        if variables.iter().any(|variable| variable.name == REQUEST) {
            return Err(Refusal::RequestSet(container.name.clone()));
        }
    }
    Ok(())
}

/// Gives the container at `path` its mounts and its environment.
fn equip(
    editor: &mut Editor,
    path: &[&str],
    container: &Container,
    settings: &Settings,
) -> Result<(), Refusal> {
    let member = |name| [path, &[name]].concat();
    let mounts = member("volumeMounts");
    editor.push(
        &mounts,
        json!({"name": SHIM_VOLUME, "mountPath": SHIM_FOLDER, "readOnly": true}),
    );
    editor.push(
        &mounts,
        json!({"name": TOKEN_VOLUME, "mountPath": TOKEN_FOLDER, "readOnly": true}),
    );
    let user_mounts = container.volume_mounts.as_deref().unwrap_or_default();
    for (path, library) in paths::default_libraries() {
        // A whole folder of the user's in that place is not to be written to.
        if user_mounts
            .iter()
            .all(|mount| !paths::contains(&mount.mount_path, &path))
        {
            let source = format!("{LIBRARIES_IN_VOLUME}/{library}");
            editor.push(
                &mounts,
                json!({"name": SHIM_VOLUME, "mountPath": path, "subPath": source,
                       "readOnly": true}),
            );
        }
    }
    let env = member("env");
    let variables = container.env.as_deref().unwrap_or_default();
    prepend_library_path(editor, &env, container, variables)?;
    let has = |name: &str| variables.iter().any(|variable| variable.name == name);
    let plain = [
        (ENDPOINT, settings.endpoint.clone()),
        (TOKEN_FILE, format!("{TOKEN_FOLDER}/token")),
        (CONTAINER_NAME, container.name.clone()),
    ];
    // Only a broker may see the token.
    let asks_broker = resources::asks_broker(container, settings);
    // What the user has set stays: a container may have a backend of its own.
    for (name, value) in plain {
        if !has(name) && (asks_broker || name != TOKEN_FILE) {
            editor.push(&env, json!({"name": name, "value": value}));
        }
    }
    for (name, field) in POD_FIELDS {
        if !has(name) {
            let source = json!({"fieldRef": {"apiVersion": "v1", "fieldPath": field}});
            editor.push(&env, json!({"name": name, "valueFrom": source}));
        }
    }
    Ok(())
}

/// Puts our folder first in a list that the container has. Where it has none the image may have
/// one, which must not be lost.
fn prepend_library_path(
    editor: &mut Editor,
    env: &[&str],
    container: &Container,
    variables: &[EnvVar],
) -> Result<(), Refusal> {
    // Of several with one name the last counts.
    let last = variables
        .iter()
        .enumerate()
        .rfind(|(_, variable)| variable.name == LIBRARY_PATH);
    let Some((index, variable)) = last else {
        return Ok(());
    };
    let at = index.to_string();
    let member = |name| [env, &[at.as_str(), name]].concat();
    if variable.value_from.is_none() {
        let value = variable.value.as_deref().unwrap_or_default();
        let first = value.split(':').next();
        if first != Some(LIBRARY_FOLDER) {
            let separator = if value.is_empty() { "" } else { ":" };
            let value = format!("{LIBRARY_FOLDER}{separator}{value}");
            editor.set(&[env, &[at.as_str()]].concat(), "value", json!(value));
        }
        return Ok(());
    }
    if may_be_absent(variable) {
        return Err(Refusal::OptionalLibraryPath(container.name.clone()));
    }
    if variables.iter().any(|v| v.name == POD_LIBRARY_PATH) {
        return Err(Refusal::NameTaken {
            place: "an environment variable",
            name: POD_LIBRARY_PATH.to_owned(),
        });
    }
    editor.replace(&member("name"), json!(POD_LIBRARY_PATH));
    // The kubelet expands references to variables that stand before.
    let value = format!("{LIBRARY_FOLDER}:$({POD_LIBRARY_PATH})");
    editor.insert_at(
        env,
        index + 1,
        json!({"name": LIBRARY_PATH, "value": value}),
    );
    Ok(())
}

fn may_be_absent(variable: &EnvVar) -> bool {
    variable.value_from.as_ref().is_some_and(|source| {
        let config = source.config_map_key_ref.as_ref().and_then(|r| r.optional);
        let secret = source.secret_key_ref.as_ref().and_then(|r| r.optional);
        // A source that is newer than these types may have the same choice.
        let is_unknown = *source == EnvVarSource::default();
        is_unknown || [config, secret].contains(&Some(true))
    })
}

fn add_volumes(editor: &mut Editor) {
    let volumes = ["spec", "volumes"];
    editor.push(&volumes, json!({"name": SHIM_VOLUME, "emptyDir": {}}));
    let token = json!({"serviceAccountToken": {
        "audience": TOKEN_AUDIENCE, "expirationSeconds": TOKEN_LIFETIME_S, "path": "token"}});
    editor.push(
        &volumes,
        json!({"name": TOKEN_VOLUME, "projected": {"sources": [token]}}),
    );
}

/// Copies the libraries from its image; fits Pod Security's level "restricted".
fn shim_container(spec: &PodSpec, settings: &Settings) -> Value {
    let mut security = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "privileged": false,
        "readOnlyRootFilesystem": true,
        "runAsNonRoot": true,
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    let pod_user = spec.security_context.as_ref().and_then(|c| c.run_as_user);
    // Some clusters assign each pod a user and accept no other.
    if pod_user.is_none_or(|user| user == 0) {
        security["runAsUser"] = json!(UNPRIVILEGED_USER);
    }
    // Limits equal to requests: a pod of the class Guaranteed stays one.
    let amount = json!({"cpu": "100m", "memory": "32Mi"});
    json!({
        "name": SHIM_CONTAINER,
        "image": settings.shim_image,
        "imagePullPolicy": settings.shim_pull_policy,
        "command": ["/gvirtus-install", SHIM_FOLDER],
        "resources": {"limits": amount, "requests": amount},
        "securityContext": security,
        "volumeMounts": [{"name": SHIM_VOLUME, "mountPath": SHIM_FOLDER}],
    })
}
