// SPDX-License-Identifier: Apache-2.0
//! A JSON Patch that is written one operation at a time, and what it makes of the object.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation};
use serde_json::{Map, Value};

/// Operations, each applied as soon as it is written, so that the next can see what is there.
#[derive(Debug)]
pub(crate) struct Editor {
    object: Value,
    operations: Vec<PatchOperation>,
}

impl Editor {
    pub(crate) fn new(object: Value) -> Self {
        Self {
            object,
            operations: Vec::new(),
        }
    }

    pub(crate) fn into_patch(self) -> Patch {
        Patch(self.operations)
    }

    /// Adds a member to the object at `parent`, which is made where it is absent.
    pub(crate) fn set(&mut self, parent: &[&str], name: &str, value: Value) {
        if self.at(parent).is_some_and(Value::is_object) {
            let mut path = parent.to_vec();
            path.push(name);
            self.add(&path, value);
        } else {
            let object = Map::from_iter([(name.to_owned(), value)]);
            self.add(parent, Value::Object(object));
        }
    }

    /// Puts `value` at the end of the array at `parent`, which is made where it is absent.
    pub(crate) fn push(&mut self, parent: &[&str], value: Value) {
        self.insert(parent, "-", value);
    }

    /// Puts `value` before the first element of the array at `parent`, which is made where it is
    /// absent.
    pub(crate) fn unshift(&mut self, parent: &[&str], value: Value) {
        self.insert(parent, "0", value);
    }

    /// Puts `value` before the element with this index, or after the last, of the array.
    pub(crate) fn insert_at(&mut self, parent: &[&str], index: usize, value: Value) {
        let index = index.to_string();
        self.add(&[parent, &[index.as_str()]].concat(), value);
    }

    /// Removes what stands at `path`.
    pub(crate) fn remove(&mut self, path: &[&str]) {
        let path = PointerBuf::from_tokens(path.iter().copied());
        self.apply(PatchOperation::Remove(RemoveOperation { path }));
    }

    /// Replaces what stands at `path`.
    pub(crate) fn replace(&mut self, path: &[&str], value: Value) {
        let operation = PatchOperation::Replace(ReplaceOperation {
            path: PointerBuf::from_tokens(path.iter().copied()),
            value,
        });
        self.apply(operation);
    }

    fn insert(&mut self, parent: &[&str], position: &str, value: Value) {
        let has_elements = self
            .at(parent)
            .and_then(Value::as_array)
            .is_some_and(|array| !array.is_empty());
        if has_elements {
            let mut path = parent.to_vec();
            path.push(position);
            self.add(&path, value);
        } else {
            self.add(parent, Value::Array(vec![value]));
        }
    }

    fn add(&mut self, path: &[&str], value: Value) {
        let operation = PatchOperation::Add(AddOperation {
            path: PointerBuf::from_tokens(path.iter().copied()),
            value,
        });
        self.apply(operation);
    }

    fn apply(&mut self, operation: PatchOperation) {
        json_patch::patch(&mut self.object, std::slice::from_ref(&operation))
            .expect("the parents of what is written were seen to be there");
        self.operations.push(operation);
    }

    /// What stands at `path` now.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(&self.object, |value, token| {
            if let Value::Array(array) = value {
                array.get(token.parse::<usize>().ok()?)
            } else {
                value.get(token)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parents_are_made_and_tokens_escaped() {
        let before = json!({"metadata": {"annotations": null}, "list": []});
        let mut editor = Editor::new(before.clone());
        editor.set(&["metadata", "annotations"], "a/b~c", json!("d"));
        editor.set(&["metadata", "annotations"], "e", json!("f"));
        editor.push(&["list"], json!(2));
        editor.unshift(&["list"], json!(1));
        editor.unshift(&["other"], json!(3));
        editor.replace(&["list", "1"], json!(4));
        editor.push(&["list"], json!(5));
        editor.remove(&["list", "2"]);
        let after = json!({
            "metadata": {"annotations": {"a/b~c": "d", "e": "f"}}, "list": [1, 4], "other": [3],
        });
        assert_eq!(editor.object, after);
        let mut again = before;
        json_patch::patch(&mut again, &editor.into_patch()).expect("applies");
        assert_eq!(again, after);
    }
}
