// SPDX-License-Identifier: Apache-2.0
//! What is in each image. `images/Containerfile` is held to it.

/// What stands before each name.
pub(crate) const PREFIX: &str = "gvirtus-";
/// The user that owns nothing, as in distroless images.
pub(crate) const USER: &str = "65532:65532";
const LICENCES: &str = "Apache-2.0";
/// Libraries that NVIDIA's driver asks for, although they are empty in a new C library.
const DRIVER_NEEDS: &[&str] = &["libdl.so.2", "libpthread.so.0", "librt.so.1"];

/// An image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Definition {
    /// Without [`PREFIX`].
    pub(crate) name: &'static str,
    /// What it is for.
    pub(crate) about: &'static str,
    /// What is run.
    pub(crate) entrypoint: &'static str,
    /// Where each of its programs and libraries is, and which it is.
    pub(crate) files: &'static [(&'static str, Source)],
    /// Whether it has the C library that its programs are linked to, and what else of the system.
    pub(crate) system: Option<&'static [&'static str]>,
}

/// Something that is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The program of a package.
    Program(&'static str),
    /// The program of a package, linked to no library.
    Static(&'static str),
    /// Our `libcuda.so.1`.
    Driver,
    /// Our `libnvidia-ml.so.1`.
    Management,
    /// The device in software.
    Softgpu,
    /// A folder with our `libcudart.so` of each release.
    Runtimes,
}

/// Those that the chart names.
pub(crate) const IMAGES: [Definition; 5] = [
    Definition {
        name: "backend",
        about: "Executes the CUDA calls of remote programs",
        entrypoint: "/usr/bin/gvirtus",
        files: &[
            ("/usr/bin/gvirtus", Source::Program("gvirtus")),
            ("/usr/lib/gvirtus/softgpu/libcuda.so.1", Source::Softgpu),
        ],
        system: Some(DRIVER_NEEDS),
    },
    Definition {
        name: "shim",
        about: "Brings the client libraries into a pod",
        entrypoint: "/gvirtus-install",
        files: &[
            ("/gvirtus-install", Source::Static("gvirtus-install")),
            ("/libraries/lib/libcuda.so.1", Source::Driver),
            ("/libraries/lib/libnvidia-ml.so.1", Source::Management),
            ("/libraries/cudart", Source::Runtimes),
        ],
        system: None,
    },
    Definition {
        name: "webhook",
        about: "Gives labelled pods what their CUDA programs need",
        entrypoint: "/usr/bin/gvirtus-webhook",
        files: &[(
            "/usr/bin/gvirtus-webhook",
            Source::Program("gvirtus-webhook"),
        )],
        system: Some(&[]),
    },
    Definition {
        name: "cluster",
        about: "Broker and labeler",
        entrypoint: "/usr/bin/gvirtus-cluster",
        files: &[(
            "/usr/bin/gvirtus-cluster",
            Source::Program("gvirtus-cluster"),
        )],
        system: Some(&[]),
    },
    Definition {
        name: "device-plugin",
        about: "Offers parts of a backend's GPUs to the kubelet",
        entrypoint: "/usr/bin/gvirtus-device-plugin",
        files: &[(
            "/usr/bin/gvirtus-device-plugin",
            Source::Program("gvirtus-device-plugin"),
        )],
        system: Some(&[]),
    },
];

impl Definition {
    /// The packages of its programs that are linked as all others are.
    pub(crate) fn packages(&self) -> impl Iterator<Item = &'static str> {
        self.files.iter().filter_map(|(_, source)| match source {
            Source::Program(package) => Some(*package),
            _ => None,
        })
    }
}

/// The labels of an image, by OCI's names.
pub(crate) fn labels(name: &str, about: &str) -> [(String, String); 3] {
    let label = |key: &str, value: &str| {
        let key = format!("org.opencontainers.image.{key}");
        (key, value.to_owned())
    };
    [
        label("title", &format!("{PREFIX}{name}")),
        label("description", about),
        label("licenses", LICENCES),
    ]
}
