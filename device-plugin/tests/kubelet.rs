// SPDX-License-Identifier: Apache-2.0
//! The plugin against a kubelet that is a test: both services of the API on Unix sockets.

#![allow(missing_docs, reason = "tests")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gvirtus_device_plugin::api::device_plugin_client::DevicePluginClient;
use gvirtus_device_plugin::api::registration_server::{Registration, RegistrationServer};
use gvirtus_device_plugin::{Card, Plan, Resource, Uuid, api, run};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

const LIMIT: Duration = Duration::from_secs(30);

struct Kubelet {
    registered: mpsc::UnboundedSender<api::RegisterRequest>,
}

#[tonic::async_trait]
impl Registration for Kubelet {
    async fn register(
        &self,
        request: Request<api::RegisterRequest>,
    ) -> Result<Response<api::Empty>, Status> {
        let request = request.into_inner();
        if request.resource_name == "refused.example/vgpu" {
            return Err(Status::unknown("no"));
        }
        let _ = self.registered.send(request);
        Ok(Response::new(api::Empty {}))
    }
}

/// Starts as the kubelet does: with nobody's socket in its folder.
fn start_kubelet(
    folder: &Path,
    registered: mpsc::UnboundedSender<api::RegisterRequest>,
) -> JoinHandle<()> {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        std::fs::remove_file(entry.expect("an entry").path()).expect("a socket");
    }
    let listener = UnixListener::bind(folder.join("kubelet.sock")).expect("a new name");
    tokio::spawn(async move {
        Server::builder()
            .add_service(RegistrationServer::new(Kubelet { registered }))
            .serve_with_incoming(UnixListenerStream::new(listener))
            .await
            .expect("it listens");
    })
}

struct World {
    folder: TempDir,
    cards: watch::Sender<Vec<Card>>,
    again: Arc<Notify>,
    plugin: JoinHandle<()>,
    sender: mpsc::UnboundedSender<api::RegisterRequest>,
    registered: mpsc::UnboundedReceiver<api::RegisterRequest>,
}

impl World {
    fn start(resources: Vec<Resource>, cards: Vec<Card>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (cards, receiver) = watch::channel(cards);
        let (sender, registered) = mpsc::unbounded_channel();
        let again = Arc::new(Notify::new());
        let plan = Plan {
            folder: folder.path().to_owned(),
            resources,
            mps: None,
        };
        let asked = Arc::clone(&again);
        let plugin = tokio::spawn(async move { run(&plan, receiver, &asked).await });
        Self {
            folder,
            cards,
            again,
            plugin,
            sender,
            registered,
        }
    }

    fn kubelet(&self) -> JoinHandle<()> {
        start_kubelet(self.folder.path(), self.sender.clone())
    }

    async fn registration(&mut self) -> api::RegisterRequest {
        let next = tokio::time::timeout(LIMIT, self.registered.recv()).await;
        next.expect("registered in time").expect("a kubelet")
    }

    fn socket(&self, request: &api::RegisterRequest) -> PathBuf {
        self.folder.path().join(&request.endpoint)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.plugin.abort();
    }
}

async fn client(socket: &Path) -> DevicePluginClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).expect("a path");
    DevicePluginClient::new(endpoint.connect().await.expect("the plugin listens"))
}

fn card(byte: u8) -> Card {
    Card {
        uuid: Uuid([byte; 16]),
        memory_mib: 1000,
        is_healthy: true,
    }
}

async fn healthy(lists: &mut tonic::Streaming<api::ListAndWatchResponse>) -> usize {
    let list = tokio::time::timeout(LIMIT, lists.message()).await;
    let list = list.expect("in time").expect("a list").expect("no end");
    let healthy = list.devices.iter().filter(|d| d.health == "Healthy");
    healthy.count()
}

