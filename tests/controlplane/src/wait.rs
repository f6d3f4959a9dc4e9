// SPDX-License-Identifier: Apache-2.0
//! Waiting for what another program does.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const POLL: Duration = Duration::from_millis(100);

/// Asks again and again until the answer is yes.
pub(crate) async fn until<F, A>(what: &str, limit: Duration, mut ask: F) -> Result<()>
where
    F: FnMut() -> A,
    A: Future<Output = Result<bool>>,
{
    let start = Instant::now();
    while !ask().await? {
        if start.elapsed() > limit {
            bail!("after {} s not yet: {what}", limit.as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
