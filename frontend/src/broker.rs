// SPDX-License-Identifier: Apache-2.0
//! A backend that a broker chooses: asking for it, and waiting until there is one.
//!
//! `GVIRTUS_ENDPOINT=broker://host:port` names the broker. It is asked at the first call, shown the
//! pod's token, and answers with a backend and a ticket for it. As long as there is no backend, no
//! broker, or a backend that does not want the client after all, the client waits, for
//! `GVIRTUS_WAIT_S` seconds in all. What a broker refuses is final.

use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::{Duration, Instant};

use gvirtus_driver_face::log;
use gvirtus_protocol::handshake::{Answer, Grant, HandshakeError, Hello, Purpose};
use gvirtus_protocol::limits::WAIT_INTERVAL;
use gvirtus_transport::Endpoint;

use crate::config::Environment;
use crate::connect::{self, OpenError, Opened, identity, open_at, read_answer, send_hello};
use crate::limits::{BROKER_PAUSE_MAX, BROKER_PAUSE_MIN};

/// The last ticket of this process or, in a forked child, of its parent. Never freed: a child's
/// copy of a lock could be held for ever.
static TICKET: AtomicPtr<Vec<u8>> = AtomicPtr::new(std::ptr::null_mut());

/// Opens a connection for this purpose to a backend of the broker's choice.
pub(crate) fn open(
    environment: &Environment,
    broker: &Endpoint,
    purpose: Purpose,
) -> Result<Opened, OpenError> {
    let deadline = Instant::now() + environment.wait()?;
    let mut pause = BROKER_PAUSE_MIN;
    let mut told = Told::default();
    loop {
        let error = match attempt(environment, broker, purpose, deadline, &mut told) {
            Ok(opened) => return Ok(opened),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Passing(error)) => error,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(error);
        }
        told.once(&error.to_string());
        std::thread::sleep(pause.min(left));
        pause = (2 * pause).min(BROKER_PAUSE_MAX);
    }
}

/// Whether another attempt may help.
enum Failure {
    Passing(OpenError),
    Final(OpenError),
}

/// What the user knows already.
#[derive(Default)]
struct Told(String);

impl Told {
    /// One line for each reason: a program that waits without a word looks as if it hangs.
    fn once(&mut self, reason: &str) {
        if self.0 != reason {
            reason.clone_into(&mut self.0);
            log::write_always(format_args!("waiting for a backend: {reason}"));
        }
    }
}

fn attempt(
    environment: &Environment,
    broker: &Endpoint,
    purpose: Purpose,
    deadline: Instant,
    told: &mut Told,
) -> Result<Opened, Failure> {
    let grant = ask(environment, broker, deadline, told)?;
    let parsed = grant.endpoint.parse();
    let endpoint: Endpoint = parsed.map_err(|_| {
        Failure::Final(OpenError::Handshake {
            endpoint: broker.clone(),
            source: HandshakeError::Malformed,
        })
    })?;
    remember(grant.ticket.clone());
    log!(Info, "the broker {broker} names {endpoint}");
    // It may be gone or full in the meantime: the broker knows others.
    open_at(endpoint, purpose, grant.ticket).map_err(Failure::Passing)
}

/// Asks the broker until it has a backend, the deadline is over, or the connection breaks.
fn ask(
    environment: &Environment,
    broker: &Endpoint,
    deadline: Instant,
    told: &mut Told,
) -> Result<Grant, Failure> {
    // Kubernetes renews the token in its file.
    let credentials = environment.credentials();
    let credentials = credentials.map_err(|error| Failure::Final(error.into()))?;
    let failed = |source| OpenError::Io {
        endpoint: broker.clone(),
        source,
    };
    let refused = |source| OpenError::Handshake {
        endpoint: broker.clone(),
        source,
    };
    let stream =
        gvirtus_transport::connect(broker).map_err(|error| Failure::Passing(error.into()))?;
    let hello = Hello {
        previous_ticket: previous(),
        ..Hello::with_purpose(Purpose::Ticket, identity(), credentials)
    };
    send_hello(&*stream, &hello).map_err(|error| Failure::Passing(failed(error)))?;
    loop {
        let silence = Instant::now() + silence_max();
        let answer = read_answer(&*stream, silence.min(deadline));
        let answer = answer.map_err(|failure| match failure {
            connect::Failure::Io(_) => Failure::Passing(failure.at(broker)),
            connect::Failure::Handshake(_) => Failure::Final(failure.at(broker)),
        });
        match answer? {
            Answer::Grant(grant) => return Ok(grant),
            Answer::Wait(reason) => told.once(&reason),
            Answer::Refusal(reason) => {
                let reason = HandshakeError::Refused(reason);
                return Err(Failure::Final(refused(reason)));
            }
            Answer::Welcome(_) => return Err(Failure::Final(refused(HandshakeError::Kind))),
        }
    }
}

