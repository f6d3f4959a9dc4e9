// SPDX-License-Identifier: Apache-2.0
//! The handshake's messages over asynchronous streams.

use std::io;

use gvirtus_protocol::handshake::{
    Answer, HandshakeError, Hello, PREAMBLE_BYTES, read_client_preamble, read_server_preamble,
};
use gvirtus_protocol::status::{LENGTH_BYTES, Picture, QUESTION, StatusError};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Why there is no message.
#[derive(Debug, Error)]
pub enum WireError {
    /// The connection.
    #[error("the connection: {0}")]
    Io(#[from] io::Error),
    /// The handshake.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The status.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// Neither a welcome nor a refusal.
    #[error("the backend answers as a broker would")]
    NoBackend,
}

/// Reads what a client opens with.
///
/// # Errors
/// Where it is no hello of this release.
pub async fn read_hello(stream: &mut (impl AsyncRead + Unpin)) -> Result<Hello, WireError> {
    let mut preamble = [0; PREAMBLE_BYTES];
    stream.read_exact(&mut preamble).await?;
    let announced = read_client_preamble(&preamble)?;
    let mut body = vec![0; announced.length];
    stream.read_exact(&mut body).await?;
    Ok(Hello::decode(&body)?)
}

/// Opens a connection and reads the first answer.
///
/// # Errors
/// Where there is none.
pub async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    hello: &Hello,
) -> Result<Answer, WireError> {
    stream.write_all(&hello.encode()).await?;
    read_answer(stream).await
}

/// Reads an answer.
///
/// # Errors
/// Where there is none.
pub async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> Result<Answer, WireError> {
    let mut preamble = [0; PREAMBLE_BYTES];
    stream.read_exact(&mut preamble).await?;
    let announced = read_server_preamble(&preamble)?;
    let mut body = vec![0; announced.length];
    stream.read_exact(&mut body).await?;
    Ok(Answer::decode(announced, &body)?)
}

/// Asks a backend what its sessions do.
///
/// # Errors
/// Where there is no answer.
pub async fn ask_status(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<Picture, WireError> {
    stream.write_all(&QUESTION).await?;
    let mut length = [0; LENGTH_BYTES];
    stream.read_exact(&mut length).await?;
    let mut body = vec![0; Picture::length(length)?];
    stream.read_exact(&mut body).await?;
    Ok(Picture::decode(&body)?)
}
