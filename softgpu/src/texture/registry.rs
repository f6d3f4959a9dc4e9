// SPDX-License-Identifier: Apache-2.0
//! What the numbers mean that kernels hold: texture and surface objects by their handles, and
//! references by the addresses of their variables.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use parking_lot::RwLock;

use super::sampler::Texture;
use super::surface::Surface;

/// Something that a kernel can name.
#[derive(Clone)]
pub(crate) enum Object {
    Texture(Arc<Texture>),
    Surface(Arc<Surface>),
}

static OBJECTS: LazyLock<RwLock<HashMap<u64, Object>>> = LazyLock::new(RwLock::default);

/// Gives a number a meaning, instead of any it had.
pub(crate) fn insert(number: u64, object: Object) {
    OBJECTS.write().insert(number, object);
}

/// Takes a number's meaning away.
pub(crate) fn remove(number: u64) {
    OBJECTS.write().remove(&number);
}

pub(crate) fn find(number: u64) -> Option<Object> {
    OBJECTS.read().get(&number).cloned()
}
