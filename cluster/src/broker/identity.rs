// SPDX-License-Identifier: Apache-2.0
//! Whose token a client shows, as the API server says.

use std::collections::HashMap;
use std::time::Instant;

use gvirtus_kubernetes::names::TOKEN_AUDIENCE;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::PostParams;
use kube::{Api, Client};
use parking_lot::Mutex;
use thiserror::Error;

use crate::limits;

const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// The pod that a token belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bearer {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Its UID.
    pub pod_uid: String,
}

/// Why a token belongs to no pod.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum TokenError {
    /// There is none.
    #[error(
        "no token is shown; the broker is for pods with the label gvirtus.io/enabled: \"true\""
    )]
    Absent,
    /// Not one of the cluster, or no longer, or for somebody else.
    #[error("the token is not valid: {0}")]
    Invalid(String),
    /// A token without a pod.
    #[error("the token belongs to no pod")]
    NoPod,
    /// The API server could not be asked; it may answer later.
    #[error("the API server does not say whose token it is: {0}")]
    Unknown(String),
}

/// When the API server was asked, and what it said.
type Known = (Instant, Result<Bearer, TokenError>);

/// Asks the API server, and remembers its answers for a moment.
#[derive(Debug)]
pub(super) struct Reviewer {
    reviews: Api<TokenReview>,
    known: Mutex<HashMap<[u8; 32], Known>>,
}

impl Reviewer {
    /// Asks with the rights of `client`.
    pub(super) fn new(client: Client) -> Self {
        Self {
            reviews: Api::all(client),
            known: Mutex::default(),
        }
    }

    /// Whose the token is.
    ///
    /// # Errors
    /// Where it is nobody's; [`TokenError::Unknown`] where that cannot be told now.
    pub(super) async fn review(&self, token: &[u8]) -> Result<Bearer, TokenError> {
        let text = std::str::from_utf8(token)
            .map(str::trim)
            .unwrap_or_default();
        if text.is_empty() {
            return Err(TokenError::Absent);
        }
        if text.len() > limits::TOKEN_BYTES {
            return Err(TokenError::Invalid("it is too long".into()));
        }
        // The token itself is not kept.
        let hash = *blake3::hash(text.as_bytes()).as_bytes();
        let known = self.known.lock().get(&hash).cloned();
        if let Some((when, answer)) = known
            && when.elapsed() < limits::TOKEN_CACHE
        {
            return answer;
        }
        let answer = self.ask(text).await;
        if !matches!(answer, Err(TokenError::Unknown(_))) {
            let mut known = self.known.lock();
            if known.len() >= limits::TOKENS {
                known.retain(|_, (when, _)| when.elapsed() < limits::TOKEN_CACHE);
            }
            if known.len() < limits::TOKENS {
                known.insert(hash, (Instant::now(), answer.clone()));
            }
        }
        answer
    }

    async fn ask(&self, token: &str) -> Result<Bearer, TokenError> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                audiences: Some(vec![TOKEN_AUDIENCE.into()]),
                token: Some(token.to_owned()),
            },
            ..TokenReview::default()
        };
        let parameters = PostParams::default();
        let answer = self.reviews.create(&parameters, &review);
        match tokio::time::timeout(limits::API_REQUEST, answer).await {
            Ok(Ok(review)) => bearer(&review.status.unwrap_or_default()),
            Ok(Err(error)) => Err(TokenError::Unknown(error.to_string())),
            Err(_) => Err(TokenError::Unknown("it does not answer".into())),
        }
    }
}

fn bearer(status: &TokenReviewStatus) -> Result<Bearer, TokenError> {
    if status.authenticated != Some(true) {
        let error = status.error.clone().filter(|error| !error.is_empty());
        let error = error.unwrap_or_else(|| "the API server does not know it".into());
        return Err(TokenError::Invalid(error));
    }
    // An authenticator that does not look at audiences answers without them.
    let audiences = status.audiences.as_deref().unwrap_or_default();
    if !audiences.iter().any(|audience| audience == TOKEN_AUDIENCE) {
        return Err(TokenError::Invalid(format!(
            "it is not for {TOKEN_AUDIENCE:?}"
        )));
    }
    let user = status.user.as_ref().ok_or(TokenError::NoPod)?;
    let name = user.username.as_deref().unwrap_or_default();
    let account = name.strip_prefix("system:serviceaccount:");
    let (namespace, _) = account
        .and_then(|name| name.split_once(':'))
        .ok_or(TokenError::NoPod)?;
    let extra = |name: &str| {
        let values = user.extra.as_ref().and_then(|extra| extra.get(name));
        match values.map(Vec::as_slice) {
            Some([value]) if !value.is_empty() => Ok(value.clone()),
            _ => Err(TokenError::NoPod),
        }
    };
    Ok(Bearer {
        namespace: namespace.to_owned(),
        pod: extra(POD_NAME)?,
        pod_uid: extra(POD_UID)?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(change: impl FnOnce(&mut Value)) -> Result<Bearer, TokenError> {
        let mut status = json!({
            "authenticated": true, "audiences": ["gvirtus"],
            "user": {"username": "system:serviceaccount:team:default",
                     "extra": {POD_NAME: ["train"], POD_UID: ["u-1"]}},
        });
        change(&mut status);
        bearer(&serde_json::from_value(status).expect("a status"))
    }

    #[test]
    fn only_the_token_of_a_pod_for_us_is_believed() {
        let bearer = read(|_| {}).expect("valid");
        assert_eq!(
            (&*bearer.namespace, &*bearer.pod, &*bearer.pod_uid),
            ("team", "train", "u-1")
        );
        let invalid = read(|status| status["authenticated"] = json!(false));
        assert!(matches!(invalid, Err(TokenError::Invalid(_))));
        for audiences in [json!(null), json!(["https://kubernetes.default.svc"])] {
            let other = read(|status| status["audiences"] = audiences);
            assert!(matches!(other, Err(TokenError::Invalid(_))));
        }
        let user = read(|status| status["user"]["username"] = json!("system:admin"));
        assert_eq!(user, Err(TokenError::NoPod));
        let unbound = read(|status| status["user"]["extra"] = json!({}));
        assert_eq!(unbound, Err(TokenError::NoPod));
    }
}
