// SPDX-License-Identifier: Apache-2.0
//! Programs in pods, as the broker and the backends see them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use gvirtus_cluster::broker::wire::{ask, read_answer};
use gvirtus_protocol::handshake::{Answer, ClientIdentity, Grant, Hello, Purpose, Welcome};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};
use tokio::net::TcpStream;

use crate::world::World;

const LIMIT: Duration = Duration::from_secs(60);

/// What a kubelet writes into the pod's file.
pub(crate) async fn token(world: &World, pod: Option<&Pod>, audience: &str) -> Result<Vec<u8>> {
    let accounts: Api<ServiceAccount> = Api::namespaced(world.client(), "default");
    let bound_object_ref = pod.map(|pod| BoundObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        name: Some(pod.name_any()),
        uid: pod.uid(),
    });
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: vec![audience.into()],
            bound_object_ref,
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let parameters = PostParams::default();
    let answer = accounts
        .create_token_request("default", &parameters, &request)
        .await?;
    Ok(answer.status.context("no token")?.token.into_bytes())
}

/// A program that asks the broker.
pub(crate) struct Client {
    stream: TcpStream,
    answer: Option<Answer>,
}

impl Client {
    /// Shows a token, and reads the first answer.
    pub(crate) async fn ask(port: u16, token: &[u8], container: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let hello = hello(Purpose::Ticket, container, token);
        let answer = tokio::time::timeout(LIMIT, ask(&mut stream, &hello)).await??;
        Ok(Self {
            stream,
            answer: Some(answer),
        })
    }

    /// The next answer.
    pub(crate) async fn next(&mut self) -> Result<Answer> {
        match self.answer.take() {
            Some(answer) => Ok(answer),
            None => Ok(tokio::time::timeout(LIMIT, read_answer(&mut self.stream)).await??),
        }
    }

    /// Waits until there is a backend.
    pub(crate) async fn grant(&mut self) -> Result<Grant> {
        let start = Instant::now();
        loop {
            match self.next().await? {
                Answer::Grant(grant) => return Ok(grant),
                Answer::Wait(reason) if start.elapsed() > LIMIT => bail!("waits: {reason}"),
                Answer::Wait(_) => {}
                Answer::Refusal(reason) => bail!("refused: {reason}"),
                Answer::Welcome(_) => bail!("a broker says welcome"),
            }
        }
    }

    /// Why it has to wait.
    pub(crate) async fn wait(&mut self) -> Result<String> {
        match self.next().await? {
            Answer::Wait(reason) => Ok(reason),
            answer => bail!("not a wait: {answer:?}"),
        }
    }

    /// Why it gets nothing.
    pub(crate) async fn refusal(&mut self) -> Result<String> {
        match self.next().await? {
            Answer::Refusal(reason) => Ok(reason),
            answer => bail!("not refused: {answer:?}"),
        }
    }
}

/// A session with a backend, as long as it is kept.
pub(crate) struct Session {
    _stream: TcpStream,
    pub(crate) welcome: Welcome,
}

/// Shows a ticket to a backend.
pub(crate) async fn open(port: u16, ticket: &[u8]) -> Result<Result<Session, String>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let hello = hello(Purpose::Cuda, "program", ticket);
    match tokio::time::timeout(LIMIT, ask(&mut stream, &hello)).await?? {
        Answer::Welcome(welcome) => Ok(Ok(Session {
            _stream: stream,
            welcome,
        })),
        Answer::Refusal(reason) => Ok(Err(reason)),
        answer => bail!("not an answer of a backend: {answer:?}"),
    }
}

fn hello(purpose: Purpose, container: &str, credentials: &[u8]) -> Hello {
    let identity = ClientIdentity {
        pid: std::process::id(),
        host: "tests".into(),
        program: "tests".into(),
        container: container.to_owned(),
    };
    Hello::with_purpose(purpose, identity, credentials.to_vec())
}
