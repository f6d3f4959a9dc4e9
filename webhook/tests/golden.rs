// SPDX-License-Identifier: Apache-2.0
//! AdmissionReviews as an API server sends them, and the answers.
//!
//! `GVIRTUS_UPDATE_GOLDEN=1` writes the answers anew.

use std::fs;
use std::path::Path;

use gvirtus_webhook::{PullPolicy, Settings, answer};
use serde_json::Value;

fn settings() -> Settings {
    Settings {
        shim_image: "registry.example/gvirtus-shim:1".into(),
        shim_pull_policy: PullPolicy::IfNotPresent,
        endpoint: "broker://gvirtus-broker.gvirtus-system.svc:34568".into(),
        translate_resources: true,
        keep_resources: false,
        scheduling_gate: true,
    }
}

/// The answer, with its patch as JSON rather than base64 of it.
fn readable_answer(request: &[u8]) -> Value {
    let (review, _) = answer(request, &settings());
    let patch = review.response.as_ref().and_then(|r| r.patch.clone());
    let mut value = serde_json::to_value(&review).expect("serialises");
    if let Some(patch) = patch {
        value["response"]["patch"] = serde_json::from_slice(&patch).expect("a patch is JSON");
    }
    value
}

#[test]
fn answers_are_as_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let update = std::env::var_os("GVIRTUS_UPDATE_GOLDEN").is_some();
    let mut number = 0;
    for entry in fs::read_dir(&folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        let Some(name) = path.to_str().and_then(|p| p.strip_suffix(".request.json")) else {
            continue;
        };
        let got = readable_answer(&fs::read(&path).expect("readable"));
        let recorded = format!("{name}.response.json");
        if update {
            let text = serde_json::to_string_pretty(&got).expect("serialises");
            fs::write(&recorded, text + "\n").expect("writable");
        }
        let text = fs::read_to_string(&recorded).unwrap_or_else(|e| panic!("{recorded}: {e}"));
        let expected: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(got, expected, "{name}");
        number += 1;
    }
    assert!(number >= 8, "{number} reviews");
}
