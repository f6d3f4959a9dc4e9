// SPDX-License-Identifier: Apache-2.0
pub(crate) fn environment() -> crate::config::Environment {
    crate::config::Environment::default()
}
