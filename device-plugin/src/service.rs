// SPDX-License-Identifier: Apache-2.0
//! What the kubelet calls, for one resource.

use std::collections::{BTreeSet, HashMap};
use std::pin::Pin;

use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use crate::allocation::preferred;
use crate::api;
use crate::card::{Card, VirtualId};
use crate::environment::environment;
use crate::mps::Mps;
use crate::resource::Resource;

const HEALTHY: &str = "Healthy";
const UNHEALTHY: &str = "Unhealthy";

/// One resource of the cards of this moment.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) resource: Resource,
    pub(crate) cards: watch::Receiver<Vec<Card>>,
    pub(crate) mps: Option<Mps>,
}

/// What the kubelet is told of a plugin.
pub(crate) fn options() -> api::DevicePluginOptions {
    api::DevicePluginOptions {
        pre_start_required: false,
        get_preferred_allocation_available: true,
    }
}

/// The list of one moment; empty, with a line in the log, where it is too long.
fn list(resource: &Resource, cards: &[Card]) -> api::ListAndWatchResponse {
    let devices = resource.devices(cards).unwrap_or_else(|error| {
        tracing::error!(resource = resource.name(), %error, "nothing is offered");
        Vec::new()
    });
    let device = |(id, card): (VirtualId, &Card)| api::Device {
        id: id.to_string(),
        health: if card.is_healthy { HEALTHY } else { UNHEALTHY }.to_owned(),
        topology: None,
    };
    api::ListAndWatchResponse {
        devices: devices.into_iter().map(device).collect(),
    }
}

fn parse(ids: &[String]) -> Result<Vec<VirtualId>, Status> {
    let parse = |id: &String| id.parse().map_err(|error| refusal(&error));
    ids.iter().map(parse).collect()
}

fn refusal(error: &dyn std::fmt::Display) -> Status {
    Status::invalid_argument(error.to_string())
}

impl Service {
    /// Fails unless every id is a unit of a card that works, and is there once.
    fn check(&self, ids: &[VirtualId]) -> Result<(), Status> {
        let cards = self.cards.borrow();
        for id in ids {
            let card = cards.iter().find(|card| card.uuid == id.card);
            let card = card.filter(|card| u64::from(id.number) < self.resource.units(card));
            match card {
                None => return Err(refusal(&format!("there is no device {id}"))),
                Some(card) if !card.is_healthy => {
                    return Err(Status::unavailable(format!("the card of {id} has failed")));
                }
                Some(_) => {}
            }
        }
        let distinct: BTreeSet<_> = ids.iter().collect();
        if distinct.len() < ids.len() {
            return Err(refusal(&"a device is named twice"));
        }
        Ok(())
    }

    /// Each container has an environment of its own.
    fn allocate(
        &self,
        container: &api::ContainerAllocateRequest,
    ) -> Result<api::ContainerAllocateResponse, Status> {
        let ids = parse(&container.devices_ids)?;
        self.check(&ids)?;
        let mut response = api::ContainerAllocateResponse {
            envs: HashMap::from([environment(&self.resource, &ids)]),
            ..Default::default()
        };
        if let Some(mps) = &self.mps {
            let more = mps.environment(&self.resource, &self.cards.borrow(), &ids);
            response.envs.extend(more);
            response.mounts = mps.mounts();
        }
        Ok(response)
    }
}

#[tonic::async_trait]
impl api::device_plugin_server::DevicePlugin for Service {
    type ListAndWatchStream =
        Pin<Box<dyn Stream<Item = Result<api::ListAndWatchResponse, Status>> + Send>>;

    async fn get_device_plugin_options(
        &self,
        _: Request<api::Empty>,
    ) -> Result<Response<api::DevicePluginOptions>, Status> {
        Ok(Response::new(options()))
    }

    async fn list_and_watch(
        &self,
        _: Request<api::Empty>,
    ) -> Result<Response<Self::ListAndWatchStream>, Status> {
        let resource = self.resource.clone();
        let lists =
            WatchStream::new(self.cards.clone()).map(move |cards| Ok(list(&resource, &cards)));
        Ok(Response::new(Box::pin(lists)))
    }

    async fn get_preferred_allocation(
        &self,
        request: Request<api::PreferredAllocationRequest>,
    ) -> Result<Response<api::PreferredAllocationResponse>, Status> {
        let mut answer = api::PreferredAllocationResponse::default();
        for container in request.into_inner().container_requests {
            let available = parse(&container.available_device_i_ds)?;
            let included = parse(&container.must_include_device_i_ds)?;
            let size = usize::try_from(container.allocation_size).map_err(|e| refusal(&e))?;
            let chosen = preferred(&available, &included, size).map_err(|error| refusal(&error))?;
            answer
                .container_responses
                .push(api::ContainerPreferredAllocationResponse {
                    device_i_ds: chosen.iter().map(ToString::to_string).collect(),
                });
        }
        Ok(Response::new(answer))
    }

