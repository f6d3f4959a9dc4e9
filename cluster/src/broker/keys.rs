// SPDX-License-Identifier: Apache-2.0
//! The key that signs tickets, in a Secret, and what backends need of it, in a ConfigMap.
//!
//! Who deletes the Secret gets another key; the ConfigMap keeps the old one's public part beside
//! it, for tickets that are under way, until somebody removes its line.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow, ensure};
use gvirtus_kubernetes::random;
use gvirtus_ticket::limits::KEYS_MAX;
use gvirtus_ticket::{PublicKeys, SigningKey};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tracing::info;

/// The Secret's name.
pub(super) const SECRET: &str = "gvirtus-ticket-key";
/// The ConfigMap's name.
pub(super) const CONFIG_MAP: &str = "gvirtus-ticket-keys";
/// The Secret's only member: 32 random bytes.
const SEED: &str = "seed";
/// The ConfigMap's only member: public keys, one a line.
const KEYS: &str = "keys";

/// The cluster's key; made where there is none. All that hold the Secret's name have the same.
///
/// # Errors
/// Where the API server refuses, or somebody else has written into the objects.
pub(super) async fn keys(client: Client, namespace: &str) -> Result<(SigningKey, PublicKeys)> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = match secrets
        .get_opt(SECRET)
        .await
        .context("cannot read the Secret")?
    {
        Some(secret) => secret,
        None => {
            let seed = ByteString(random::<32>()?.to_vec());
            let secret = Secret {
                metadata: metadata(SECRET),
                data: Some(BTreeMap::from([(SEED.to_owned(), seed)])),
                ..Secret::default()
            };
            let created = secrets.create(&PostParams::default(), &secret).await;
            info!(secret = SECRET, "made a key");
            created.context("cannot create the Secret")?
        }
    };
    let seed = secret.data.as_ref().and_then(|data| data.get(SEED));
    let seed = seed.and_then(|seed| seed.0.as_slice().try_into().ok());
    let seed = seed.ok_or_else(|| anyhow!("Secret {SECRET} has no {SEED} of 32 bytes"))?;
    let key = SigningKey::from_seed(seed);
    let keys = publish(client, namespace, &key).await?;
    Ok((key, keys))
}

/// Adds the key to those that backends believe, and returns them.
async fn publish(client: Client, namespace: &str, key: &SigningKey) -> Result<PublicKeys> {
    let maps: Api<ConfigMap> = Api::namespaced(client, namespace);
    let map = maps
        .get_opt(CONFIG_MAP)
        .await
        .context("cannot read the ConfigMap")?;
    let data = map.as_ref().and_then(|map| map.data.as_ref());
    let written = data
        .and_then(|data| data.get(KEYS))
        .cloned()
        .unwrap_or_default();
    let Some(text) = with_line(&written, &key.public().to_text()) else {
        return PublicKeys::parse(&written).context(CONFIG_MAP);
    };
    let keys = PublicKeys::parse(&text).context(CONFIG_MAP)?;
    let mut wanted = map.clone().unwrap_or_default();
    wanted
        .data
        .get_or_insert_default()
        .insert(KEYS.to_owned(), text);
    let parameters = PostParams::default();
    let result = if map.is_some() {
        maps.replace(CONFIG_MAP, &parameters, &wanted).await
    } else {
        wanted.metadata = metadata(CONFIG_MAP);
        maps.create(&parameters, &wanted).await
    };
    result.context("cannot write the ConfigMap")?;
    info!(config_map = CONFIG_MAP, "told backends whom to believe");
    ensure!(!keys.is_empty(), "there are no keys");
    Ok(keys)
}

/// The list with this line first; nothing where it has it.
fn with_line(list: &str, line: &str) -> Option<String> {
    let lines = || {
        list.lines()
            .map(str::trim)
            .filter(|other| !other.is_empty())
    };
    if lines().any(|other| other == line) {
        return None;
    }
    let old = lines()
        .filter(|other| !other.starts_with('#'))
        .take(KEYS_MAX - 1);
    Some(
        std::iter::once(line)
            .chain(old)
            .flat_map(|line| [line, "\n"])
            .collect(),
    )
}

fn metadata(name: &str) -> ObjectMeta {
    let labels = [
        ("app.kubernetes.io/name", "gvirtus-broker"),
        ("app.kubernetes.io/component", "broker"),
        ("app.kubernetes.io/part-of", "gvirtus"),
    ];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(labels.into()),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_stands_before_the_old_ones() {
        assert_eq!(with_line("", "b").as_deref(), Some("b\n"));
        assert_eq!(with_line("# old\n a \n\n", "b").as_deref(), Some("b\na\n"));
        assert_eq!(with_line("a\nb", "b"), None);
        let many: String = (0..100).map(|number| format!("{number}\n")).collect();
        let kept = with_line(&many, "b").expect("another");
        assert_eq!(kept.lines().count(), KEYS_MAX);
    }
}
