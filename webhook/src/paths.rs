// SPDX-License-Identifier: Apache-2.0
//! Whether a container's own volumes leave room for ours.

use k8s_openapi::api::core::v1::{Container, Volume, VolumeMount};

use gvirtus_kubernetes::names::{LIBRARIES, LINKER_FOLDERS, SHIM_FOLDER, TOKEN_FOLDER};

use crate::refusal::Refusal;

/// Refuses a mount in our places, and one around them in which the container runtime could not
/// make them.
pub(crate) fn check(container: &Container, volumes: &[Volume]) -> Result<(), Refusal> {
    for mount in container.volume_mounts.as_deref().unwrap_or_default() {
        let path = &mount.mount_path;
        let folders = [SHIM_FOLDER, TOKEN_FOLDER];
        let inside = folders.iter().any(|folder| contains(folder, path));
        let around = folders.iter().any(|folder| contains(path, folder));
        let library = default_libraries().any(|(file, _)| contains(&file, path));
        if inside || library || (around && is_read_only(mount, volumes)) {
            return Err(Refusal::PathTaken {
                container: container.name.clone(),
                path: path.clone(),
            });
        }
    }
    Ok(())
}

/// The paths in which dynamic linkers find our libraries, with the libraries' names.
pub(crate) fn default_libraries() -> impl Iterator<Item = (String, &'static str)> {
    let folders = LINKER_FOLDERS.into_iter();
    folders.flat_map(|folder| LIBRARIES.map(|library| (format!("{folder}/{library}"), library)))
}

/// Whether `path` is `folder` or lies in it.
pub(crate) fn contains(folder: &str, path: &str) -> bool {
    let parts = |path| str::split(path, '/').filter(|part| !part.is_empty() && *part != ".");
    let mut rest = parts(path);
    parts(folder).all(|part| rest.next() == Some(part))
}

fn is_read_only(mount: &VolumeMount, volumes: &[Volume]) -> bool {
    let is_read_only_kind = |volume: &Volume| {
        volume.config_map.is_some()
            || volume.downward_api.is_some()
            || volume.image.is_some()
            || volume.projected.is_some()
            || volume.secret.is_some()
    };
    mount.read_only == Some(true)
        || volumes
            .iter()
            .any(|volume| volume.name == mount.name && is_read_only_kind(volume))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_by_their_parts() {
        assert!(contains("/opt/gvirtus", "/opt//gvirtus/"));
        assert!(contains("/opt/gvirtus", "/opt/./gvirtus/lib"));
        assert!(contains("/", "/opt"));
        assert!(!contains("/opt/gvirtus", "/opt/gvirtus2"));
        assert!(!contains("/opt/gvirtus", "/opt"));
    }
}