    async fn allocate(
        &self,
        request: Request<api::AllocateRequest>,
    ) -> Result<Response<api::AllocateResponse>, Status> {
        let containers = request.into_inner().container_requests;
        let answers: Result<_, _> = containers.iter().map(|c| self.allocate(c)).collect();
        Ok(Response::new(api::AllocateResponse {
            container_responses: answers?,
        }))
    }

    async fn pre_start_container(
        &self,
        _: Request<api::PreStartContainerRequest>,
    ) -> Result<Response<api::PreStartContainerResponse>, Status> {
        Err(Status::unimplemented("not asked for in the options"))
    }
}

#[cfg(test)]
mod tests {
    use api::device_plugin_server::DevicePlugin as _;

    use super::*;
    use crate::card::Uuid;

    fn service(is_healthy: bool) -> (watch::Sender<Vec<Card>>, Service) {
        let cards = [1, 2].map(|byte| Card {
            uuid: Uuid([byte; 16]),
            memory_mib: 1024,
            is_healthy,
        });
        let (sender, cards) = watch::channel(cards.to_vec());
        let resource = Resource::core();
        let mps = None;
        let service = Service {
            resource,
            cards,
            mps,
        };
        (sender, service)
    }

    fn ask(containers: &[&[&str]]) -> Request<api::AllocateRequest> {
        let containers = containers.iter().map(|ids| api::ContainerAllocateRequest {
            devices_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        });
        Request::new(api::AllocateRequest {
            container_requests: containers.collect(),
        })
    }

    const ONE: &str = "GPU-01010101-0101-0101-0101-010101010101";
    const TWO: &str = "GPU-02020202-0202-0202-0202-020202020202";

    #[tokio::test]
    async fn containers_of_a_request_do_not_see_each_other() {
        let (_sender, service) = service(true);
        let [a, b, c] = [format!("{ONE}-0"), format!("{ONE}-1"), format!("{TWO}-99")];
        let request = ask(&[&[a.as_str(), b.as_str()], &[c.as_str()]]);
        let answer = api::device_plugin_server::DevicePlugin::allocate(&service, request).await;
        let answer = answer.expect("there are such").into_inner();
        let values: Vec<_> = answer
            .container_responses
            .iter()
            .map(|container| container.envs["GVIRTUS_DEVICES_GPU_CORE"].clone())
            .collect();
        assert_eq!(values, [format!("{ONE}=2"), format!("{TWO}=1")]);
    }

    #[tokio::test]
    async fn the_multi_process_service_is_offered_to_each_container_by_itself() {
        let (_sender, service) = service(true);
        let ids: Vec<_> = (0..70).map(|number| format!("{ONE}-{number}")).collect();
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        let containers = [&ids[..20], &ids[20..]];
        let answer = |service: &Service| {
            let containers = containers.map(|ids| api::ContainerAllocateRequest {
                devices_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            });
            containers.map(|container| service.allocate(&container).expect("there are such"))
        };
        for without in answer(&service) {
            assert_eq!(without.envs.len(), 1);
            assert!(without.mounts.is_empty());
        }
        let with = Service {
            mps: Some(Mps::new("/run/mps".into())),
            ..service
        };
        let [few, many] = answer(&with);
        let percent = "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE";
        assert_eq!((&*few.envs[percent], &*many.envs[percent]), ("20", "50"));
        let pipe = &few.envs["CUDA_MPS_PIPE_DIRECTORY"];
        assert!(few.mounts.iter().any(|mount| mount.container_path == *pipe));
        assert_eq!(few.envs.len(), 3);
    }

    #[tokio::test]
    async fn what_is_not_there_or_does_not_work_is_refused() {
        let (sender, service) = service(true);
        let [known, past] = [format!("{ONE}-0"), format!("{ONE}-100")];
        for ids in [
            [known.as_str(), known.as_str()],
            [&known, &past],
            [&known, "x"],
        ] {
            let answer =
                api::device_plugin_server::DevicePlugin::allocate(&service, ask(&[&ids])).await;
            assert_eq!(
                answer.expect_err("bad").code(),
                tonic::Code::InvalidArgument
            );
        }
        sender.send_modify(|cards| cards[0].is_healthy = false);
        let answer =
            api::device_plugin_server::DevicePlugin::allocate(&service, ask(&[&[&known]])).await;
        assert_eq!(answer.expect_err("failed").code(), tonic::Code::Unavailable);
    }

    #[tokio::test]
    async fn the_list_follows_the_cards() {
        let (sender, service) = service(true);
        let lists = service.list_and_watch(Request::new(api::Empty {})).await;
        let mut lists = lists.expect("always").into_inner();
        let first = lists.next().await.expect("at once").expect("a list");
        assert_eq!(first.devices.len(), 200);
        assert!(first.devices.iter().all(|device| device.health == HEALTHY));
        sender.send_modify(|cards| cards[1].is_healthy = false);
        let second = lists.next().await.expect("a change").expect("a list");
        let failed = second.devices.iter().filter(|d| d.health == UNHEALTHY);
        assert_eq!(failed.count(), 100);
    }
}
