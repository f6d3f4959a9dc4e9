// SPDX-License-Identifier: Apache-2.0
//! The daemon's part of the handshake: the hello, and a refusal where there is one.

use gvirtus_protocol::handshake::{
    Answer, HandshakeError, Hello, PREAMBLE_BYTES, read_client_preamble,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::limits::{HELLO_TIMEOUT, REFUSAL_TIMEOUT};

/// Why a client's hello is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum HelloError {
    /// The connection breaks.
    #[error("the connection breaks: {0}")]
    Connection(#[from] std::io::Error),
    /// The client's fault.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// Nothing, or too little, came in time.
    #[error("the client does not say who it is within {} s", HELLO_TIMEOUT.as_secs())]
    Timeout,
}

/// Reads the hello and nothing that follows it.
pub(super) async fn read_hello(stream: &mut (impl AsyncRead + Unpin)) -> Result<Hello, HelloError> {
    let hello = async {
        let mut preamble = [0; PREAMBLE_BYTES];
        stream.read_exact(&mut preamble).await?;
        let announced = read_client_preamble(&preamble)?;
        // The length is below the limit of a hello, 64 KiB.
        let mut body = vec![0; announced.length];
        stream.read_exact(&mut body).await?;
        Ok(Hello::decode(&body)?)
    };
    match tokio::time::timeout(HELLO_TIMEOUT, hello).await {
        Ok(result) => result,
        Err(_) => Err(HelloError::Timeout),
    }
}

/// Tells a client why there is no session.
pub(super) async fn refuse(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), reason: &str) {
    let message = Answer::Refusal(reason.to_owned()).encode();
    let tell = async {
        stream.write_all(&message).await?;
        stream.shutdown().await?;
        // Closing with unread bytes would make TCP discard the refusal.
        let mut rest = [0; 4096];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    // A client that does not listen need not be told.
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT, tell).await;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gvirtus_protocol::handshake::ClientIdentity;

    use super::*;

    async fn read(bytes: &[u8]) -> Result<Hello, HelloError> {
        let (mut client, mut server) = tokio::io::duplex(1 << 20);
        client.write_all(bytes).await.expect("room");
        drop(client);
        read_hello(&mut server).await
    }

    #[tokio::test]
    async fn only_a_whole_hello_is_one() {
        let hello = Hello::new(ClientIdentity::default(), Vec::new()).encode();
        assert!(read(&hello).await.is_ok());
        let short = &hello[..hello.len() - 1];
        assert!(matches!(read(short).await, Err(HelloError::Connection(_))));
        let garbage = read(&[7; 100]).await.expect_err("garbage");
        assert!(garbage.to_string().contains("does not speak this protocol"));
        let mut endless = hello;
        endless[16..24].copy_from_slice(&(1_u64 << 40).to_le_bytes());
        let error = read(&endless).await.expect_err("too long");
        assert!(error.to_string().contains("over the limit"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends() {
        let (_client, mut server) = tokio::io::duplex(64);
        let start = tokio::time::Instant::now();
        let result = read_hello(&mut server).await;
        assert!(matches!(result, Err(HelloError::Timeout)));
        assert_eq!(start.elapsed(), HELLO_TIMEOUT);

        let (_client, mut server) = tokio::io::duplex(64);
        refuse(&mut server, "no").await;
        assert!(start.elapsed() <= HELLO_TIMEOUT + REFUSAL_TIMEOUT + Duration::from_secs(1));
    }
}
