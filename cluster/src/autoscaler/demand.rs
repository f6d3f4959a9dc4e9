// SPDX-License-Identifier: Apache-2.0
//! How many more backends those who wait need: a pure function.

use gvirtus_kubernetes::{Policy, Request};

use crate::broker::ledger::Shape;
use crate::placement::{BackendId, Choice, Demand, choose};

/// The number of backends like those in `shapes` that the requests fill beside those that are
/// `open`, at most `most`.
///
/// What fits into an open one waits for something else; what no shape could hold waits in vain.
/// Neither counts. Where no backend was ever seen one is enough: it shows what they are like.
pub fn missing(requests: &[Request], open: Vec<Shape>, shapes: &[Shape], most: usize) -> usize {
    if shapes.is_empty() {
        return usize::from(!requests.is_empty()).min(most);
    }
    let before = open.len();
    let mut backends = open;
    for request in requests {
        if let Some(choice) = place(&backends, request) {
            let chosen = backends.iter_mut();
            for backend in chosen.filter(|other| other.backend.id == choice.backend) {
                backend.take(&choice.share);
            }
            continue;
        }
        let place_in = |shape: &Shape| place(std::slice::from_ref(shape), request);
        let fitting = shapes
            .iter()
            .find_map(|shape| Some((shape, place_in(shape)?)));
        let Some((shape, choice)) = fitting else {
            continue;
        };
        if backends.len() - before == most {
            break;
        }
        let mut new = shape.clone();
        new.backend.id = BackendId::from(format!("new-{}", backends.len()).as_str());
        new.take(&choice.share);
        backends.push(new);
    }
    backends.len() - before
}

fn place(backends: &[Shape], request: &Request) -> Option<Choice> {
    let demand = Demand {
        request: *request,
        policy: Policy::Binpack,
        ..Demand::default()
    };
    choose(backends.iter().map(|shape| &shape.backend), &demand, 0).ok()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn requests(texts: &[&str]) -> Vec<Request> {
        let parse = |text: &&str| match *text {
            "" => Request::default(),
            text => text.parse().expect(text),
        };
        texts.iter().map(parse).collect()
    }

    /// One device of 8 GiB, and two of 16 GiB.
    fn shapes() -> Vec<Shape> {
        vec![
            Shape::new([8 * GIB].into_iter(), Some(3)),
            Shape::new([16 * GIB; 2].into_iter(), None),
        ]
    }

    #[test]
    fn shares_fill_a_backend_before_the_next() {
        let needed = |texts: &[&str]| missing(&requests(texts), Vec::new(), &shapes(), 10);
        assert_eq!(needed(&[]), 0);
        assert_eq!(needed(&["gpu-memory=4096"; 2]), 1);
        assert_eq!(needed(&["gpu-memory=4096"; 3]), 2);
        assert_eq!(needed(&["gpu-core=60", "gpu-core=40", "gpu-core=1"]), 2);
        assert_eq!(needed(&["gpu-count=1"; 3]), 3);
        assert_eq!(needed(&["gpu-count=2", "gpu-memory=1024"]), 2);
        assert_eq!(needed(&[""; 3]), 1, "as many as have sessions");
        assert_eq!(needed(&[""; 4]), 2);
    }

    #[test]
    fn what_no_backend_could_hold_needs_none() {
        let needed = |texts: &[&str]| missing(&requests(texts), Vec::new(), &shapes(), 10);
        assert_eq!(needed(&["gpu-memory=32768", "gpu-count=3"]), 0);
        assert_eq!(needed(&["gpu-memory=32768", "gpu-memory=16384"]), 1);
    }

    #[test]
    fn what_fits_into_an_open_backend_waits_for_something_else() {
        let needed = |texts: &[&str]| {
            let open = vec![Shape::new([8 * GIB].into_iter(), Some(3))];
            missing(&requests(texts), open, &shapes(), 10)
        };
        assert_eq!(needed(&["gpu-memory=4096"; 2]), 0);
        assert_eq!(needed(&["gpu-memory=4096"; 3]), 1);
        assert_eq!(needed(&["gpu-count=2"]), 1);
    }

    #[test]
    fn one_shows_what_backends_are_like() {
        assert_eq!(
            missing(&requests(&["gpu-count=3"; 5]), Vec::new(), &[], 10),
            1
        );
        assert_eq!(
            missing(&requests(&["gpu-count=3"; 5]), Vec::new(), &[], 0),
            0
        );
        assert_eq!(missing(&[], Vec::new(), &[], 10), 0);
    }

    proptest! {
        #[test]
        fn so_many_backends_hold_all(
            texts in vec(select(vec!["", "gpu-memory=3000", "gpu-core=30", "gpu-count=2"]), 0..40),
        ) {
            let requests = requests(&texts);
            let shapes = [Shape::new([8 * GIB; 2].into_iter(), Some(5))];
            let missing = |requests: &[_], most| missing(requests, Vec::new(), &shapes, most);
            let number = missing(&requests, usize::MAX);
            prop_assert!(number <= requests.len());
            prop_assert_eq!(missing(&requests, 2), number.min(2));
            if let Some((_, fewer)) = requests.split_last() {
                let least = missing(fewer, usize::MAX);
                prop_assert!(least == number || least + 1 == number);
            }
        }
    }
}
