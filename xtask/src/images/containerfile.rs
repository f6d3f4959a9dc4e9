// SPDX-License-Identifier: Apache-2.0
//! Holds `images/Containerfile` to the table of images.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::table::{IMAGES, USER, labels};

const TEXT: &str = include_str!("../../../images/Containerfile");
/// The stage that builds.
const BUILD: &str = "build";

/// A stage with what it has of the one that it is made from.
#[derive(Clone, Debug, Default)]
struct Stage {
    instructions: Vec<(String, String)>,
}

impl Stage {
    fn all(&self, keyword: &str) -> Vec<&str> {
        let of_keyword = self.instructions.iter().filter(|(k, _)| k == keyword);
        of_keyword.map(|(_, text)| text.as_str()).collect()
    }
}

/// The stages by name.
fn stages(text: &str) -> BTreeMap<String, Stage> {
    let joined = text.replace("\\\n", " ");
    let mut stages: BTreeMap<String, Stage> = BTreeMap::new();
    let mut current = None;
    for line in joined.lines().map(str::trim) {
        let Some((keyword, rest)) = line.split_once(' ') else {
            continue;
        };
        if keyword == "FROM" {
            let words: Vec<_> = rest.split(' ').filter(|w| !w.starts_with("--")).collect();
            let [from, "AS", name] = words[..] else {
                panic!("a stage without a name: {line}");
            };
            let parent = stages.get(from).cloned();
            assert!(
                parent.is_some() || from == "scratch" || name == BUILD,
                "{name} is made from {from}"
            );
            stages.insert(name.to_owned(), parent.unwrap_or_default());
            current = Some(name.to_owned());
        } else if let Some(name) = &current
            && keyword != "#"
        {
            let stage = stages.get_mut(name).expect("it was begun");
            let rest = rest.split_whitespace().collect::<Vec<_>>().join(" ");
            stage.instructions.push((keyword.to_owned(), rest));
        }
    }
    stages
}

#[test]
fn its_stages_are_the_images_of_the_table() {
    let mut stages = stages(TEXT);
    let build = stages.remove(BUILD).expect("a stage that builds");
    let made = build.all("RUN").join(" ");
    assert!(made.contains("cargo xtask images --folders /images --architecture"));
    stages.remove("base").expect("what all have in common");
    for image in IMAGES {
        let name = image.name;
        let stage = stages
            .remove(name)
            .unwrap_or_else(|| panic!("there is no stage {name}"));
        assert_eq!(stage.all("USER"), [USER], "{name}");
        assert_eq!(stage.all("WORKDIR"), ["/"], "{name}");
        // The whole root: what is in it is the table's matter.
        let copied = format!("--from={BUILD} /images/{name}/ /");
        assert_eq!(stage.all("COPY"), [copied], "{name}");
        let entrypoints = stage.all("ENTRYPOINT").into_iter();
        let entrypoints: Vec<Value> = entrypoints
            .map(|text| serde_json::from_str(text).expect("not for a shell"))
            .collect();
        assert_eq!(entrypoints, [json!([image.entrypoint])], "{name}");
        let said = stage.all("LABEL").join(" ");
        for (key, value) in labels(name, image.about) {
            let label = format!("{key}={}", json!(value));
            assert!(said.contains(&label), "{name} lacks {label}");
        }
        for keyword in ["RUN", "ADD", "CMD", "ENV", "VOLUME", "EXPOSE"] {
            assert!(stage.all(keyword).is_empty(), "{name} has {keyword}");
        }
    }
    assert!(stages.is_empty(), "not in the table: {:?}", stages.keys());
}

#[test]
fn a_stage_has_what_the_one_before_it_has() {
    let stages = stages("FROM scratch AS a\nUSER 1\nFROM a AS b\nLABEL c=\"d\" \\\n  e=\"f\"\n");
    assert_eq!(stages["b"].all("USER"), ["1"]);
    assert_eq!(stages["b"].all("LABEL"), ["c=\"d\" e=\"f\""]);
    assert!(stages["a"].all("LABEL").is_empty());
}
