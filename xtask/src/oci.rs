// SPDX-License-Identifier: Apache-2.0
//! Container images as archives in the OCI image layout, made without a daemon: `ctr image import`
//! and `skopeo copy oci-archive:` read them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use anyhow::Result;

use crate::tar::Archive;

/// What is in an image beside its files.
pub(crate) struct Image<'a> {
    /// `registry/name:tag`.
    pub(crate) name: &'a str,
    /// As OCI names it: `amd64`, `arm64`.
    pub(crate) architecture: &'a str,
    /// What is run.
    pub(crate) entrypoint: &'a [&'a str],
    /// `user:group`, as numbers.
    pub(crate) user: &'a str,
    /// Key and value of each.
    pub(crate) labels: &'a [(String, String)],
    /// Tar archives, the lowest first.
    pub(crate) layers: Vec<Vec<u8>>,
}

impl Image<'_> {
    /// The image as an archive.
    pub(crate) fn archive(self) -> Result<Vec<u8>> {
        let digests: Vec<_> = self.layers.iter().map(|layer| digest(layer)).collect();
        let tag = self.name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        let labels: BTreeMap<_, _> = self.labels.iter().cloned().collect();
        let config = json!({
            "architecture": self.architecture,
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {"User": self.user, "Entrypoint": self.entrypoint, "WorkingDir": "/",
                "Labels": labels},
            "rootfs": {"type": "layers", "diff_ids": digests},
        });
        let config = config.to_string().into_bytes();
        let layers: Vec<_> = self
            .layers
            .iter()
            .map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar", layer))
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": layers,
        });
        let manifest = manifest.to_string().into_bytes();
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
        entry["platform"] = json!({"architecture": self.architecture, "os": "linux"});
        entry["annotations"] = json!({
            "io.containerd.image.name": self.name,
            "org.opencontainers.image.ref.name": tag,
        });
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [entry],
        });
        let mut archive = Archive::default();
        archive.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        archive.file("index.json", 0o644, index.to_string().as_bytes())?;
        archive.folder("blobs", 0o755)?;
        archive.folder("blobs/sha256", 0o755)?;
        let blobs = self.layers.iter().chain([&config, &manifest]);
        let mut written = BTreeSet::new();
        for blob in blobs {
            let name = digest(blob).replace(':', "/");
            if written.insert(name.clone()) {
                archive.file(&format!("blobs/{name}"), 0o644, blob)?;
            }
        }
        Ok(archive.finish())
    }
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(blob), "size": blob.len()})
}

fn digest(blob: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(blob) {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_names_its_blobs_by_their_content() {
        let mut layer = Archive::default();
        layer.file("a", 0o644, b"b").expect("short");
        let image = || Image {
            name: "registry.example/a:1",
            architecture: "amd64",
            entrypoint: &["/a"],
            user: "1:1",
            labels: &[],
            layers: vec![b"layer".to_vec()],
        };
        let archive = image().archive().expect("made");
        assert_eq!(archive, image().archive().expect("made"));
        let text = String::from_utf8_lossy(&archive);
        // What `printf layer | sha256sum` says.
        let layer = "dac1d7cfa95021764849fd102524e141488c5e3a90f861dbb5a12d9ac8584f85";
        assert!(text.contains(&format!("blobs/sha256/{layer}")));
    }
}
