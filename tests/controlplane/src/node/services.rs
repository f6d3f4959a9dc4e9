// SPDX-License-Identifier: Apache-2.0
//! What kube-proxy and the cluster's DNS do: whoever connects to a Service reaches one of its pods,
//! and its name is found.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::dns;

const LOOK: Duration = Duration::from_millis(200);
/// Where pods ask for names, in the range of Services.
pub(crate) const DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 250);
pub(crate) const DOMAIN: &str = "cluster.local";
const QUERY_BYTES: usize = 512;

/// Pods that are ready, by the address of a Service and its port; and addresses by name.
#[derive(Default)]
struct Known {
    pods: HashMap<(Ipv4Addr, u16), Vec<SocketAddr>>,
    names: HashMap<String, Ipv4Addr>,
}

type Shared = Arc<Mutex<Known>>;

/// Serves Services until the process ends, on a thread of its own: checks may wait for programs.
/// `client` makes a client there.
pub(crate) fn serve(
    client: impl Future<Output = Result<Client>> + Send + 'static,
    api: ((Ipv4Addr, u16), SocketAddr),
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            if let Err(error) = forward(client, api).await {
                println!("services end: {error:#}");
            }
        });
    });
    Ok(())
}

async fn forward(
    client: impl Future<Output = Result<Client>>,
    api: ((Ipv4Addr, u16), SocketAddr),
) -> Result<()> {
    let client = client.await?;
    let shared = Shared::default();
    let socket = UdpSocket::bind((DNS, 53)).await?;
    tokio::spawn(names(socket, Arc::clone(&shared)));
    let mut open = HashSet::new();
    loop {
        // A cluster that ends is no reason to say something.
        if let Ok(mut known) = look(&client).await {
            known.pods.insert(api.0, vec![api.1]);
            for &place in known.pods.keys() {
                if open.insert(place) {
                    let listener = TcpListener::bind(place).await?;
                    tokio::spawn(accept(listener, place, Arc::clone(&shared)));
                }
            }
            *shared.lock() = known;
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn look(client: &Client) -> Result<Known> {
    let everything = ListParams::default();
    let services: Api<Service> = Api::all(client.clone());
    let slices: Api<EndpointSlice> = Api::all(client.clone());
    let slices = slices.list(&everything).await?;
    let mut known = Known::default();
    for service in services.list(&everything).await? {
        let (name, namespace) = (service.name_any(), service.namespace().unwrap_or_default());
        let spec = service.spec.unwrap_or_default();
        let Some(address) = spec.cluster_ip.and_then(|text| text.parse().ok()) else {
            continue;
        };
        known
            .names
            .insert(format!("{name}.{namespace}.svc.{DOMAIN}"), address);
        for port in spec.ports.unwrap_or_default() {
            let of_service = slices.iter().filter(|slice| {
                slice.namespace().as_deref() == Some(&namespace)
                    && slice.labels().get("kubernetes.io/service-name") == Some(&name)
            });
            let pods = of_service.flat_map(|slice| ready(slice, port.name.as_deref()));
            if let Ok(number) = u16::try_from(port.port) {
                known.pods.insert((address, number), pods.collect());
            }
        }
    }
    Ok(known)
}

/// Pods of a slice that answer on a port of this name.
fn ready(slice: &EndpointSlice, port: Option<&str>) -> Vec<SocketAddr> {
    let named = slice.ports.iter().flatten().find(|candidate| {
        candidate.name.as_deref().unwrap_or_default() == port.unwrap_or_default()
    });
    let number = named.and_then(|port| u16::try_from(port.port?).ok());
    let endpoints = slice.endpoints.iter().filter(|endpoint| {
        let conditions = endpoint.conditions.as_ref();
        conditions.is_none_or(|conditions| conditions.ready != Some(false))
    });
    endpoints
        .flat_map(|endpoint| &endpoint.addresses)
        .filter_map(|address| Some(SocketAddr::new(address.parse().ok()?, number?)))
        .collect()
}

async fn accept(listener: TcpListener, place: (Ipv4Addr, u16), shared: Shared) {
    let mut turn = 0;
    while let Ok((mut caller, _)) = listener.accept().await {
        let pods = shared.lock().pods.get(&place).cloned().unwrap_or_default();
        turn += 1;
        // Nobody there: the caller's connection ends.
        let Some(&pod) = pods.get(turn % pods.len().max(1)) else {
            continue;
        };
        tokio::spawn(async move {
            if let Ok(mut pod) = TcpStream::connect(pod).await {
                let _ = tokio::io::copy_bidirectional(&mut caller, &mut pod).await;
            }
        });
    }
}

async fn names(socket: UdpSocket, shared: Shared) {
    let mut query = [0; QUERY_BYTES];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut query).await else {
            continue;
        };
        let find = |name: &str| shared.lock().names.get(name).copied();
        if let Some(reply) = dns::answer(&query[..length], find) {
            let _ = socket.send_to(&reply, from).await;
        }
    }
}
