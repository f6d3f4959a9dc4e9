// SPDX-License-Identifier: Apache-2.0
//! Why a pod cannot have a GPU, and what to write instead.

use gvirtus_kubernetes::names::{
    BACKEND_POLICY, CONTAINERS, ENABLED, FRONTEND_ALLOWED, INJECTED, LIBRARY_PATH, REQUEST,
    SHIM_FOLDER,
};
use gvirtus_kubernetes::{RequestError, UnknownPolicy};
use thiserror::Error;

/// Shown to who creates the pod.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The API server would not send it.
    #[error("the object is not a pod: {0}")]
    NotAPod(String),
    /// Windows loads no shared objects.
    #[error("spec.os.name is {0:?}: GVirtuS runs on Linux only; remove the label {ENABLED}")]
    OperatingSystem(String),
    /// Names nothing.
    #[error(
        "the annotation {CONTAINERS} names no container; write names with commas between them, \
         \"*\" for all, or remove it"
    )]
    NoContainers,
    /// A name that the pod does not have.
    #[error(
        "the annotation {CONTAINERS} names {name:?}, which is no container of this pod; \
         write one or more of {known}, or \"*\" for all"
    )]
    UnknownContainer {
        /// As written.
        name: String,
        /// All that there are.
        known: String,
    },
    /// Not one of the policies.
    #[error("the annotation {BACKEND_POLICY}: {0}")]
    UnknownPolicy(#[from] UnknownPolicy),
    /// Written by a user.
    #[error("the annotation {0} is written by GVirtuS alone; remove it")]
    Reserved(&'static str),
    /// The marker on a pod that was not given its parts.
    #[error(
        "the annotation {INJECTED} is written by GVirtuS alone, and this pod lacks {0}; \
         remove the annotation"
    )]
    Forged(String),
    /// Resources that cannot be given.
    #[error("the resources of container {container:?}: {source}")]
    Resource {
        /// The container's name.
        container: String,
        /// What is wrong.
        source: RequestError,
    },
    /// Resources of a container that gets no GPU.
    #[error(
        "container {0:?} asks for resources of GVirtuS, and the annotation {CONTAINERS} leaves it \
         out; name it there, or remove the resources"
    )]
    LeftOut(String),
    /// What the webhook alone writes.
    #[error(
        "container {0:?} sets {REQUEST}, which GVirtuS alone writes; remove it, and write what \
         the container needs in resources.limits"
    )]
    RequestSet(String),
    /// A request that nobody would hold.
    #[error(
        "container {container:?} asks for {request}, and GVIRTUS_ENDPOINT is {endpoint:?}: only a \
         broker holds limits; remove one of them"
    )]
    NoBroker {
        /// The container's name.
        container: String,
        /// What it asks for.
        request: String,
        /// Where it would connect.
        endpoint: String,
    },
    /// Bound for nodes that pods with a GPU do not run on.
    #[error(
        "spec.nodeSelector says {FRONTEND_ALLOWED}: {0:?}; write \"true\" or remove it, \
         which means the same"
    )]
    NodeSelector(String),
    /// A name that we need.
    #[error("{place} is called {name:?}, a name that GVirtuS needs; give it another")]
    NameTaken {
        /// What has the name.
        place: &'static str,
        /// The name.
        name: String,
    },
    /// A path that we need.
    #[error(
        "container {container:?} mounts a volume at {path}, which GVirtuS needs; \
         mount it elsewhere, or leave the container out of the annotation {CONTAINERS}"
    )]
    PathTaken {
        /// The container's name.
        container: String,
        /// As written.
        path: String,
    },
    /// Its value may not exist, and then nothing can be put before it.
    #[error(
        "{LIBRARY_PATH} of container {0:?} comes from a key that is optional; make the key \
         required, or write the value, with {SHIM_FOLDER}/lib first"
    )]
    OptionalLibraryPath(String),
}
