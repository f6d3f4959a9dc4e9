// SPDX-License-Identifier: Apache-2.0
//! What is asked for and not there: the containers of pods that are not scheduled for want of a
//! backend, and those whose programs wait for one.

use std::collections::HashMap;
use std::sync::Arc;

use gvirtus_kubernetes::Request;
use gvirtus_ticket::Account;
use parking_lot::Mutex;

use super::pods::Client;

/// Requests that wait.
#[derive(Debug, Default)]
pub(super) struct Unmet {
    gated: Mutex<Vec<Request>>,
    /// With the number of programs: those of a container share what it has.
    waiting: Mutex<HashMap<Arc<Account>, (Request, usize)>>,
}

impl Unmet {
    /// All containers of pods that are not scheduled.
    pub(super) fn set_gated(&self, requests: Vec<Request>) {
        *self.gated.lock() = requests;
    }

    /// One more program waits, as long as [`Self::leave`] is not called for it.
    pub(super) fn enter(&self, client: &Client) {
        let mut waiting = self.waiting.lock();
        let account = Arc::clone(&client.account);
        waiting.entry(account).or_insert((client.request, 0)).1 += 1;
    }

    /// One program less waits.
    pub(super) fn leave(&self, account: &Account) {
        let mut waiting = self.waiting.lock();
        if let Some((_, programs)) = waiting.get_mut(account) {
            *programs -= 1;
            if *programs == 0 {
                waiting.remove(account);
            }
        }
    }

    /// What all of them ask for; those first who wait to be scheduled.
    pub(super) fn requests(&self) -> Vec<Request> {
        let mut requests = self.gated.lock().clone();
        let waiting = self.waiting.lock();
        requests.extend(waiting.values().map(|(request, _)| *request));
        requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_a_container_wait_for_one_thing() {
        let client = |name: &str| Client {
            account: Arc::new(Account {
                container: name.into(),
                ..Account::default()
            }),
            request: "gpu-core=7".parse().expect("valid"),
            is_init: false,
            node: None,
        };
        let unmet = Unmet::default();
        unmet.set_gated(vec![Request::default()]);
        for name in ["a", "a", "b"] {
            unmet.enter(&client(name));
        }
        let seven = client("a").request;
        assert_eq!(unmet.requests(), [Request::default(), seven, seven]);
        unmet.leave(&client("a").account);
        assert_eq!(unmet.requests().len(), 3, "another program of it waits");
        unmet.leave(&client("a").account);
        unmet.leave(&client("a").account);
        unmet.set_gated(Vec::new());
        assert_eq!(unmet.requests(), [seven]);
    }
}
