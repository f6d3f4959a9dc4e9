// SPDX-License-Identifier: Apache-2.0
//! Labels, annotations, environment variables and paths that users and other parts see.
//!
//! Labels and the names of the objects in the cluster are those of gvirtus-kai.

/// Label of a pod that shall have a GPU, and of nothing else; its value is `true`.
pub const ENABLED: &str = "gvirtus.io/enabled";
/// Label of the nodes on which pods with a remote GPU may run; its value is `true`.
pub const FRONTEND_ALLOWED: &str = "gvirtus.io/frontend.allowed";
/// Label of the nodes on which backends run; its value is `true`.
pub const BACKEND_ALLOWED: &str = "gvirtus.io/backend.allowed";

/// Annotation: the containers that shall have a GPU, as a list with commas, or `*`.
pub const CONTAINERS: &str = "gvirtus.io/containers";
/// Annotation: how a backend is chosen.
pub const BACKEND_POLICY: &str = "gvirtus.io/backend-policy";
/// Annotation, written by the webhook alone: which settings a pod was given.
pub const INJECTED: &str = "gvirtus.io/injected";
/// Annotations that would look as if GVirtuS had written them.
pub const RESERVED_ANNOTATIONS: [&str; 7] = [
    "gvirtus.io/assigned-at",
    "gvirtus.io/backend",
    "gvirtus.io/backend-node",
    "gvirtus.io/devices",
    "gvirtus.io/quota",
    "gvirtus.io/request",
    "gvirtus.io/session",
];
/// Annotation of the kubelet's copy of a static pod.
pub const MIRROR: &str = "kubernetes.io/config.mirror";

/// How our resources begin.
pub const RESOURCE_PREFIX: &str = "gvirtus.io/";
/// Resource: memory of each device, in MiB.
pub const GPU_MEMORY: &str = "gvirtus.io/gpu-memory";
/// Resource: compute time of each device, in percent.
pub const GPU_CORE: &str = "gvirtus.io/gpu-core";
/// Resource: number of devices; whole ones where neither of the others is given. Its name must not
/// end in `gpu`: schedulers count every such resource as a GPU of the node.
pub const GPU_COUNT: &str = "gvirtus.io/gpu-count";
/// The gate that holds a pod's scheduling until a backend has room for it.
pub const BACKEND_GATE: &str = "gvirtus.io/backend";

/// The init container that copies the libraries.
pub const SHIM_CONTAINER: &str = "gvirtus-shim";
/// The volume into which it copies them.
pub const SHIM_VOLUME: &str = "gvirtus-shim";
/// The volume of the service account's token for us.
pub const TOKEN_VOLUME: &str = "gvirtus-token";

/// Where containers see the shim volume.
pub const SHIM_FOLDER: &str = "/opt/gvirtus";
/// The folder with `libcuda.so.1` in a container.
pub const LIBRARY_FOLDER: &str = "/opt/gvirtus/lib";
/// The folder of the libraries within the shim volume.
pub const LIBRARIES_IN_VOLUME: &str = "lib";
/// What programs load by name: CUDA's driver API and NVML.
pub const LIBRARIES: [&str; 2] = ["libcuda.so.1", "libnvidia-ml.so.1"];
/// Where dynamic linkers look without being told: Debian's and Red Hat's folders. The libraries
/// are mounted there as files, because an image's own `LD_LIBRARY_PATH`, which the webhook cannot
/// read, would be lost if the pod set one.
pub const LINKER_FOLDERS: [&str; 3] = [
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib64",
];
/// Where containers see the token.
pub const TOKEN_FOLDER: &str = "/var/run/secrets/gvirtus.io";
/// Whom the token is for.
pub const TOKEN_AUDIENCE: &str = "gvirtus";

/// The dynamic linker's list of folders.
pub const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";
/// Takes the place of a container's `LD_LIBRARY_PATH` whose value the cluster computes.
pub const POD_LIBRARY_PATH: &str = "GVIRTUS_POD_LD_LIBRARY_PATH";
/// Where the client library finds a backend.
pub const ENDPOINT: &str = "GVIRTUS_ENDPOINT";
/// How an endpoint begins that names a broker, which names a backend.
pub const BROKER_SCHEME: &str = "broker://";
/// The token's path.
pub const TOKEN_FILE: &str = "GVIRTUS_TOKEN_FILE";
/// What the container may have, as [`crate::Request`] writes it; set by the webhook alone.
pub const REQUEST: &str = "GVIRTUS_REQUEST";
/// The container's name.
pub const CONTAINER_NAME: &str = "GVIRTUS_CONTAINER_NAME";
/// Variables that tell what pod this is, and the fields that they come from.
pub const POD_FIELDS: [(&str, &str); 4] = [
    ("GVIRTUS_NODE_NAME", "spec.nodeName"),
    ("GVIRTUS_POD_NAME", "metadata.name"),
    ("GVIRTUS_POD_NAMESPACE", "metadata.namespace"),
    ("GVIRTUS_POD_UID", "metadata.uid"),
];