/// A broker that says nothing for so long is not there any more.
fn silence_max() -> Duration {
    4 * WAIT_INTERVAL
}

fn remember(ticket: Vec<u8>) {
    TICKET.store(Box::into_raw(Box::new(ticket)), Ordering::Release);
}

fn previous() -> Vec<u8> {
    let ticket = TICKET.load(Ordering::Acquire);
    // SAFETY: null, or a ticket that is never freed.
    unsafe { ticket.as_ref() }.cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::thread::JoinHandle;

    use gvirtus_protocol::handshake::{PREAMBLE_BYTES, Welcome, read_client_preamble};

    use super::*;

    fn listen() -> (TcpListener, Endpoint) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let host = "127.0.0.1".to_owned();
        (listener, Endpoint::Tcp { host, port })
    }

    fn environment(broker: &Endpoint, wait_s: &str) -> Environment {
        Environment {
            endpoint: Some(broker.to_string().replace("tcp", "broker")),
            token: Some("token".into()),
            wait_s: Some(wait_s.into()),
            ..Environment::default()
        }
    }

    fn hello(stream: &mut TcpStream) -> Hello {
        let mut preamble = [0; PREAMBLE_BYTES];
        stream.read_exact(&mut preamble).expect("a preamble");
        let announced = read_client_preamble(&preamble).expect("a hello");
        let mut body = vec![0; announced.length];
        stream.read_exact(&mut body).expect("a body");
        Hello::decode(&body).expect("readable")
    }

    /// Answers one connection after the other; returns what was said in their hellos.
    fn serve(listener: TcpListener, answers: Vec<Vec<Answer>>) -> JoinHandle<Vec<Hello>> {
        std::thread::spawn(move || {
            let answer = |answers: Vec<Answer>| {
                let (mut stream, _) = listener.accept().expect("a client");
                let hello = hello(&mut stream);
                for answer in answers {
                    stream.write_all(&answer.encode()).expect("it reads");
                }
                hello
            };
            answers.into_iter().map(answer).collect()
        })
    }

    fn grant(endpoint: &Endpoint, ticket: &str) -> Answer {
        Answer::Grant(Grant {
            endpoint: endpoint.to_string(),
            ticket: ticket.into(),
        })
    }

    #[test]
    fn a_client_waits_until_a_backend_takes_it() {
        let ((broker, broker_at), (backend, backend_at)) = (listen(), listen());
        let wait = || Answer::Wait("all backends are full".into());
        let broker = serve(
            broker,
            vec![
                // The broker is restarted while the client waits.
                vec![wait()],
                vec![wait(), wait(), grant(&backend_at, "first")],
                vec![grant(&backend_at, "second")],
            ],
        );
        let welcome = Welcome {
            session_id: 7,
            ..Welcome::default()
        };
        let backend = serve(
            backend,
            vec![
                vec![Answer::Refusal("full after all".into())],
                vec![Answer::Welcome(welcome)],
            ],
        );
        let environment = environment(&broker_at, "60");
        let opened = connect::open(&environment, Purpose::Management).expect("in the end");
        assert_eq!(
            (opened.welcome.session_id, opened.endpoint),
            (7, backend_at)
        );
        let asked = broker.join().expect("no panic");
        let previous: Vec<_> = asked.iter().map(|hello| &hello.previous_ticket).collect();
        assert_eq!(previous[2], b"first");
        for hello in &asked {
            assert_eq!(hello.purpose, Purpose::Ticket);
            assert_eq!(hello.credentials, b"token");
        }
        let shown = backend.join().expect("no panic");
        assert_eq!(shown[0].credentials, b"first");
        assert_eq!(shown[1].credentials, b"second");
        assert_eq!(shown[1].purpose, Purpose::Management);
    }

    #[test]
    fn a_brokers_refusal_is_final_and_patience_ends() {
        let (broker, at) = listen();
        let broker = serve(broker, vec![vec![Answer::Refusal("no such pod".into())]]);
        let error = connect::open(&environment(&at, "60"), Purpose::Cuda);
        let error = error.err().expect("refused").to_string();
        assert!(error.contains("refused: no such pod"), "{error}");
        broker.join().expect("no panic");

        let error = connect::open(&environment(&at, "0"), Purpose::Cuda);
        assert!(matches!(error, Err(OpenError::Connect(_))), "nobody there");
        let error = connect::open(&environment(&at, "soon"), Purpose::Cuda);
        let error = error.err().expect("no number").to_string();
        assert!(error.contains("GVIRTUS_WAIT_S"), "{error}");
    }
}