#[tokio::test]
async fn a_resource_is_registered_listed_and_allocated() {
    let alias = "k8s.amazonaws.com/vgpu=10".parse().expect("an alias");
    let resources = vec![Resource::core(), Resource::memory(100), alias];
    let mut world = World::start(resources, vec![card(1), card(2)]);
    let _kubelet = world.kubelet();
    let mut sizes = Vec::new();
    for _ in 0..3 {
        let request = world.registration().await;
        assert_eq!(request.version, "v1beta1");
        let options = request.options.expect("options");
        assert!(options.get_preferred_allocation_available && !options.pre_start_required);
        let mut client = client(&world.socket(&request)).await;
        let lists = client.list_and_watch(api::Empty {}).await.expect("a list");
        sizes.push((
            request.resource_name,
            healthy(&mut lists.into_inner()).await,
        ));
    }
    let expected = [
        ("gvirtus.io/gpu-core", 200),
        ("gvirtus.io/gpu-memory-100mib", 20),
        ("k8s.amazonaws.com/vgpu", 20),
    ];
    assert_eq!(sizes, expected.map(|(name, size)| (name.to_owned(), size)));
}

#[tokio::test]
async fn the_kubelet_gets_a_choice_on_one_card_and_what_it_allocates() {
    let mut world = World::start(vec![Resource::core()], vec![card(1), card(2)]);
    let _kubelet = world.kubelet();
    let request = world.registration().await;
    let mut client = client(&world.socket(&request)).await;
    let id = |byte: u8, number: u32| format!("{}-{number}", Uuid([byte; 16]));
    let available: Vec<_> = (0..30)
        .flat_map(|number| [id(1, number), id(2, number + 60)])
        .chain([id(1, 99)])
        .collect();
    let choice = client
        .get_preferred_allocation(api::PreferredAllocationRequest {
            container_requests: vec![api::ContainerPreferredAllocationRequest {
                available_device_i_ds: available,
                must_include_device_i_ds: Vec::new(),
                allocation_size: 30,
            }],
        })
        .await
        .expect("a choice")
        .into_inner();
    let chosen = choice.container_responses[0].device_i_ds.clone();
    assert_eq!(chosen.len(), 30);
    assert!(chosen.iter().all(|text| text.starts_with(&id(2, 60)[..40])));
    let answer = client
        .allocate(api::AllocateRequest {
            container_requests: vec![api::ContainerAllocateRequest {
                devices_ids: chosen,
            }],
        })
        .await
        .expect("allocated")
        .into_inner();
    let container = &answer.container_responses[0];
    let expected = format!("{}=30", Uuid([2; 16]));
    assert_eq!(container.envs["GVIRTUS_DEVICES_GPU_CORE"], expected);
    assert!(container.devices.is_empty() && container.mounts.is_empty());
}

#[tokio::test]
async fn it_waits_for_cards_and_follows_their_health() {
    let mut world = World::start(vec![Resource::core()], Vec::new());
    let _kubelet = world.kubelet();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(
        world.registered.try_recv().is_err(),
        "registered without a card"
    );
    world.cards.send_replace(vec![card(1)]);
    let request = world.registration().await;
    let mut client = client(&world.socket(&request)).await;
    let lists = client.list_and_watch(api::Empty {}).await.expect("a list");
    let mut lists = lists.into_inner();
    assert_eq!(healthy(&mut lists).await, 100);
    world.cards.send_modify(|cards| cards[0].is_healthy = false);
    assert_eq!(healthy(&mut lists).await, 0);
    world.cards.send_modify(|cards| cards[0].is_healthy = true);
    assert_eq!(healthy(&mut lists).await, 100);
}

#[tokio::test]
async fn it_registers_again_with_a_new_kubelet_and_when_it_is_asked() {
    let mut world = World::start(vec![Resource::core()], vec![card(1)]);
    let first = world.kubelet();
    world.registration().await;
    first.abort();
    let _second = world.kubelet();
    let request = world.registration().await;
    let mut fresh = client(&world.socket(&request)).await;
    fresh
        .get_device_plugin_options(api::Empty {})
        .await
        .expect("it serves");
    world.again.notify_one();
    let request = world.registration().await;
    let mut again = client(&world.socket(&request)).await;
    again
        .get_device_plugin_options(api::Empty {})
        .await
        .expect("it serves");
}

#[tokio::test]
async fn a_refusal_is_no_end() {
    let refused = "refused.example/vgpu=1".parse().expect("an alias");
    let mut world = World::start(vec![Resource::core(), refused], vec![card(1)]);
    let _kubelet = world.kubelet();
    // It tries all of them again after a while.
    world.registration().await;
    world.registration().await;
    assert!(!world.plugin.is_finished());
}
