// SPDX-License-Identifier: Apache-2.0
//! The answer to an `AdmissionReview`.

use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview, Operation};
use serde_json::Value;

use crate::inject::inject;
use crate::settings::Settings;

/// What was decided, for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// The pod was given a patch.
    Patched,
    /// There was nothing to do.
    Unchanged,
    /// The pod was refused.
    Refused,
    /// The request was no review of a pod.
    Invalid,
}

impl Outcome {
    /// As a metric's label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Patched => "patched",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::Invalid => "invalid",
        }
    }
}

/// Answers a review. It is the same for a dry run: nothing but the answer depends on it.
pub fn answer(body: &[u8], settings: &Settings) -> (AdmissionReview<DynamicObject>, Outcome) {
    let request = serde_json::from_slice::<AdmissionReview<DynamicObject>>(body)
        .map_err(|error| error.to_string())
        .and_then(|review| {
            let request: Result<AdmissionRequest<DynamicObject>, _> = review.try_into();
            request.map_err(|error| error.to_string())
        });
    match request {
        Ok(request) => {
            let (response, outcome) = decide(&request, settings);
            (response.into_review(), outcome)
        }
        Err(error) => {
            let response = AdmissionResponse::invalid(format!("not an AdmissionReview: {error}"));
            (response.into_review(), Outcome::Invalid)
        }
    }
}

fn decide(
    request: &AdmissionRequest<DynamicObject>,
    settings: &Settings,
) -> (AdmissionResponse, Outcome) {
    let response = AdmissionResponse::from(request);
    // The environment of a pod cannot change once it is there.
    let is_new_pod = request.operation == Operation::Create
        && request.kind.kind == "Pod"
        && request.sub_resource.is_none();
    let Some(object) = request.object.as_ref().filter(|_| is_new_pod) else {
        return (response, Outcome::Unchanged);
    };
    let pod = serde_json::to_value(object).unwrap_or(Value::Null);
    match inject(&pod, settings) {
        Ok(None) => (response, Outcome::Unchanged),
        Ok(Some(patch)) => match response.with_patch(patch) {
            Ok(response) => (response, Outcome::Patched),
            Err(error) => {
                let response = AdmissionResponse::from(request).deny(error);
                (response, Outcome::Invalid)
            }
        },
        Err(refusal) => (response.deny(refusal), Outcome::Refused),
    }
}
